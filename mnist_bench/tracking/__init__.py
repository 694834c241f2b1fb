"""Runs on their way into MLflow and back: the store, recorded names, spools, bundles.

It computes no statistics and draws nothing.
Start with mlflow_store.py and schema.py.
"""
