"""The command line: one module per command, with its options and what it calls.

Start with main.py, then run.py.
"""
