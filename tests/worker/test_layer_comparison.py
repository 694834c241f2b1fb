"""Layer comparison: counts by hand and of built weights, and the maps."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from mnist_bench.results.experiments import LAYER_KINDS, LayerComparison, LayerKind
from mnist_bench.worker.experiments import layer_comparison
from mnist_bench.worker.experiments.layer_comparison import (
    APPLY,
    layer_cost,
    layer_weights,
    measure,
)

LIMIT_BYTES = 9 * 9 * 25 * 4
"""Exactly the local layer of side 9; the dense one is larger."""


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize(
    ("side", "kind", "parameters", "weight_bytes", "multiply_adds"),
    [
        (28, "dense", 614_656, 2_458_624, 614_656),
        (28, "local", 134**2, 78_400, 134**2),
        (28, "convolution", 25, 100, 134**2),
        (8, "local", 34**2, 6_400, 34**2),  # per axis 3 + 4 + 4·5 + 4 + 3
        (2, "local", 16, 400, 16),  # each of 4 outputs is connected to all 4 pixels
        (1, "local", 1, 100, 1),  # one pixel, connected to itself
    ],
)
def test_counts_by_hand(
    side: int, kind: LayerKind, parameters: int, weight_bytes: int, multiply_adds: int
) -> None:
    cost = layer_cost(kind, side)
    counts = cost.parameters, cost.weight_bytes, cost.multiply_adds
    assert counts == (parameters, weight_bytes, multiply_adds)


@pytest.mark.parametrize("side", [1, 2, 3, 5, 8, 14])
@pytest.mark.parametrize("kind", LAYER_KINDS)
def test_layers_have_the_counted_weights_and_compute_the_same_map(
    kind: LayerKind, side: int
) -> None:
    ones = layer_weights(kind, np.ones((5, 5), np.float32), side)
    cost = layer_cost(kind, side)
    assert (ones.dtype, ones.nbytes) == (np.float32, cost.weight_bytes)
    connected = cost.multiply_adds if kind == "local" else layer_cost("local", side).parameters
    assert ones.sum() == (25 if kind == "convolution" else connected)
    kernel, x = normal(5, 5), tf.constant(normal(3, side, side))
    expected = APPLY["convolution"](x, tf.constant(kernel)).numpy()
    actual = APPLY[kind](x, tf.constant(layer_weights(kind, kernel, side))).numpy()
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


def test_a_local_layer_shares_no_weights() -> None:
    x, weights = tf.constant(normal(1, 4, 4)), layer_weights("local", normal(5, 5), 4)
    before = APPLY["local"](x, tf.constant(weights)).numpy()
    weights[2, 2, 2, 3] += 1  # the kernel's center for the output at row 2, column 3
    changed = APPLY["local"](x, tf.constant(weights)).numpy() - before
    assert np.argwhere(changed).tolist() == [[0, 2, 3]]
    assert changed[0, 2, 3] == pytest.approx(x.numpy()[0, 2, 3], rel=1e-5)


# Measurements


@pytest.fixture(scope="module")
def found() -> LayerComparison:
    return measure(3, seconds=0.0, sides=(6, 9), limit_bytes=LIMIT_BYTES)


def test_all_layers_below_the_limit_are_timed(found: LayerComparison) -> None:
    assert [(cost.side, cost.kind) for cost in found.costs] == [
        (6, "dense"), (6, "local"), (6, "convolution"),
        (9, "dense"), (9, "local"), (9, "convolution"),
    ]  # fmt: skip
    large = found.costs[3]
    assert (large.seconds, large.largest_difference, large.parameters) == (None, None, 9**4)
    assert large.not_timed == "its weights would take 0 MiB, the limit here is 0 MiB"
    for cost in found.costs:
        if cost is not large:
            assert cost.not_timed is None
            assert len(cost.seconds or ()) == 5
            assert min(cost.seconds or ()) > 0
            assert cost.largest_difference <= 1e-5 * found.largest_value
            assert cost.kind != "convolution" or cost.largest_difference == 0
    assert found.batch_images == 50
    assert 0.1 < found.largest_value < 100


def test_results_depend_only_on_the_seed(found: LayerComparison) -> None:
    again, other = (measure(seed, 0.0, sides=(6,), limit_bytes=LIMIT_BYTES) for seed in (3, 4))
    differences, same, different = (
        [cost.largest_difference for cost in result.costs if cost.side == 6]
        for result in (found, again, other)
    )
    assert differences == same != different
    assert again.largest_value != other.largest_value


def test_a_wrong_map_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    original = layer_comparison.layer_weights
    monkeypatch.setattr(
        layer_comparison,
        "layer_weights",
        lambda kind, k, side: original(kind, np.flip(k) if kind == "dense" else k, side),
    )
    found = measure(0, 0.0, sides=(6,))
    differences = {cost.kind: cost.largest_difference for cost in found.costs}
    assert differences["dense"] > 0.1
    assert differences["local"] < 1e-5
