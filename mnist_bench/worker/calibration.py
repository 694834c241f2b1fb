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
    # A different value for each thread: TensorFlow computes equal products only once.
    lefts = [tf.fill((_SIZE, _SIZE), 0.5 + thread / threads) for thread in range(threads)]
    right = tf.fill((_SIZE, _SIZE), 2.0)
    return median_seconds(lambda: [product.numpy() for product in _multiply(lefts, right)])


@tf.function(autograph=False)  # type: ignore[untyped-decorator]  # TensorFlow has no types
def _multiply(lefts: Sequence[tf.Tensor], right: tf.Tensor) -> list[tf.Tensor]:
    return [tf.linalg.matmul(left, right) for left in lefts]
