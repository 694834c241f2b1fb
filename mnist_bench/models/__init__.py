"""The networks as TensorFlow variables and operations, and their parameter counts.

It knows neither optimizers nor data sets: the worker trains them.
Start with layers.py and paper_cnn.py.
"""
