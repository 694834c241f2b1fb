"""One map by three layers: counts by hand, counts of what is built, and the map itself."""

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
    convolved,
    counted,
    dense,
    dense_weights,
    local_weights,
    locally_connected,
    measured,
)

LIMIT_BYTES = 9 * 9 * 25 * 4
"""The local layer of side 9 comes up to it, the dense one is beyond."""

sides, kernel_sizes = st.integers(1, 9), st.integers(1, 6)


def counted_one_by_one(side: int, kernel_size: int) -> int:
    """Every output, every place of the kernel: is there a pixel?"""
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
        (1, 5, 1),  # one pixel, which sees itself
        (2, 3, 16),  # each of 4 outputs sees all 4 pixels
        (3, 3, 49),  # along an axis 2 + 3 + 2
        (8, 5, 34**2),  # along an axis 3 + 4 + 4·5 + 4 + 3
        (28, 5, 134**2),
        (4, 1, 16),
    ],
)
def test_connections_by_hand(side: int, kernel_size: int, count: int) -> None:
    assert connection_count(side, kernel_size) == count


@given(sides, kernel_sizes)
def test_connections_one_by_one(side: int, kernel_size: int) -> None:
    expected = counted_one_by_one(side, kernel_size)
    assert connection_count(side, kernel_size) == expected
    assert sum(len(each.outputs) for each in connections(side, kernel_size)) == expected


@pytest.mark.parametrize(
    ("kind", "parameters", "weight_bytes", "multiply_adds"),
    [
        ("dense", 614_656, 2_458_624, 614_656),
        ("local", 17_956, 78_400, 17_956),
        ("convolution", 25, 100, 17_956),
    ],
)
def test_counts_of_mnists_side(
    kind: LayerKind, parameters: int, weight_bytes: int, multiply_adds: int
) -> None:
    cost = counted(kind, 28, 5)
    assert cost.parameters == parameters
    assert cost.weight_bytes == weight_bytes
    assert cost.multiply_adds == multiply_adds


@given(sides, kernel_sizes)
def test_counts_of_what_is_built(side: int, kernel_size: int) -> None:
    kernel = np.ones((kernel_size, kernel_size), np.float32)
    built = {"dense": dense_weights(kernel, side), "local": local_weights(kernel, side)}
    for kind, weights in built.items():
        assert weights.nbytes == counted(kind, side, kernel_size).weight_bytes
        # A kernel of ones: each weight that reaches a pixel is one, every other is zero.
        assert weights.sum() == counted("local", side, kernel_size).parameters
    assert built["dense"].size == counted("dense", side, kernel_size).parameters
    assert kernel.nbytes == counted("convolution", side, kernel_size).weight_bytes
    assert kernel.size == counted("convolution", side, kernel_size).parameters


# The map


@pytest.mark.parametrize("side", [1, 2, 3, 5, 8, 14])
@pytest.mark.parametrize("kernel_size", [1, 2, 3, 5])
def test_all_three_make_the_same_map(side: int, kernel_size: int) -> None:
    kernel, x = normal(kernel_size, kernel_size), tf.constant(normal(3, side, side))
    expected = convolved(x, tf.constant(kernel)).numpy()
    for made in (
        locally_connected(x, tf.constant(local_weights(kernel, side))),
        dense(x, tf.constant(dense_weights(kernel, side))),
    ):
        np.testing.assert_allclose(made.numpy(), expected, rtol=1e-5, atol=1e-5)


def test_a_local_layer_shares_nothing() -> None:
    kernel, x = normal(3, 3), tf.constant(normal(1, 4, 4))
    weights = local_weights(kernel, 4)
    before = locally_connected(x, tf.constant(weights)).numpy()
    weights[1, 1, 2, 3] += 1  # the middle of the kernel of the output at row 2, column 3
    changed = locally_connected(x, tf.constant(weights)).numpy() - before
    assert np.argwhere(changed).tolist() == [[0, 2, 3]]
    assert changed[0, 2, 3] == pytest.approx(x.numpy()[0, 2, 3], rel=1e-5)


# Measured


@pytest.fixture(scope="module")
def found() -> LayerComparison:
    return measured(3, seconds=0.0, sides=(6, 9), limit_bytes=LIMIT_BYTES)


def test_each_layer_at_each_side(found: LayerComparison) -> None:
    assert [(each.side, each.kind) for each in found.costs] == [
        (6, "dense"), (6, "local"), (6, "convolution"),
        (9, "dense"), (9, "local"), (9, "convolution"),
    ]  # fmt: skip
    assert found.batch_images == 50
    assert 0.1 < found.largest_value < 100


def test_what_is_too_large_says_so(found: LayerComparison) -> None:
    large = found.costs[3]
    assert large.seconds is None
    assert large.largest_difference is None
    assert large.not_timed == "its weights would take 0 MiB, the limit here is 0 MiB"
    assert large.parameters == 9**4, "counted all the same"
    assert all(each.not_timed is None for each in found.costs if each is not large)


def test_repeats_of_all_that_is_timed(found: LayerComparison) -> None:
    timed = [each.seconds for each in found.costs if each.seconds is not None]
    assert [len(seconds) for seconds in timed] == [5] * 5
    assert all(second > 0 for seconds in timed for second in seconds)


def test_the_maps_differ_by_rounding_alone(found: LayerComparison) -> None:
    for each in found.costs:
        if each.largest_difference is not None:
            assert each.largest_difference <= 1e-5 * found.largest_value
            assert each.kind != "convolution" or each.largest_difference == 0


def test_all_but_the_seconds_depends_on_the_seed(found: LayerComparison) -> None:
    again, other = (measured(s, 0.0, sides=(6, 9), limit_bytes=LIMIT_BYTES) for s in (3, 4))

    def told(each: LayerComparison) -> list[object]:
        return [cost.model_copy(update={"seconds": None}) for cost in each.costs]

    assert told(again) == told(found)
    assert again.largest_value == found.largest_value != other.largest_value


def test_a_wrong_map_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = layer_comparison.dense_weights
    monkeypatch.setattr(layer_comparison, "dense_weights", lambda k, side: honest(np.flip(k), side))
    found = measured(0, 0.0, sides=(6,))
    differences = {each.kind: each.largest_difference for each in found.costs}
    assert differences["dense"] > 0.1
    assert differences["local"] < 1e-5
