"""The paper's network, compared with a second implementation of the author's program."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from factories import paper_logits
from fakes import random_images

from mnist_bench.core.limits import MAX_SEED, MAX_STEPS
from mnist_bench.models.layers import Layer, dropout
from mnist_bench.models.paper_cnn import PaperCnn, _convolve_and_pool
from mnist_bench.scenarios.hyperparameters import PaperCnnHyperparameters

# As in the worker; must be set before the first operation.
tf.config.set_visible_devices([], "GPU")

PIXELS = random_images(12, seed=4).pixels
HIDDEN = tf.ones((100, 1024))


def network(seed: int, *, shards: int = 1, **changes: Any) -> PaperCnn:
    return PaperCnn(seed, PaperCnnHyperparameters(**changes), shards=shards)


def logits(model: PaperCnn, *, step: int | None = None) -> npt.NDArray[np.float32]:
    dropout_step = None if step is None else tf.constant(step)
    return model.logits(tf.constant(PIXELS), dropout_step=dropout_step).numpy()


@pytest.fixture(scope="module")
def model() -> PaperCnn:
    return network(7, dropout_rate=0.5)


def test_parameter_shapes(model: PaperCnn) -> None:
    assert [tuple(variable.shape) for variable in model.variables] == [
        (5, 5, 1, 32), (32,), (5, 5, 32, 64), (64,), (3136, 1024), (1024,), (1024, 10), (10,),
    ]  # fmt: skip
    assert {variable.dtype for variable in model.variables} == {tf.float32}


# Shards


@pytest.mark.parametrize("shards", [5, 12])
def test_shards_give_the_same_logits(model: PaperCnn, shards: int) -> None:
    """Some blocks have one row more than others."""
    sharded = network(7, dropout_rate=0.5, shards=shards)
    row_counts = [int(block.shape[0]) for block in sharded.layers[2].blocks]
    assert (len(row_counts), sum(row_counts)) == (shards, 3136)
    assert max(row_counts) - min(row_counts) <= 1
    for layer, whole in zip(sharded.layers, model.layers, strict=True):
        assert np.array_equal(layer.weights.numpy(), whole.weights.numpy())
    for step in (None, 3):
        np.testing.assert_allclose(
            logits(sharded, step=step), logits(model, step=step), rtol=1e-5, atol=1e-4
        )


# Initial weights


def test_initial_weights_are_a_truncated_normal_distribution(model: PaperCnn) -> None:
    # A standard normal distribution truncated at 2 has the variance 1 - 4·pdf(2) / (2·cdf(2) - 1).
    density = math.exp(-2) / math.sqrt(2 * math.pi)
    deviation = 0.1 * math.sqrt(1 - 4 * density / math.erf(math.sqrt(2)))
    assert deviation == pytest.approx(0.08796, abs=5e-6)
    for layer in model.layers:
        weights = layer.weights.numpy()
        assert np.abs(weights).max() <= 0.2 + 1e-6
        # Eight standard errors of the mean and of the standard deviation.
        assert abs(weights.mean()) < 8 * deviation / math.sqrt(weights.size)
        assert weights.std() == pytest.approx(deviation, rel=8 / math.sqrt(2 * weights.size))
        assert np.all(layer.bias.numpy() == np.float32(0.1))
    assert np.abs(model.layers[2].weights.numpy()).max() > 0.19


def test_initial_weights_depend_only_on_the_seed_and_the_layer(model: PaperCnn) -> None:
    same, other = network(7, dropout_rate=0.0), network(8, dropout_rate=0.5)
    starts = set()
    for layer, equal, different in zip(model.layers, same.layers, other.layers, strict=True):
        weights = layer.weights.numpy()
        assert np.array_equal(weights, equal.weights.numpy())
        assert np.mean(weights == different.weights.numpy()) < 0.01
        starts.add(weights.ravel()[:8].tobytes())
    assert len(starts) == 4


def test_the_largest_seed_and_step_are_accepted() -> None:
    found = logits(network(MAX_SEED, dropout_rate=0.5), step=MAX_STEPS)
    assert np.all(np.isfinite(found))


# The order of operations


@pytest.mark.parametrize("scoring", [True, False])
@pytest.mark.parametrize(("side", "inputs", "outputs"), [(28, 1, 32), (14, 32, 64)])
def test_reordering_bias_relu_and_pool_gives_the_same_result(
    side: int, inputs: int, outputs: int, *, scoring: bool
) -> None:
    random = np.random.default_rng(5)
    x = tf.constant(random.normal(size=(3, side, side, inputs)), tf.float32)
    # Biases of both signs: the initial ones of 0.1 could hide an error.
    layer = Layer(
        (tf.Variable(tf.constant(random.normal(0, 0.1, (5, 5, inputs, outputs)), tf.float32)),),
        tf.Variable(tf.constant(random.normal(0, 0.5, outputs), tf.float32)),
    )
    convolved = tf.nn.conv2d(x, layer.weights, strides=1, padding="SAME")
    expected = tf.nn.max_pool2d(
        tf.nn.relu(convolved + layer.bias), ksize=2, strides=2, padding="SAME"
    ).numpy()
    actual = _convolve_and_pool([x], layer, scoring=scoring)[0].numpy()
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)
    assert np.any(expected == 0)
    assert np.any(expected > 0)


def test_logits_agree_with_the_authors_program() -> None:
    model = network(9, dropout_rate=0.5)
    random = np.random.default_rng(6)
    for layer in model.layers:
        drawn = random.normal(0, 0.3, layer.bias.shape[0])
        layer.bias.assign(tf.constant(drawn, tf.float32))
    expected = paper_logits([tf.constant(v.numpy()) for v in model.variables], PIXELS).numpy()
    # Logits of such a network are in the tens: 1e-4 is 1e-5 of them.
    np.testing.assert_allclose(logits(model), expected, rtol=1e-5, atol=1e-4)


# Dropout


@pytest.mark.parametrize("rate", [0.25, 0.5])
def test_dropout_drops_its_share_and_scales_up_the_rest(rate: float) -> None:
    result = dropout(HIDDEN, rate, 1, tf.constant(3)).numpy()
    is_kept = result != 0
    assert 1 - is_kept.mean() == pytest.approx(rate, abs=0.01)  # six standard errors
    np.testing.assert_allclose(result[is_kept], 1 / (1 - rate), rtol=1e-6)


def test_dropout_depends_only_on_seed_and_step() -> None:
    def mask_of(seed: int, step: int) -> npt.NDArray[np.bool_]:
        return dropout(HIDDEN, 0.5, seed, tf.constant(step)).numpy() != 0

    mask = mask_of(1, 3)
    for seed, step in ((1, 4), (2, 3), (3, 1)):
        assert np.mean(mask == mask_of(seed, step)) == pytest.approx(0.5, abs=0.01)
    assert np.array_equal(mask, mask_of(1, 3)), "whatever was drawn before"


def test_nothing_is_dropped_when_scoring(model: PaperCnn) -> None:
    without = network(7, dropout_rate=0.0)
    scored = logits(model)
    assert np.array_equal(scored, logits(without))
    assert np.array_equal(scored, logits(without, step=0))
    assert not np.allclose(scored, logits(model, step=0))


# Sizes


def test_layer_shapes_follow_the_hyperparameters() -> None:
    found = network(
        1, conv1_filters=3, conv1_kernel_size=4, conv2_filters=5, conv2_kernel_size=1,
        dense_units=7, batch_normalization=True,
    )  # fmt: skip
    shapes = [tuple(layer.weights.shape) for layer in found.layers]
    assert shapes == [(4, 4, 1, 3), (1, 1, 3, 5), (245, 7), (7, 10)]
    assert [layer.normalization is not None for layer in found.layers] == [True, True, True, False]
    assert (logits(found).shape, logits(found).dtype) == ((12, 10), np.float32)


def test_the_dense_layer_has_at_most_one_block_per_row() -> None:
    assert len(network(1, conv2_filters=1, shards=60).layers[2].blocks) == 49
