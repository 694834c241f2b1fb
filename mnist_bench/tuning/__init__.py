"""Studies: Optuna chooses hyperparameters, and the best is confirmed on the test split.

Until then it never sees a test image.
Start with search.py.
"""
