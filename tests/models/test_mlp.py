"""The network of dense layers, held against NumPy."""

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


def network(*, seed: int = 7, parts: int = 1, **chosen: Any) -> FullyConnected:
    small = {"hidden_layers": 2, "hidden_units": 40} | chosen
    return FullyConnected(seed, FullyConnectedHyperparameters(**small), parts=parts)


def test_logits_are_those_of_numpy() -> None:
    found = network()
    x = PIXELS.reshape(12, 784) / 255
    for layer in found.layers[:-1]:
        x = np.maximum(x @ layer.weights.numpy() + layer.bias.numpy(), 0)
    x = x @ found.layers[-1].weights.numpy() + found.layers[-1].bias.numpy()
    told = found.logits(tf.constant(PIXELS))
    assert told.dtype == tf.float32
    np.testing.assert_allclose(told.numpy(), x, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("parts", [2, 5])
def test_parts_are_the_same_network(parts: int) -> None:
    cut, whole = network(parts=parts), network()
    assert [len(layer.blocks) for layer in cut.layers] == [parts] * 3
    for step in (None, tf.constant(3)):
        np.testing.assert_allclose(
            cut.logits(tf.constant(PIXELS), dropout_step=step).numpy(),
            whole.logits(tf.constant(PIXELS), dropout_step=step).numpy(),
            rtol=1e-4,
            atol=1e-5,
        )


def test_first_weights_keep_the_variance() -> None:
    found = network(hidden_units=1_000)
    for layer, inputs in zip(found.layers, (784, 1_000, 1_000), strict=True):
        # Of a normal distribution cut at two deviations 0.88 of the deviation are left.
        assert np.std(layer.weights.numpy()) == pytest.approx(0.88 * np.sqrt(2 / inputs), rel=0.05)
        assert not layer.bias.numpy().any()


def test_no_two_layers_drop_the_same() -> None:
    """With weights that hand each unit on, a unit lives only where neither layer drops it."""
    found = network(hidden_units=784, dropout_rate=0.5)
    for layer in found.layers[:-1]:
        layer.take({"weights": np.eye(784, dtype=np.float32), "bias": np.zeros(784, np.float32)})
    found.layers[-1].take(
        {"weights": np.ones((784, 10), np.float32), "bias": np.zeros(10, np.float32)}
    )
    white = tf.fill((1, 28, 28), tf.constant(255, tf.uint8))
    told = found.logits(white, dropout_step=tf.constant(5)).numpy()[0, 0]
    assert told / 4 == pytest.approx(784 / 4, abs=50)  # the same twice would leave a half of 784
    assert found.logits(white).numpy()[0, 0] == pytest.approx(784)


def test_a_seed_is_a_network() -> None:
    first, same, other = (network(seed=seed).layers[0].weights.numpy() for seed in (1, 1, 2))
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)
