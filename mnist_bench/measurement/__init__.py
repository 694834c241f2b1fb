"""This machine and its state while a run trains: load, memory, energy, and their verdict.

It judges figures, never a model.
Start with system.py, then quality.py.
"""
