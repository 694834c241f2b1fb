"""A fixed small piece of work: how fast is the machine just now, by TensorFlow's own threads?"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

import tensorflow as tf

_SIZE = 1024
"""Rows and columns of the matrices: 2.1 GFLOP a product, 12 MiB for each thread."""
_WARM_UP_SECONDS = 0.3
"""Threads that slept, and a clock that rested, take this long to be what they are in training."""
_PRODUCTS = 21


def calibrate(threads: int) -> float:
    """Seconds of one product of two fixed matrices: the median of several, warmed up.

    Args:
        threads: As many products are made at the same time, each on a thread of its own.
    """
    pairs = [tuple(tf.fill((_SIZE, _SIZE), value) for value in (0.5, 2.0)) for _ in range(threads)]
    begin = time.perf_counter()
    while time.perf_counter() - begin < _WARM_UP_SECONDS:
        _timed_products(pairs)
    return statistics.median(_timed_products(pairs) for _ in range(_PRODUCTS))


def _timed_products(pairs: Sequence[tuple[tf.Tensor, ...]]) -> float:
    start = time.perf_counter()
    for product in _products(pairs):
        product.numpy()
    return time.perf_counter() - start


@tf.function  # type: ignore[untyped-decorator]  # TensorFlow comes without types
def _products(pairs: Sequence[tuple[tf.Tensor, ...]]) -> list[tf.Tensor]:
    return [tf.linalg.matmul(*pair) for pair in pairs]
