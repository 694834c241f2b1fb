"""The paper's claims, and whether what was measured here supports them.

It measures nothing: the runner and the worker do.
Start with claims.toml, then decide.py.
"""
