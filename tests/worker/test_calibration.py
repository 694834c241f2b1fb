"""The fixed piece of work of TensorFlow's."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mnist_bench.worker import calibration


def test_each_thread_has_a_product_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def once(work: Callable[[], object]) -> float:
        seen.append([float(product[0, 0]) for product in work()])
        return 1.0

    monkeypatch.setattr(calibration, "_SIZE", 4)
    monkeypatch.setattr(calibration, "median_seconds", once)
    assert calibration.calibrate(4) == 1
    # Four products of 4 · 2 · value: no two alike, else they would be made once.
    assert seen == [[4.0, 6.0, 8.0, 10.0]]


def test_the_real_thing_takes_time() -> None:
    assert 0 < calibration.calibrate(2) < 60
