"""Records that pass between packages: runs, documents, claims, the worker's protocol.

Start with run.py and protocol.py.
"""
