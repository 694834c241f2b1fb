"""LeNet-5, compared with NumPy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from fakes import random_images

from mnist_bench.models.lenet5 import Lenet5
from mnist_bench.scenarios.hyperparameters import Lenet5Hyperparameters

tf.config.set_visible_devices([], "GPU")

PIXELS = random_images(3, seed=4).pixels
Array = npt.NDArray[np.float64]


def squash(x: Array) -> Array:
    return 1.7159 * np.tanh(2 / 3 * x)


def convolve(x: Array, weights: Array, bias: Array) -> Array:
    """A direct sum at every position: (n, h, w, c) to (n, h - 4, w - 4, outputs)."""
    height, width = x.shape[1] - 4, x.shape[2] - 4
    sums = np.stack(
        [
            np.tensordot(x[:, row : row + 5, column : column + 5], weights, 3)
            for row in range(height)
            for column in range(width)
        ],
        axis=1,
    )
    return squash(sums.reshape(len(x), height, width, -1) + bias)


def subsample(x: Array) -> Array:
    return (x[:, ::2, ::2] + x[:, 1::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, 1::2]) / 4


def test_logits_agree_with_a_direct_sum() -> None:
    network = Lenet5(5, Lenet5Hyperparameters())
    layers = [(x.weights.numpy(), x.bias.numpy()) for x in network.layers]
    x = np.full((3, 32, 32, 1), -0.1)
    x[:, 2:30, 2:30, 0] = PIXELS / 255 * 1.275 - 0.1
    x = subsample(convolve(x, *layers[0]))
    assert x.shape == (3, 14, 14, 6)
    x = subsample(convolve(x, *layers[1]))
    assert x.shape == (3, 5, 5, 16)
    x = x.reshape(3, 400)
    for weights, bias in layers[2:4]:
        x = squash(x @ weights + bias)
    x = x @ layers[4][0] + layers[4][1]
    logits = network.logits(tf.constant(PIXELS)).numpy()
    np.testing.assert_allclose(logits, x, rtol=1e-4, atol=1e-5)


def test_shards_give_the_same_logits() -> None:
    pixels = tf.constant(random_images(11, seed=2).pixels)
    sharded, whole = (
        Lenet5(5, Lenet5Hyperparameters(dropout_rate=0.5), shards=shards).logits(
            pixels, dropout_step=tf.constant(2)
        )
        for shards in (3, 1)
    )
    np.testing.assert_allclose(sharded.numpy(), whole.numpy(), rtol=1e-4, atol=1e-5)


def test_initial_weights_are_uniform_within_the_bound() -> None:
    layers = Lenet5(5, Lenet5Hyperparameters()).layers
    for layer, inputs in zip(layers, (25, 150, 400, 120, 84), strict=True):
        weights = layer.weights.numpy()
        assert 0.8 * 2.4 / inputs < np.abs(weights).max() <= 2.4 / inputs
        assert abs(weights.mean()) < 0.25 * 2.4 / inputs
