"""What is asked: scenarios, hyperparameters, and the paper's Table I as data.

It neither trains nor decides how many seeds are run.
Start with scenario.py.
"""
