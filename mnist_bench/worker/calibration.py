"""Calibration: the time of a fixed computation on TensorFlow's threads."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from mnist_bench.measurement.timing import median_seconds

_SIZE = 1024
"""Rows and columns of the matrices: 2.1 GFLOP per product, 8 MiB per thread."""


def calibrate(threads: int) -> float:
    """Median seconds of a product of two fixed matrices, after warm-up.

    Args:
        threads: Products computed concurrently, each on its own thread.
    """
    lefts = [tf.fill((_SIZE, _SIZE), value) for value in _fill_values(threads)]
    right = tf.fill((_SIZE, _SIZE), 2.0)
    return median_seconds(lambda: [product.numpy() for product in _multiply(lefts, right)])


def _fill_values(threads: int) -> list[float]:
    """A different value for each thread's matrix: TensorFlow computes equal products only once."""
    return [0.5 + thread / threads for thread in range(threads)]


@tf.function(autograph=False)  # type: ignore[untyped-decorator]  # TensorFlow has no types
def _multiply(lefts: Sequence[tf.Tensor], right: tf.Tensor) -> list[tf.Tensor]:
    return [tf.linalg.matmul(left, right) for left in lefts]
