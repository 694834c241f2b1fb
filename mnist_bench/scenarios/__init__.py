"""Scenarios, hyperparameters, and the paper's Table I as data.

The number of seeds is not part of a scenario: see `runner`.
Start with scenario.py.
"""
