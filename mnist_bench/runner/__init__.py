"""Training plans and their execution, one fresh worker process per training.

Start with plan.py, then executor.py.
"""
