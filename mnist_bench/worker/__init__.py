"""The measured process: it loads TensorFlow, trains, evaluates and writes messages to its parent.

It imports none of MLflow, Optuna and pandas, because their memory would be measured too.
Start with __main__.py, then loop.py and trainer.py.
"""
