"""The measured process: it loads TensorFlow, trains, evaluates and reports on its output.

It knows nothing of MLflow, Optuna or pandas, whose memory would be measured too.
Start with __main__.py, then loop.py and trainer.py.
"""
