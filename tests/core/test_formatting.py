"""Formatting of quantities."""

from __future__ import annotations

import pytest

from mnist_bench.core import formatting


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (0, "0.00 s"),
        (0.42, "0.42 s"),
        (1, "1.0 s"),
        (12.34, "12.3 s"),
        (59.9, "59.9 s"),
        (60, "1 min 00 s"),
        (245, "4 min 05 s"),
        (245.4, "4 min 05 s"),
        (3_599, "59 min 59 s"),
        (3_599.6, "1 h 00 min"),  # rounded before it is split into hours and minutes
        (3_661, "1 h 01 min"),
        (7_380, "2 h 03 min"),
        (100 * 3_600, "100 h 00 min"),
    ],
)
def test_duration(seconds: float | None, text: str) -> None:
    assert formatting.duration(seconds) == text


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (None, "–"),
        (0, "0 MiB"),
        (2**20, "1 MiB"),
        (1_025 * 2**20, "1,025 MiB"),
        (1_025 * 2**20 + 2**18, "1,025 MiB"),
    ],
)
def test_mebibytes(size_bytes: int | None, text: str) -> None:
    assert formatting.mebibytes(size_bytes) == text


def test_gibibytes() -> None:
    assert formatting.gibibytes(16 * 2**30) == "16.0 GiB"
    assert formatting.gibibytes(16_750_372_454) == "15.6 GiB"  # 15.6 · 2**30


@pytest.mark.parametrize(
    ("share", "text"),
    [(None, "–"), (0, "0.0000"), (0.9928, "0.9928"), (0.99284, "0.9928"), (1, "1.0000")],
)
def test_accuracy(share: float | None, text: str) -> None:
    assert formatting.accuracy(share) == text


@pytest.mark.parametrize(
    ("share", "text"), [(None, "–"), (0.0012, "+0.0012"), (-0.0012, "-0.0012"), (0, "+0.0000")]
)
def test_accuracy_difference(share: float | None, text: str) -> None:
    assert formatting.accuracy_difference(share) == text


def test_spread_is_one_digit_finer() -> None:
    assert formatting.spread(0.00085) == "0.00085"
    assert formatting.spread(0) == "0.00000"
    assert formatting.spread(None) == "–"


def test_rate() -> None:
    assert formatting.rate(3_214.4) == "3,214"
    assert formatting.rate(0.6) == "1"
    assert formatting.rate(None) == "–"


def test_count() -> None:
    assert formatting.count(999) == "999"
    assert formatting.count(10_000) == "10,000"
    assert formatting.count(0) == "0"
    assert formatting.count(None) == "–"


def test_percent() -> None:
    assert formatting.percent(0.034) == "3.4%"
    assert formatting.percent(0) == "0.0%"
    assert formatting.percent(None) == "–"


@pytest.mark.parametrize(
    ("formatted", "text"),
    [("1", "1 step"), ("2,500", "2,500 steps"), ("1 and 2", "1 and 2 steps")],
)
def test_step_counts(formatted: str, text: str) -> None:
    assert formatting.steps(formatted) == text
