"""The fixed piece of work: what is timed, and what of it is told."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import tensorflow as tf

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
    assert calibration.calibrate(1) == 2.5
    assert len(calls) == 2 * (products + 1)


def test_each_thread_has_a_product_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def timed_products(lefts: list[tf.Tensor], right: tf.Tensor) -> float:
        seen.append([float(product[0, 0]) for product in calibration._products(lefts, right)])
        return 1.0

    monkeypatch.setattr(calibration, "_SIZE", 4)
    monkeypatch.setattr(calibration, "_timed_products", timed_products)
    monkeypatch.setattr(calibration, "_WARM_UP_SECONDS", 0.0)
    assert calibration.calibrate(4) == 1
    assert len(seen) == calibration._PRODUCTS
    # Four products of 4 · 2 · value: no two alike, else they would be made once.
    assert seen[0] == [4.0, 6.0, 8.0, 10.0]


def test_the_real_thing_takes_time() -> None:
    assert 0 < calibration.calibrate(2) < 60
