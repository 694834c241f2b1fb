"""Several machines that work on one plan or study.

Start with join.py.
"""
