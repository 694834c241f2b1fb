"""Batch normalization, compared with NumPy and TensorFlow's own gradient."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from mnist_bench.models.batch_norm import Normalization, batch_normalize

# As in the worker; must be set before the first operation.
tf.config.set_visible_devices([], "GPU")


def normalization(scale: npt.NDArray[np.float64]) -> Normalization:
    zeros = np.zeros(len(scale))
    values = (scale, zeros, zeros + 1)
    return Normalization(*(tf.Variable(tf.constant(each, tf.float32)) for each in values))


@pytest.mark.parametrize("count", [1, 3])
def test_normalization_by_hand_for_any_number_of_shards(count: int) -> None:
    random = np.random.default_rng(8)
    x = random.normal(3, 2, (12, 4, 4, 5)).astype(np.float32)
    norm = normalization(random.normal(1, 0.5, 5))
    shards = [tf.constant(shard) for shard in np.split(x, count)]
    mean, variance = x.mean(axis=(0, 1, 2)), x.var(axis=(0, 1, 2))
    expected = (x - mean) / np.sqrt(variance + 1e-5) * norm.scale.numpy()
    found = np.concatenate([each.numpy() for each in batch_normalize(shards, norm, scoring=False)])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    # The running statistics move by a tenth.
    np.testing.assert_allclose(norm.mean.numpy(), 0.1 * mean, rtol=1e-5)
    np.testing.assert_allclose(norm.variance.numpy(), 0.9 + 0.1 * variance, rtol=1e-5)

    before = norm.mean.numpy()
    scored = np.concatenate([each.numpy() for each in batch_normalize(shards, norm, scoring=True)])
    with_running = (x - before) / np.sqrt(norm.variance.numpy() + 1e-5) * norm.scale.numpy()
    np.testing.assert_allclose(scored, with_running, rtol=1e-4, atol=1e-5)
    assert np.array_equal(norm.mean.numpy(), before)


def test_a_constant_channel_stays_finite() -> None:
    (found,) = batch_normalize([tf.ones((4, 3, 3, 2))], normalization(np.ones(2)), scoring=False)
    assert np.array_equal(found.numpy(), np.zeros((4, 3, 3, 2)))


@pytest.mark.parametrize("count", [1, 3])
def test_gradient_agrees_with_the_formula(count: int) -> None:
    random = np.random.default_rng(9)
    x, weights = random.normal(3, 2, (2, 12, 4, 4, 5))
    scale = random.normal(1, 0.5, 5)

    def by_tensorflow() -> list[tf.Tensor]:
        inputs, factor = tf.constant(x), tf.constant(scale)
        with tf.GradientTape() as tape:
            tape.watch([inputs, factor])
            mean, variance = tf.nn.moments(inputs, axes=[0, 1, 2])
            out = (inputs - mean) / tf.sqrt(variance + 1e-5) * factor
            loss = tf.reduce_sum(out * weights)
        return tape.gradient(loss, [inputs, factor])

    norm = normalization(scale)
    shards = [tf.constant(shard, tf.float32) for shard in np.split(x, count)]
    with tf.GradientTape() as tape:
        tape.watch(shards)
        scaled = batch_normalize(shards, norm, scoring=False)
        loss = tf.reduce_sum(tf.concat(scaled, 0) * tf.constant(weights, tf.float32))
    *by_shard, of_scale = tape.gradient(loss, [*shards, norm.scale])
    expected, expected_of_scale = by_tensorflow()
    np.testing.assert_allclose(np.concatenate(by_shard), expected, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(of_scale, expected_of_scale, rtol=1e-4)
