"""The paper's claims, and whether the recorded measurements support them.

Measurements are made by the runner and the worker. Start with claims.toml, then decide.py.
"""
