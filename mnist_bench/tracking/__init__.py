"""Recording of runs in MLflow and reading them back: store, recorded names, spools, bundles.

Start with mlflow_store.py and schema.py.
"""
