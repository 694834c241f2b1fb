"""A piece of work, timed once the machine does it steadily."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

WARM_UP_SECONDS = 0.3
"""Threads that slept, and a clock that rested, take this long to be what they are in training."""
TIMES = 21


def median_seconds(work: Callable[[], object]) -> float:
    """Seconds of a piece of work: the median of several, warmed up."""
    begin = time.perf_counter()
    while time.perf_counter() - begin < WARM_UP_SECONDS:
        _seconds(work)
    return statistics.median(_seconds(work) for _ in range(TIMES))


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
