"""Claim 7: cost of one feature map computed by a dense, a local and a convolutional layer.

The local and the dense layer are built from the convolution's kernel, so that all three compute
the same map: the local layer without weight sharing, the dense layer without sparsity either.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import psutil
import tensorflow as tf

from mnist_bench.core import formatting
from mnist_bench.results.experiments import LAYER_KINDS, LayerComparison, LayerCost, LayerKind

Floats: TypeAlias = npt.NDArray[np.float32]
Places: TypeAlias = npt.NDArray[np.int64]

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


@dataclass(frozen=True)
class Connection:
    """The pairs of output and pixel that one kernel position connects, inside of the image.

    Attributes:
        row: Of the kernel position.
        column: Of the kernel position.
        outputs: int64 (n,), flat indices into the map.
        pixels: int64 (n,), flat indices into the image, one per output.
    """

    row: int
    column: int
    outputs: Places
    pixels: Places


def connection_count(side: int, kernel_size: int) -> int:
    """Number of pairs of output and connected pixel, borders considered.

    Along one axis each of `side` outputs sees `kernel_size` pixels minus those beyond the border.
    """
    before, after = _padding(kernel_size)
    along = sum(
        max(0, min(index + after, side - 1) - max(index - before, 0) + 1) for index in range(side)
    )
    return along**2


def connections(side: int, kernel_size: int) -> Iterator[Connection]:
    """The pairs of output and connected pixel, one kernel position after another."""
    before, _ = _padding(kernel_size)
    indices = np.arange(side)
    for row in range(kernel_size):
        ys = indices[(indices + row - before >= 0) & (indices + row - before < side)]
        for column in range(kernel_size):
            xs = indices[(indices + column - before >= 0) & (indices + column - before < side)]
            outputs = (ys[:, np.newaxis] * side + xs).ravel()
            yield Connection(
                row, column, outputs, outputs + (row - before) * side + column - before
            )


def local_weights(kernel: Floats, side: int) -> Floats:
    """Weights of a kernel per output, (k, k, side, side); zero beyond the border."""
    weights = np.zeros((*kernel.shape, side * side), np.float32)
    for pairs in connections(side, len(kernel)):
        weights[pairs.row, pairs.column, pairs.outputs] = kernel[pairs.row, pairs.column]
    return weights.reshape(*kernel.shape, side, side)


def dense_weights(kernel: Floats, side: int) -> Floats:
    """A weight per pair of pixel and output, (side², side²); most are zero."""
    weights = np.zeros((side * side, side * side), np.float32)
    for pairs in connections(side, len(kernel)):
        weights[pairs.pixels, pairs.outputs] = kernel[pairs.row, pairs.column]
    return weights


def convolution(x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """Apply one kernel, (k, k), for all outputs to x, (n, side, side)."""
    filters = kernel[..., tf.newaxis, tf.newaxis]
    return tf.nn.conv2d(x[..., tf.newaxis], filters, strides=1, padding="SAME")[..., 0]


def locally_connected(x: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Apply a kernel per output, (k, k, side, side), to x, (n, side, side).

    Sums the shifted images times the weights over the kernel positions: TensorFlow has no operator
    for it, and this is faster than a sparse matrix or extracted image patches.
    """
    kernel_size, side = int(weights.shape[0]), int(weights.shape[2])
    padded = tf.pad(x, [(0, 0), _padding(kernel_size), _padding(kernel_size)])
    positions = [(row, column) for row in range(kernel_size) for column in range(kernel_size)]
    return tf.add_n([padded[:, r : r + side, c : c + side] * weights[r, c] for r, c in positions])


