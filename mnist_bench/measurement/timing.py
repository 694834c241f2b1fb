"""Timing of a function after warm-up."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

WARM_UP_SECONDS = 0.3
"""Idle threads and processor clocks take this long to reach their speed in training."""
REPEATS = 21


def median_seconds(work: Callable[[], object]) -> float:
    """Median seconds of a call of `work`, after warm-up."""
    start = time.perf_counter()
    while time.perf_counter() - start < WARM_UP_SECONDS:
        _seconds(work)
    return statistics.median(_seconds(work) for _ in range(REPEATS))


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
