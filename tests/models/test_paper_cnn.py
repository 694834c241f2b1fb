"""The network, held against the author's program written down a second time."""

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
from mnist_bench.models.layers import Layer, dropped, product
from mnist_bench.models.paper_cnn import PaperCnn, _convolved_and_pooled
from mnist_bench.scenarios import paper
from mnist_bench.scenarios.hyperparameters import PaperCnnHyperparameters

# As in the worker; it must be said before the first operation.
tf.config.set_visible_devices([], "GPU")

PIXELS = random_images(12, seed=4).pixels
HIDDEN = tf.ones((100, 1024))


def network(seed: int, *, parts: int = 1, **chosen: Any) -> PaperCnn:
    return PaperCnn(seed, PaperCnnHyperparameters(**chosen), parts=parts)


def logits(model: PaperCnn, *, step: int | None = None) -> npt.NDArray[np.float32]:
    dropout_step = None if step is None else tf.constant(step)
    return model.logits(tf.constant(PIXELS), dropout_step=dropout_step).numpy()


@pytest.fixture(scope="module")
def model() -> PaperCnn:
    return network(7, dropout_rate=0.5)


# Shapes


def test_parameters(model: PaperCnn) -> None:
    assert model.parameter_count == paper.PARAMETER_COUNT == 3_274_634
    assert [layer.parameter_count for layer in model.layers] == [832, 51_264, 3_212_288, 10_250]
    assert [tuple(variable.shape) for variable in model.variables] == [
        (5, 5, 1, 32),
        (32,),
        (5, 5, 32, 64),
        (64,),
        (3136, 1024),
        (1024,),
        (1024, 10),
        (10,),
    ]
    assert {variable.dtype for variable in model.variables} == {tf.float32}


def test_outputs_of_each_layer(model: PaperCnn) -> None:
    conv1, conv2, dense, output = model.layers
    (x,) = _convolved_and_pooled([tf.zeros((3, 28, 28, 1))], conv1, scoring=False)
    assert tuple(x.shape) == (3, 14, 14, 32)
    (x,) = _convolved_and_pooled([x], conv2, scoring=False)
    assert tuple(x.shape) == (3, 7, 7, 64)
    x = product(tf.reshape(x, (3, 3136)), dense)
    assert tuple(x.shape) == (3, 1024)
    assert tuple(product(x, output).shape) == (3, 10)


@pytest.mark.parametrize("count", [1, 7])
def test_ten_logits_an_image(model: PaperCnn, count: int) -> None:
    found = model.logits(tf.constant(PIXELS[:count]))
    assert tuple(found.shape) == (count, 10)
    assert found.dtype == tf.float32


# Parts


@pytest.mark.parametrize("parts", [2, 5, 12])
def test_parts_are_the_same_network(model: PaperCnn, parts: int) -> None:
    """Cut, with a row more in some of the pieces than in others, and put together again."""
    cut = network(7, dropout_rate=0.5, parts=parts)
    assert cut.parameter_count == model.parameter_count
    rows = [int(block.shape[0]) for block in cut.layers[2].blocks]
    assert (len(rows), sum(rows)) == (parts, 3136)
    assert max(rows) - min(rows) <= 1
    for layer, whole in zip(cut.layers, model.layers, strict=True):
        assert np.array_equal(layer.weights.numpy(), whole.weights.numpy())
    for step in (None, 3):
        np.testing.assert_allclose(
            logits(cut, step=step), logits(model, step=step), rtol=1e-5, atol=1e-4
        )


# First weights


def test_first_weights_are_a_normal_distribution_cut_at_two_deviations(model: PaperCnn) -> None:
    # A standard normal distribution cut at 2 has the variance 1 - 4·pdf(2) / (2·cdf(2) - 1).
    density = math.exp(-2) / math.sqrt(2 * math.pi)
    deviation = 0.1 * math.sqrt(1 - 4 * density / math.erf(math.sqrt(2)))
    assert deviation == pytest.approx(0.08796, abs=5e-6)
    for layer in model.layers:
        weights = layer.weights.numpy()
        assert np.abs(weights).max() <= 0.2 + 1e-6
        # Eight standard errors: of the mean, of the deviation.
        assert abs(weights.mean()) < 8 * deviation / math.sqrt(weights.size)
        assert weights.std() == pytest.approx(deviation, rel=8 / math.sqrt(2 * weights.size))
    assert np.abs(model.layers[2].weights.numpy()).max() > 0.19


def test_first_biases_are_a_tenth(model: PaperCnn) -> None:
    for layer in model.layers:
        assert np.all(layer.bias.numpy() == np.float32(0.1))


def test_first_weights_depend_on_the_seed_alone(model: PaperCnn) -> None:
    same, other = network(7, dropout_rate=0.0), network(8, dropout_rate=0.5)
    for layer, equal, different in zip(model.layers, same.layers, other.layers, strict=True):
        weights = layer.weights.numpy()
        assert np.array_equal(weights, equal.weights.numpy())
        assert np.mean(weights == different.weights.numpy()) < 0.01


