"""Claim 7: cost of one feature map computed by a dense, a local and a convolutional layer.

The local and the dense layer are built from the convolution's kernel, so that all three compute
the same map: the local layer without weight sharing, the dense layer without sparsity either.
"""

from __future__ import annotations

import time
import timeit
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import psutil
import tensorflow as tf

from mnist_bench.core import formatting
from mnist_bench.results.experiments import LAYER_KINDS, LayerComparison, LayerCost, LayerKind

Floats: TypeAlias = npt.NDArray[np.float32]

SIDES = (8, 14, 28, 56, 112, 224)
"""Pixels along each side; MNIST has 28."""
KERNEL_SIZE = 5
BATCH_IMAGES = 50
APPLICATIONS = 5
"""Applications per TensorFlow call, whose overhead is as large as a small layer's time."""
MAX_REPEATS = 50
_MIN_REPEATS = 5
_DENSE_LIMIT_BYTES = 2**30
_FLOAT_BYTES = 4


def pixels_of(side: int) -> npt.NDArray[np.int64]:
    """Flat index of the pixel under each kernel position at each output, (k, k, side, side).

    Beyond the border it is side².
    """
    indices = np.arange(side**2).reshape(side, side)
    padded = np.pad(indices, KERNEL_SIZE // 2, constant_values=side**2)
    return np.lib.stride_tricks.sliding_window_view(padded, (side, side))


def layer_weights(kind: LayerKind, kernel: Floats, side: int) -> Floats:
    """Weights with which a layer computes the kernel's map.

    Returns:
        The kernel itself, (k, k); a kernel per output, (k, k, side, side), zero beyond the border;
        or a weight per pair of pixel and output, (side², side²), most of them zero.
    """
    if kind == "convolution":
        return kernel
    pixels = pixels_of(side)
    if kind == "local":
        return kernel[..., np.newaxis, np.newaxis] * (pixels < side**2)
    weights = np.zeros((side**2 + 1, side**2), np.float32)
    outputs = np.arange(side**2).reshape(side, side)
    weights[pixels, outputs] = kernel[..., np.newaxis, np.newaxis]
    return weights[:-1]  # the last row is beyond the border


def convolution(x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """Apply one kernel, (k, k), for all outputs to x, (n, side, side)."""
    filters = kernel[..., tf.newaxis, tf.newaxis]
    return tf.nn.conv2d(x[..., tf.newaxis], filters, strides=1, padding="SAME")[..., 0]


def locally_connected(x: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Apply a kernel per output, (k, k, side, side), to x, (n, side, side).

    Sums the shifted images times the weights over the kernel positions: TensorFlow has no operator
    for it, and this is faster than a sparse matrix or extracted image patches.
    """
    side = int(x.shape[1])
    border = KERNEL_SIZE // 2
    padded = tf.pad(x, [(0, 0), (border, border), (border, border)])
    return tf.add_n(
        [
            padded[:, row : row + side, column : column + side] * weights[row, column]
            for row, column in np.ndindex(KERNEL_SIZE, KERNEL_SIZE)
        ]
    )


def dense(x: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Apply a weight per pair of pixel and output, (side², side²), to x, (n, side, side)."""
    shape = tf.shape(x)
    return tf.reshape(tf.reshape(x, (shape[0], -1)) @ weights, shape)


APPLY: dict[LayerKind, Callable[[tf.Tensor, tf.Tensor], tf.Tensor]] = {
    "dense": dense,
    "local": locally_connected,
    "convolution": convolution,
}


def layer_cost(kind: LayerKind, side: int) -> LayerCost:
    """Exact parameter and operation counts of a layer, without timings."""
    connected, kernel_values = int(np.count_nonzero(pixels_of(side) < side**2)), KERNEL_SIZE**2
    parameters = {"dense": side**4, "local": connected, "convolution": kernel_values}
    stored = parameters | {"local": kernel_values * side**2}
    return LayerCost(
        kind=kind,
        side=side,
        kernel_size=KERNEL_SIZE,
        parameters=parameters[kind],
        weight_bytes=_FLOAT_BYTES * stored[kind],
        multiply_adds=side**4 if kind == "dense" else connected,
        seconds=None,
    )


def measure(
    seed: int, seconds: float, sides: Sequence[int], limit_bytes: int | None = None
) -> LayerComparison:
    """Count, compare and time the three layers at each side.

    Args:
        seed: Seed of the kernel and the images.
        seconds: Time after which no further repeat starts; a minimum number is always run.
        sides: Pixels along each side, rising.
        limit_bytes: Limit of a layer's weights; a layer above it is not built. None: a gibibyte,
            at most a quarter of the available memory.
    """
    end = time.perf_counter() + seconds
    random = np.random.default_rng(seed)
    # Scaled so that a map's values are about as large as its input's: it is the next input.
    scale = 1 / KERNEL_SIZE
    kernel = (random.standard_normal((KERNEL_SIZE, KERNEL_SIZE)) * scale).astype(np.float32)
    if limit_bytes is None:
        limit_bytes = min(_DENSE_LIMIT_BYTES, int(psutil.virtual_memory().available) // 4)
    costs: dict[tuple[int, LayerKind], LayerCost] = {}
    runs: dict[tuple[int, LayerKind], Callable[[], object]] = {}
    largest_value = 0.0
    for side in sides:
        x = tf.constant(random.standard_normal((BATCH_IMAGES, side, side)).astype(np.float32))
        expected = convolution(x, tf.constant(kernel)).numpy()
        for kind in LAYER_KINDS:
            cost = layer_cost(kind, side)
            if cost.weight_bytes > limit_bytes:
                needed, limit = map(formatting.mebibytes, (cost.weight_bytes, limit_bytes))
                changes: dict[str, object] = {
                    "not_timed": f"its weights would take {needed}, the limit here is {limit}"
                }
            else:
                weights = tf.constant(layer_weights(kind, kernel, side))
                actual = APPLY[kind](x, weights).numpy()
                changes = {"largest_difference": float(np.abs(actual - expected).max())}
                largest_value = max(largest_value, float(np.abs(actual).max()))
                runs[side, kind] = _chained(APPLY[kind], x, weights)
            costs[side, kind] = cost.model_copy(update=changes)
    repeats: dict[tuple[int, LayerKind], list[float]] = {key: [] for key in runs}
    for repeat in range(MAX_REPEATS):
        if repeat >= _MIN_REPEATS and time.perf_counter() > end:
            break
        # Every repeat times all layers, so that a machine that slows down affects all of them.
        for key, run in runs.items():
            repeats[key].append(timeit.timeit(run, number=1) / APPLICATIONS)
    for key, of_layer in repeats.items():
        costs[key] = costs[key].model_copy(update={"seconds": tuple(of_layer)})
    return LayerComparison(
        costs=tuple(costs.values()),
        batch_images=BATCH_IMAGES,
        applications=APPLICATIONS,
        largest_value=largest_value,
    )


def _chained(
    apply: Callable[[tf.Tensor, tf.Tensor], tf.Tensor], x: tf.Tensor, weights: tf.Tensor
) -> Callable[[], object]:
    """A function that applies a layer repeatedly, each time to the previous map; warmed up."""

    def chain(x: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        for _ in range(APPLICATIONS):
            x = apply(x, weights)
        return x

    # Weights are arguments: TensorFlow could precompute with constants of the graph.
    graph = tf.function(chain, autograph=False).get_concrete_function(x, weights)

    def run() -> object:
        return graph(x, weights).numpy()

    run()
    return run
