"""The fixed piece of work: what is timed, and what of it is told."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from mnist_bench import calibration


def test_the_median_without_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    products = 5
    monkeypatch.setattr(calibration, "_PRODUCTS", products)
    # The first warms up, one meets a disturbance: neither moves what is told.
    durations = iter([90.0, 3.0, 1.0, 2.0, 50.0, 2.5])
    now = [0.0]
    calls = []

    def perf_counter() -> float:
        calls.append(now[0])
        if len(calls) % 2 == 0:
            now[0] += next(durations)
        return now[0]

    monkeypatch.setattr(calibration, "time", SimpleNamespace(perf_counter=perf_counter))
    assert calibration.calibrate() == 2.5
    assert len(calls) == 2 * (products + 1)


def test_the_real_thing_takes_time() -> None:
    assert 0 < calibration.calibrate() < 60
