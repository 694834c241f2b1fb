"""The fully connected network, compared with NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from fakes import random_images

from mnist_bench.models.mlp import FullyConnected
from mnist_bench.scenarios.hyperparameters import FullyConnectedHyperparameters

tf.config.set_visible_devices([], "GPU")

PIXELS = random_images(12, seed=4).pixels


def network(*, seed: int = 7, shards: int = 1, **changes: Any) -> FullyConnected:
    values = {"hidden_layers": 2, "hidden_units": 40} | changes
    return FullyConnected(seed, FullyConnectedHyperparameters(**values), shards=shards)


def test_logits_agree_with_numpy() -> None:
    found = network()
    x = PIXELS.reshape(12, 784) / 255
    for layer in found.layers[:-1]:
        x = np.maximum(x @ layer.weights.numpy() + layer.bias.numpy(), 0)
    x = x @ found.layers[-1].weights.numpy() + found.layers[-1].bias.numpy()
    logits = found.logits(tf.constant(PIXELS))
    assert logits.dtype == tf.float32
    np.testing.assert_allclose(logits.numpy(), x, rtol=1e-4, atol=1e-5)


def test_shards_give_the_same_logits() -> None:
    sharded, whole, other = network(shards=5), network(), network(seed=8)
    assert [len(layer.blocks) for layer in sharded.layers] == [5] * 3
    assert not np.array_equal(whole.layers[0].weights, other.layers[0].weights)
    for step in (None, tf.constant(3)):
        np.testing.assert_allclose(
            sharded.logits(tf.constant(PIXELS), dropout_step=step).numpy(),
            whole.logits(tf.constant(PIXELS), dropout_step=step).numpy(),
            rtol=1e-4,
            atol=1e-5,
        )


def test_initial_weights_have_the_he_variance() -> None:
    found = network(hidden_units=1_000)
    for layer, inputs in zip(found.layers, (784, 1_000, 1_000), strict=True):
        # Truncation at two standard deviations leaves 0.88 of the standard deviation.
        assert np.std(layer.weights.numpy()) == pytest.approx(0.88 * np.sqrt(2 / inputs), rel=0.05)
        assert not layer.bias.numpy().any()


def test_layers_drop_different_units() -> None:
    """With identity weights, a unit is active only if neither layer drops it."""
    found = network(hidden_units=784, dropout_rate=0.5)
    for layer in found.layers[:-1]:
        layer.set_tensors(
            {"weights": np.eye(784, dtype=np.float32), "bias": np.zeros(784, np.float32)}
        )
    found.layers[-1].set_tensors(
        {"weights": np.ones((784, 10), np.float32), "bias": np.zeros(10, np.float32)}
    )
    white = tf.fill((1, 28, 28), tf.constant(255, tf.uint8))
    logit = found.logits(white, dropout_step=tf.constant(5)).numpy()[0, 0]
    assert logit / 4 == pytest.approx(
        784 / 4, abs=50
    )  # the same units twice would leave half of 784
    assert found.logits(white).numpy()[0, 0] == pytest.approx(784)
