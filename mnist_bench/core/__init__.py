"""What every package needs: errors, records, text, files, locks and limits.

It knows nothing of training, MNIST or MLflow.
Start with errors.py and records.py.
"""
