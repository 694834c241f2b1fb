"""Errors, records, text formatting, files, locks and limits that every package uses.

Nothing here depends on training, MNIST or MLflow.
Start with errors.py and records.py.
"""
