"""Layer comparison: counts by hand and of built weights, and the maps."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from mnist_bench.results.experiments import LayerComparison, LayerKind
from mnist_bench.worker.experiments import layer_comparison
from mnist_bench.worker.experiments.layer_comparison import (
    connection_count,
    connections,
    convolution,
    dense,
    dense_weights,
    layer_cost,
    local_weights,
    locally_connected,
    measure,
)

LIMIT_BYTES = 9 * 9 * 25 * 4
"""Exactly the local layer of side 9; the dense one is larger."""

sides, kernel_sizes = st.integers(1, 9), st.integers(1, 6)


def count_one_by_one(side: int, kernel_size: int) -> int:
    """Count the pixels of every output and kernel position."""
    before = (kernel_size - 1) // 2
    inside = range(side)
    return sum(
        y + row - before in inside and x + column - before in inside
        for y in inside
        for x in inside
        for row in range(kernel_size)
        for column in range(kernel_size)
    )


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


# Counts


@pytest.mark.parametrize(
    ("side", "kernel_size", "count"),
    [
        (1, 5, 1),  # one pixel, connected to itself
        (2, 3, 16),  # each of 4 outputs is connected to all 4 pixels
        (3, 3, 49),  # per axis 2 + 3 + 2
        (8, 5, 34**2),  # per axis 3 + 4 + 4·5 + 4 + 3
        (28, 5, 134**2),
        (4, 1, 16),
    ],
)
def test_connections_by_hand(side: int, kernel_size: int, count: int) -> None:
    assert connection_count(side, kernel_size) == count


@given(sides, kernel_sizes)
def test_connections_one_by_one(side: int, kernel_size: int) -> None:
    expected = count_one_by_one(side, kernel_size)
    assert connection_count(side, kernel_size) == expected
    assert sum(len(pairs.outputs) for pairs in connections(side, kernel_size)) == expected


@pytest.mark.parametrize(
    ("kind", "parameters", "weight_bytes", "multiply_adds"),
    [
        ("dense", 614_656, 2_458_624, 614_656),
        ("local", 17_956, 78_400, 17_956),
        ("convolution", 25, 100, 17_956),
    ],
)
def test_counts_for_mnists_side(
    kind: LayerKind, parameters: int, weight_bytes: int, multiply_adds: int
) -> None:
    cost = layer_cost(kind, 28, 5)
    assert cost.parameters == parameters
    assert cost.weight_bytes == weight_bytes
    assert cost.multiply_adds == multiply_adds


@given(sides, kernel_sizes)
def test_counts_agree_with_built_weights(side: int, kernel_size: int) -> None:
    kernel = np.ones((kernel_size, kernel_size), np.float32)
    built = {"dense": dense_weights(kernel, side), "local": local_weights(kernel, side)}
    for kind, weights in built.items():
        assert weights.nbytes == layer_cost(kind, side, kernel_size).weight_bytes
        # With a kernel of ones, each connected weight is one and all others are zero.
        assert weights.sum() == layer_cost("local", side, kernel_size).parameters
    assert built["dense"].size == layer_cost("dense", side, kernel_size).parameters
    assert kernel.nbytes == layer_cost("convolution", side, kernel_size).weight_bytes
    assert kernel.size == layer_cost("convolution", side, kernel_size).parameters


# Maps


@pytest.mark.parametrize("side", [1, 2, 3, 5, 8, 14])
@pytest.mark.parametrize("kernel_size", [1, 2, 3, 5])
def test_all_three_layers_compute_the_same_map(side: int, kernel_size: int) -> None:
    kernel, x = normal(kernel_size, kernel_size), tf.constant(normal(3, side, side))
    expected = convolution(x, tf.constant(kernel)).numpy()
    for result in (
        locally_connected(x, tf.constant(local_weights(kernel, side))),
        dense(x, tf.constant(dense_weights(kernel, side))),
    ):
        np.testing.assert_allclose(result.numpy(), expected, rtol=1e-5, atol=1e-5)


def test_a_local_layer_shares_no_weights() -> None:
    kernel, x = normal(3, 3), tf.constant(normal(1, 4, 4))
    weights = local_weights(kernel, 4)
    before = locally_connected(x, tf.constant(weights)).numpy()
    weights[1, 1, 2, 3] += 1  # the kernel's center for the output at row 2, column 3
    changed = locally_connected(x, tf.constant(weights)).numpy() - before
    assert np.argwhere(changed).tolist() == [[0, 2, 3]]
    assert changed[0, 2, 3] == pytest.approx(x.numpy()[0, 2, 3], rel=1e-5)


# Measurements


@pytest.fixture(scope="module")
def found() -> LayerComparison:
    return measure(3, seconds=0.0, sides=(6, 9), limit_bytes=LIMIT_BYTES)


def test_every_layer_is_measured_at_every_side(found: LayerComparison) -> None:
    assert [(cost.side, cost.kind) for cost in found.costs] == [
        (6, "dense"), (6, "local"), (6, "convolution"),
        (9, "dense"), (9, "local"), (9, "convolution"),
    ]  # fmt: skip
    assert found.batch_images == 50
    assert 0.1 < found.largest_value < 100


def test_a_layer_above_the_limit_is_not_timed(found: LayerComparison) -> None:
    large = found.costs[3]
    assert large.seconds is None
    assert large.largest_difference is None
    assert large.not_timed == "its weights would take 0 MiB, the limit here is 0 MiB"
    assert large.parameters == 9**4, "counts are complete"
    assert all(cost.not_timed is None for cost in found.costs if cost is not large)


def test_every_timed_layer_has_all_repeats(found: LayerComparison) -> None:
    timed = [cost.seconds for cost in found.costs if cost.seconds is not None]
    assert [len(seconds) for seconds in timed] == [5] * 5
    assert all(second > 0 for seconds in timed for second in seconds)


def test_maps_differ_only_by_rounding(found: LayerComparison) -> None:
    for cost in found.costs:
        if cost.largest_difference is not None:
            assert cost.largest_difference <= 1e-5 * found.largest_value
            assert cost.kind != "convolution" or cost.largest_difference == 0


def test_results_depend_only_on_the_seed(found: LayerComparison) -> None:
    again, other = (measure(s, 0.0, sides=(6, 9), limit_bytes=LIMIT_BYTES) for s in (3, 4))

    def untimed(result: LayerComparison) -> list[object]:
        return [cost.model_copy(update={"seconds": None}) for cost in result.costs]

    assert untimed(again) == untimed(found)
    assert again.largest_value == found.largest_value != other.largest_value


def test_a_wrong_map_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    original = layer_comparison.dense_weights
    monkeypatch.setattr(
        layer_comparison, "dense_weights", lambda k, side: original(np.flip(k), side)
    )
    found = measure(0, 0.0, sides=(6,))
    differences = {cost.kind: cost.largest_difference for cost in found.costs}
    assert differences["dense"] > 0.1
    assert differences["local"] < 1e-5
