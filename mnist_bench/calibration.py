"""A fixed small piece of work: how fast is the machine just now, by TensorFlow's own threads?"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

import tensorflow as tf

_SIZE = 1024
"""Rows and columns of the matrices: 2.1 GFLOP a product, 8 MiB for each thread."""
_WARM_UP_SECONDS = 0.3
"""Threads that slept, and a clock that rested, take this long to be what they are in training."""
_PRODUCTS = 21


def calibrate(threads: int) -> float:
    """Seconds of one product of two fixed matrices: the median of several, warmed up.

    Args:
        threads: As many products are made at the same time, each on a thread of its own.
    """
    lefts = [tf.fill((_SIZE, _SIZE), value) for value in _values(threads)]
    right = tf.fill((_SIZE, _SIZE), 2.0)
    begin = time.perf_counter()
    while time.perf_counter() - begin < _WARM_UP_SECONDS:
        _timed_products(lefts, right)
    return statistics.median(_timed_products(lefts, right) for _ in range(_PRODUCTS))


def _values(threads: int) -> list[float]:
    """One for each thread's matrix, none like another: TensorFlow makes equal products once."""
    return [0.5 + thread / threads for thread in range(threads)]


def _timed_products(lefts: Sequence[tf.Tensor], right: tf.Tensor) -> float:
    start = time.perf_counter()
    for product in _products(lefts, right):
        product.numpy()
    return time.perf_counter() - start


@tf.function(autograph=False)  # type: ignore[untyped-decorator]  # TensorFlow comes without types
def _products(lefts: Sequence[tf.Tensor], right: tf.Tensor) -> list[tf.Tensor]:
    return [tf.linalg.matmul(left, right) for left in lefts]
