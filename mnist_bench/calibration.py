"""A fixed small piece of work: how fast is the machine just now, by TensorFlow's own threads?"""

from __future__ import annotations

import statistics
import time

import tensorflow as tf

_SIZE = 1024
"""Rows and columns of the matrices: 2.1 GFLOP a product, 12 MiB together."""
_WARM_UP_SECONDS = 0.3
"""Threads that slept, and a clock that rested, take this long to be what they are in training."""
_PRODUCTS = 21


def calibrate() -> float:
    """Seconds of one product of two fixed matrices: the median of several, warmed up."""
    left, right = (tf.fill((_SIZE, _SIZE), value) for value in (0.5, 2.0))
    begin = time.perf_counter()
    while time.perf_counter() - begin < _WARM_UP_SECONDS:
        _timed_product(left, right)
    return statistics.median(_timed_product(left, right) for _ in range(_PRODUCTS))


def _timed_product(left: tf.Tensor, right: tf.Tensor) -> float:
    start = time.perf_counter()
    tf.linalg.matmul(left, right).numpy()
    return time.perf_counter() - start
