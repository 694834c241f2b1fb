"""MNIST: found, downloaded, verified and split; and the embedded sample.

It holds uint8 images and labels; scaling them is the models' work.
Start with mnist.py.
"""