def dense(x: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Apply a weight per pair of pixel and output, (side², side²), to x, (n, side, side)."""
    shape = tf.shape(x)
    return tf.reshape(tf.reshape(x, (shape[0], -1)) @ weights, shape)


_APPLY: dict[LayerKind, Callable[[tf.Tensor, tf.Tensor], tf.Tensor]] = {
    "dense": dense,
    "local": locally_connected,
    "convolution": convolution,
}


def layer_cost(kind: LayerKind, side: int, kernel_size: int) -> LayerCost:
    """Exact parameter and operation counts of a layer, without timings."""
    connected = connection_count(side, kernel_size)
    all_pairs, all_kernels = side**4, kernel_size**2 * side**2
    parameters = {"dense": all_pairs, "local": connected, "convolution": kernel_size**2}
    stored = {"dense": all_pairs, "local": all_kernels, "convolution": kernel_size**2}
    return LayerCost(
        kind=kind,
        side=side,
        kernel_size=kernel_size,
        parameters=parameters[kind],
        weight_bytes=_FLOAT_BYTES * stored[kind],
        multiply_adds=all_pairs if kind == "dense" else connected,
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
    limit = _default_limit_bytes() if limit_bytes is None else limit_bytes
    layers = [layer for side in sides for layer in _build_layers(kernel, side, limit, random)]
    repeats = list(_timed_repeats([layer for layer in layers if layer.run], end))
    timings = iter(zip(*repeats, strict=True))
    costs = [
        layer.cost.model_copy(update={"seconds": next(timings)}) if layer.run else layer.cost
        for layer in layers
    ]
    return LayerComparison(
        costs=tuple(costs),
        batch_images=BATCH_IMAGES,
        applications=APPLICATIONS,
        largest_value=max(layer.largest_value for layer in layers),
    )


@dataclass(frozen=True)
class _Layer:
    """A layer that is ready to be timed.

    Attributes:
        cost: Its counts.
        largest_value: Largest absolute value in its map; 0 if it was not built.
        run: Applies it several times; None if it is too large.
    """

    cost: LayerCost
    largest_value: float = 0.0
    run: Callable[[], object] | None = None


def _build_layers(
    kernel: Floats, side: int, limit: int, random: np.random.Generator
) -> list[_Layer]:
    """Build the three layers for one side and compare their maps with the convolution's."""
    x = tf.constant(random.standard_normal((BATCH_IMAGES, side, side)).astype(np.float32))
    expected = convolution(x, tf.constant(kernel)).numpy()
    layers = []
    for kind in LAYER_KINDS:
        layer = _Layer(layer_cost(kind, side, len(kernel)))
        if layer.cost.weight_bytes > limit:
            sizes = formatting.mebibytes(layer.cost.weight_bytes), formatting.mebibytes(limit)
            reason = "its weights would take {}, the limit here is {}".format(*sizes)
            layers.append(replace(layer, cost=layer.cost.model_copy(update={"not_timed": reason})))
            continue
        weights = tf.constant(_weights(kind, kernel, side))
        actual = _APPLY[kind](x, weights).numpy()
        difference = {"largest_difference": float(np.abs(actual - expected).max())}
        layers.append(
            _Layer(
                layer.cost.model_copy(update=difference),
                float(np.abs(actual).max()),
                _chained(_APPLY[kind], x, weights),
            )
        )
    return layers


def _weights(kind: LayerKind, kernel: Floats, side: int) -> Floats:
    if kind == "convolution":
        return kernel
    return dense_weights(kernel, side) if kind == "dense" else local_weights(kernel, side)


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


def _timed_repeats(layers: Sequence[_Layer], end: float) -> Iterator[list[float]]:
    """Yield the seconds per application of each layer, repeat after repeat, until `end`.

    Every repeat times all layers, so that a machine that slows down affects all of them.
    """
    for repeat in range(MAX_REPEATS):
        if repeat >= _MIN_REPEATS and time.perf_counter() > end:
            return
        yield [_run_seconds(layer) / APPLICATIONS for layer in layers]


def _run_seconds(layer: _Layer) -> float:
    start = time.perf_counter()
    if layer.run:
        layer.run()
    return time.perf_counter() - start


def _default_limit_bytes() -> int:
    return min(_DENSE_LIMIT_BYTES, int(psutil.virtual_memory().available) // 4)


def _padding(kernel_size: int) -> tuple[int, int]:
    """Pixels that a kernel extends before and after its output's position, as with SAME."""
    return (kernel_size - 1) // 2, kernel_size // 2
