"""The networks as TensorFlow variables and operations, and their parameter counts.

The worker trains them; optimizers and datasets are not used here.
Start with layers.py and paper_cnn.py.
"""
