"""This machine, its state during a run (load, memory, energy), and the run's verdict.

The verdict is about times and memory, never about the model.
Start with system.py, then quality.py.
"""