def test_layers_do_not_share_their_draw(model: PaperCnn) -> None:
    starts = {layer.weights.numpy().ravel()[:8].tobytes() for layer in model.layers}
    assert len(starts) == 4


def test_the_largest_seed_and_step_are_taken() -> None:
    found = logits(network(MAX_SEED, dropout_rate=0.5), step=MAX_STEPS)
    assert np.all(np.isfinite(found))


# The order of operations


@pytest.mark.parametrize("scoring", [True, False])
@pytest.mark.parametrize(("side", "inputs", "outputs"), [(28, 1, 32), (14, 32, 64)])
def test_bias_relu_and_pool_in_another_order_are_the_same(
    side: int, inputs: int, outputs: int, *, scoring: bool
) -> None:
    random = np.random.default_rng(5)
    x = tf.constant(random.normal(size=(3, side, side, inputs)), tf.float32)
    # Biases of both signs: with the first ones of 0.1 a mistake might not be seen.
    layer = Layer(
        (tf.Variable(tf.constant(random.normal(0, 0.1, (5, 5, inputs, outputs)), tf.float32)),),
        tf.Variable(tf.constant(random.normal(0, 0.5, outputs), tf.float32)),
    )
    convolved = tf.nn.conv2d(x, layer.weights, strides=1, padding="SAME")
    theirs = tf.nn.max_pool2d(
        tf.nn.relu(convolved + layer.bias), ksize=2, strides=2, padding="SAME"
    ).numpy()
    ours = _convolved_and_pooled([x], layer, scoring=scoring)[0].numpy()
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
    assert np.any(theirs == 0)
    assert np.any(theirs > 0)


def test_logits_are_those_of_the_papers_program() -> None:
    model = network(9, dropout_rate=0.5)
    random = np.random.default_rng(6)
    for layer in model.layers:
        drawn = random.normal(0, 0.3, layer.bias.shape[0])
        layer.bias.assign(tf.constant(drawn, tf.float32))
    theirs = paper_logits([tf.constant(v.numpy()) for v in model.variables], PIXELS).numpy()
    # Logits of such a network lie in the tens: 1e-4 is 1e-5 of them.
    np.testing.assert_allclose(logits(model), theirs, rtol=1e-5, atol=1e-4)


# Dropout


@pytest.mark.parametrize("rate", [0.25, 0.5])
def test_dropout_drops_its_share_and_scales_the_others_up(rate: float) -> None:
    left = dropped(HIDDEN, rate, 1, tf.constant(3)).numpy()
    kept = left != 0
    assert 1 - kept.mean() == pytest.approx(rate, abs=0.01)  # six standard errors
    np.testing.assert_allclose(left[kept], 1 / (1 - rate), rtol=1e-6)


def test_dropout_depends_on_seed_and_step_alone() -> None:
    def kept(seed: int, step: int) -> npt.NDArray[np.bool_]:
        return dropped(HIDDEN, 0.5, seed, tf.constant(step)).numpy() != 0

    once = kept(1, 3)
    assert np.array_equal(once, kept(1, 3))
    for seed, step in ((1, 4), (2, 3), (3, 1)):
        assert np.mean(once == kept(seed, step)) == pytest.approx(0.5, abs=0.01)


def test_dropout_is_the_same_whatever_came_before() -> None:
    at_once = dropped(HIDDEN, 0.5, 7, tf.constant(5)).numpy()
    for step in range(5):
        dropped(HIDDEN, 0.5, 7, tf.constant(step))
    assert np.array_equal(at_once, dropped(HIDDEN, 0.5, 7, tf.constant(5)).numpy())


def test_nothing_is_dropped_when_scoring(model: PaperCnn) -> None:
    without = network(7, dropout_rate=0.0)
    scored = logits(model)
    assert np.array_equal(scored, logits(without))
    assert np.array_equal(scored, logits(without, step=0))
    assert not np.allclose(scored, logits(model, step=0))


# Sizes


def test_sizes_are_those_that_were_chosen() -> None:
    found = network(
        1, conv1_filters=3, conv1_kernel_size=4, conv2_filters=5, conv2_kernel_size=1,
        dense_units=7, batch_normalization=True,
    )  # fmt: skip
    assert [tuple(layer.weights.shape) for layer in found.layers] == [
        (4, 4, 1, 3),
        (1, 1, 3, 5),
        (245, 7),
        (7, 10),
    ]
    assert [layer.normalization is not None for layer in found.layers] == [True, True, True, False]
    assert logits(found).shape == (12, 10)


def test_the_dense_layer_is_cut_into_no_more_blocks_than_it_has_rows() -> None:
    assert len(network(1, conv2_filters=1, parts=60).layers[2].blocks) == 49
