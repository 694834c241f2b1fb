"""Studies: Optuna chooses hyperparameters, and the best is confirmed on the test split.

Trials never see a test image. Start with search.py.
"""
