"""Plans of trainings, and their execution: one fresh worker process a training.

It decides no hyperparameters and draws no report.
Start with plan.py, then executor.py.
"""
