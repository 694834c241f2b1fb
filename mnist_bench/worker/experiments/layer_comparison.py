"""Claim 7: one map of one image by three layers; what each holds, multiplies and takes.

The local and the dense layer are built from the convolution's kernel, so that all three compute
the same map: the local one without sharing its weights, the dense one without sparseness either.
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
"""Pixels along each side; 28 are MNIST's."""
KERNEL_SIZE = 5
BATCH_IMAGES = 50
APPLICATIONS = 5
"""One call of TensorFlow costs as much as a small layer: several share it."""
MOST_REPEATS = 50
_LEAST_REPEATS = 5
_DENSE_LIMIT_BYTES = 2**30
_FLOAT_BYTES = 4


@dataclass(frozen=True)
class Connection:
    """Which outputs see which pixel through one place of the kernel, inside of the image.

    Attributes:
        row: Of the kernel.
        column: Of the kernel.
        outputs: int64 (n,), places in the map, row by row.
        pixels: int64 (n,), places in the image, row by row: one for each output.
    """

    row: int
    column: int
    outputs: Places
    pixels: Places


def connection_count(side: int, kernel_size: int) -> int:
    """Pairs of an output and a pixel inside of the image that it sees, at any border.

    Along one axis each of `side` outputs sees `kernel_size` places less those that reach beyond.
    """
    before, after = _reach(kernel_size)
    along = sum(
        max(0, min(place + after, side - 1) - max(place - before, 0) + 1) for place in range(side)
    )
    return along**2


def connections(side: int, kernel_size: int) -> Iterator[Connection]:
    """The same pairs themselves, a place of the kernel after the other."""
    before, _ = _reach(kernel_size)
    places = np.arange(side)
    for row in range(kernel_size):
        ys = places[(places + row - before >= 0) & (places + row - before < side)]
        for column in range(kernel_size):
            xs = places[(places + column - before >= 0) & (places + column - before < side)]
            outputs = (ys[:, np.newaxis] * side + xs).ravel()
            yield Connection(
                row, column, outputs, outputs + (row - before) * side + column - before
            )


def local_weights(kernel: Floats, side: int) -> Floats:
    """A kernel for each output: (k, k, side, side); zero where it reaches beyond the border."""
    weights = np.zeros((*kernel.shape, side * side), np.float32)
    for each in connections(side, len(kernel)):
        weights[each.row, each.column, each.outputs] = kernel[each.row, each.column]
    return weights.reshape(*kernel.shape, side, side)


def dense_weights(kernel: Floats, side: int) -> Floats:
    """A weight for each pair of pixel and output: (side², side²); most are zero."""
    weights = np.zeros((side * side, side * side), np.float32)
    for each in connections(side, len(kernel)):
        weights[each.pixels, each.outputs] = kernel[each.row, each.column]
    return weights


