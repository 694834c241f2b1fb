"""Experiments for single claims of the paper: optimizers, layers, convolution, sizes.

They are no trainings of a scenario and record no run.
Start with layer_comparison.py.
"""
