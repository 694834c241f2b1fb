"""A fixed small piece of work: how fast is the machine just now, by TensorFlow's own threads?"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from mnist_bench.measurement.timing import median_seconds

_SIZE = 1024
"""Rows and columns of the matrices: 2.1 GFLOP a product, 8 MiB for each thread."""


def calibrate(threads: int) -> float:
    """Seconds of one product of two fixed matrices: the median of several, warmed up.

    Args:
        threads: As many products are made at the same time, each on a thread of its own.
    """
    lefts = [tf.fill((_SIZE, _SIZE), value) for value in _values(threads)]
    right = tf.fill((_SIZE, _SIZE), 2.0)
    return median_seconds(lambda: [product.numpy() for product in _products(lefts, right)])


def _values(threads: int) -> list[float]:
    """One for each thread's matrix, none like another: TensorFlow makes equal products once."""
    return [0.5 + thread / threads for thread in range(threads)]


@tf.function(autograph=False)  # type: ignore[untyped-decorator]  # TensorFlow comes without types
def _products(lefts: Sequence[tf.Tensor], right: tf.Tensor) -> list[tf.Tensor]:
    return [tf.linalg.matmul(left, right) for left in lefts]
