"""Records that pass between packages: runs, documents, claims, the worker's protocol.

It has no behaviour beyond reading and writing itself.
Start with run.py and protocol.py.
"""
