"""Calibration with TensorFlow."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mnist_bench.worker import calibration


def test_each_thread_computes_a_different_product(monkeypatch: pytest.MonkeyPatch) -> None:
    products = []

    def call_once(work: Callable[[], object]) -> float:
        products.append([float(product[0, 0]) for product in work()])
        return 1.0

    monkeypatch.setattr(calibration, "_SIZE", 4)
    monkeypatch.setattr(calibration, "median_seconds", call_once)
    assert calibration.calibrate(4) == 1
    # Four products of 4 · 2 · value, all different: TensorFlow computes equal ones only once.
    assert products == [[4.0, 6.0, 8.0, 10.0]]
