"""Timing after warm-up."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from mnist_bench.measurement import timing


def test_the_median_excludes_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "REPEATS", 5)
    # The first is the warm-up, one is disturbed: neither affects the median.
    durations = iter([90.0, 3.0, 1.0, 2.0, 50.0, 2.5])
    now = [0.0]

    def work() -> None:
        now[0] += next(durations)

    clock = SimpleNamespace(perf_counter=lambda: now[0])
    monkeypatch.setattr(timing, "time", clock)
    assert timing.median_seconds(work) == 2.5
    assert next(durations, None) is None
