"""MNIST and the embedded sample: find, download, verify, split.

Images and labels are uint8; models scale them.
Start with mnist.py.
"""
