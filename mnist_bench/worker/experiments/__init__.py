"""Experiments for single claims of the paper: optimizers, layers, convolution, dataset size.

They train no scenario and record no run.
Start with layer_comparison.py.
"""
