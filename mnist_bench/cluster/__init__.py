"""Several machines that work on one plan or study.

The trainings themselves are the runner's.
Start with join.py.
"""
