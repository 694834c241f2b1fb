"""Optimizers, compared with their formulas in NumPy."""

from __future__ import annotations

from math import sqrt

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from mnist_bench.scenarios.hyperparameters import Optimizer
from mnist_bench.worker import optimizers

Array = npt.NDArray[np.float64]
UPDATES = 7


def gradients() -> list[Array]:
    """Large and small gradients of both signs, one of the size of Adam's epsilon, and 0."""
    shape = np.array([1.0, -1e-3, 1e-8, 0.0])
    return [shape * (t if t % 3 else -2 * t) for t in range(1, UPDATES + 1)]


def values_after_updates(name: Optimizer, rates: list[float]) -> list[Array]:
    """Values of a variable after each update, starting from 0."""
    variable = tf.Variable(tf.zeros(4))
    update = optimizers.make(name, [variable])

    @tf.function
    def apply(gradient: tf.Tensor, rate: tf.Tensor, updates: tf.Tensor) -> None:
        update.apply([gradient], rate, updates)

    values = []
    for t, (gradient, rate) in enumerate(zip(gradients(), rates, strict=True), start=1):
        floats = (tf.constant(value, tf.float32) for value in (gradient, rate, t))
        apply(*floats)
        values.append(variable.numpy().astype(np.float64))
    return values


def test_adam_by_hand() -> None:
    values, first, second = np.zeros(4), np.zeros(4), np.zeros(4)
    found = values_after_updates("adam", [0.001] * UPDATES)
    for t, (gradient, actual) in enumerate(zip(gradients(), found, strict=True), start=1):
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        rate = 0.001 * sqrt(1 - 0.999**t) / (1 - 0.9**t)
        values -= rate * first / (np.sqrt(second) + 1e-8)
        np.testing.assert_allclose(actual, values, rtol=1e-3, atol=2e-8)
    assert found[-1][3] == 0


def test_momentum_by_hand() -> None:
    """Nesterov momentum with a changing learning rate."""
    rates = [0.1 / t for t in range(1, UPDATES + 1)]
    values, velocity = np.zeros(4), np.zeros(4)
    for gradient, rate, actual in zip(
        gradients(), rates, values_after_updates("momentum", rates), strict=True
    ):
        velocity = 0.9 * velocity - rate * gradient
        values += 0.9 * velocity - rate * gradient
        np.testing.assert_allclose(actual, values, rtol=1e-5, atol=1e-12)
