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
    """Alike as they are, TensorFlow must not make one of them."""
    made = calibration._products([(tf.fill((4, 4), 0.5), tf.fill((4, 4), 2.0)) for _ in range(3)])
    assert [product.numpy().tolist() for product in made] == [[[4.0] * 4] * 4] * 3
    seen = []
    monkeypatch.setattr(calibration, "_timed_products", lambda pairs: seen.append(len(pairs)) or 1)
    monkeypatch.setattr(calibration, "_WARM_UP_SECONDS", 0.0)
    assert calibration.calibrate(3) == 1
    assert set(seen) == {3}


def test_the_real_thing_takes_time() -> None:
    assert 0 < calibration.calibrate(2) < 60