def convolved(x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """(n, side, side) by one kernel (k, k) for all outputs."""
    filters = kernel[..., tf.newaxis, tf.newaxis]
    return tf.nn.conv2d(x[..., tf.newaxis], filters, strides=1, padding="SAME")[..., 0]


def locally_connected(x: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """(n, side, side) by a kernel for each output, (k, k, side, side).

    The sum over the kernel's places of the shifted images times the weights there: TensorFlow has
    no operator for it, and this takes less time than a sparse matrix or pieces cut out of images.
    """
    kernel_size, side = int(weights.shape[0]), int(weights.shape[2])
    around = tf.pad(x, [(0, 0), _reach(kernel_size), _reach(kernel_size)])
    places = [(row, column) for row in range(kernel_size) for column in range(kernel_size)]
    return tf.add_n([around[:, r : r + side, c : c + side] * weights[r, c] for r, c in places])


def dense(x: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """(n, side, side) by a weight for each pair of pixel and output, (side², side²)."""
    shape = tf.shape(x)
    return tf.reshape(tf.reshape(x, (shape[0], -1)) @ weights, shape)


_APPLY: dict[LayerKind, Callable[[tf.Tensor, tf.Tensor], tf.Tensor]] = {
    "dense": dense,
    "local": locally_connected,
    "convolution": convolved,
}


def counted(kind: LayerKind, side: int, kernel_size: int) -> LayerCost:
    """A layer's exact counts, by formula; not timed."""
    connected = connection_count(side, kernel_size)
    every, own = side**4, kernel_size**2 * side**2
    parameters = {"dense": every, "local": connected, "convolution": kernel_size**2}
    held = {"dense": every, "local": own, "convolution": kernel_size**2}
    return LayerCost(
        kind=kind,
        side=side,
        kernel_size=kernel_size,
        parameters=parameters[kind],
        weight_bytes=_FLOAT_BYTES * held[kind],
        multiply_adds=every if kind == "dense" else connected,
        seconds=None,
    )


def measured(
    seed: int, seconds: float, sides: Sequence[int], limit_bytes: int | None = None
) -> LayerComparison:
    """The three layers at each side: counted, compared, and timed in turns.

    Args:
        seed: Of the kernel and the images.
        seconds: From the beginning on, after which no further repeat is begun; some are made in
            any case.
        sides: Pixels along each side, rising.
        limit_bytes: Of a layer's weights; one with more is not built. None: a gibibyte, and not
            more than a quarter of the memory that is free.
    """
    end = time.perf_counter() + seconds
    random = np.random.default_rng(seed)
    # Drawn so that a map is about as large as its image: it is the next application's image.
    scale = 1 / KERNEL_SIZE
    kernel = (random.standard_normal((KERNEL_SIZE, KERNEL_SIZE)) * scale).astype(np.float32)
    limit = _default_limit_bytes() if limit_bytes is None else limit_bytes
    layers = [layer for side in sides for layer in _built(kernel, side, limit, random)]
    repeats = list(_repeats([layer for layer in layers if layer.run], end))
    timed = iter(zip(*repeats, strict=True))
    costs = [
        layer.cost.model_copy(update={"seconds": next(timed)}) if layer.run else layer.cost
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
    """A layer, ready to be timed.

    Attributes:
        cost: What is known of it so far.
        largest_value: In the map that was compared; 0 where none was made.
        run: Applies it several times and waits; None where it is too large.
    """

    cost: LayerCost
    largest_value: float = 0.0
    run: Callable[[], object] | None = None


def _built(kernel: Floats, side: int, limit: int, random: np.random.Generator) -> list[_Layer]:
    """The three layers of one side, compared with one another."""
    x = tf.constant(random.standard_normal((BATCH_IMAGES, side, side)).astype(np.float32))
    expected = convolved(x, tf.constant(kernel)).numpy()
    layers = []
    for kind in LAYER_KINDS:
        layer = _Layer(counted(kind, side, len(kernel)))
        if layer.cost.weight_bytes > limit:
            sizes = formatting.mebibytes(layer.cost.weight_bytes), formatting.mebibytes(limit)
            reason = "its weights would take {}, the limit here is {}".format(*sizes)
            layers.append(replace(layer, cost=layer.cost.model_copy(update={"not_timed": reason})))
            continue
        weights = tf.constant(_weights(kind, kernel, side))
        got = _APPLY[kind](x, weights).numpy()
        difference = {"largest_difference": float(np.abs(got - expected).max())}
        layers.append(
            _Layer(
                layer.cost.model_copy(update=difference),
                float(np.abs(got).max()),
                _several(_APPLY[kind], x, weights),
            )
        )
    return layers


def _weights(kind: LayerKind, kernel: Floats, side: int) -> Floats:
    if kind == "convolution":
        return kernel
    return dense_weights(kernel, side) if kind == "dense" else local_weights(kernel, side)


def _several(
    apply: Callable[[tf.Tensor, tf.Tensor], tf.Tensor], x: tf.Tensor, weights: tf.Tensor
) -> Callable[[], object]:
    """Several applications in a row, each to the map of the one before; built and warm."""

    def chain(x: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        for _ in range(APPLICATIONS):
            x = apply(x, weights)
        return x

    # Weights are arguments: as constants of the graph they might be worked on beforehand.
    graph = tf.function(chain, autograph=False).get_concrete_function(x, weights)

    def run() -> object:
        return graph(x, weights).numpy()

    run()
    return run


def _repeats(layers: Sequence[_Layer], end: float) -> Iterator[list[float]]:
    """Seconds of one application by layer, repeat after repeat, up to a moment of the clock.

    In each repeat all layers take turns: a machine that slows down slows them all.
    """
    for repeat in range(MOST_REPEATS):
        if repeat >= _LEAST_REPEATS and time.perf_counter() > end:
            return
        yield [_seconds_of(layer) / APPLICATIONS for layer in layers]


def _seconds_of(layer: _Layer) -> float:
    begin = time.perf_counter()
    if layer.run:
        layer.run()
    return time.perf_counter() - begin


def _default_limit_bytes() -> int:
    return min(_DENSE_LIMIT_BYTES, int(psutil.virtual_memory().available) // 4)


def _reach(kernel_size: int) -> tuple[int, int]:
    """Places that a kernel reaches before and after its own, as SAME has it."""
    return (kernel_size - 1) // 2, kernel_size // 2
