"""Formatting of quantities."""

from __future__ import annotations

from typing import Any

import pytest

from mnist_bench.core import formatting

CASES: dict[str, dict[Any, str]] = {
    "duration": {
        None: "–", 0: "0.00 s", 0.42: "0.42 s", 1: "1.0 s", 12.34: "12.3 s", 59.9: "59.9 s",
        60: "1 min 00 s", 245: "4 min 05 s", 245.4: "4 min 05 s", 3_599: "59 min 59 s",
        3_599.6: "1 h 00 min",  # rounded before it is split into hours and minutes
        3_661: "1 h 01 min", 7_380: "2 h 03 min", 360_000: "100 h 00 min",
    },
    "mebibytes": {
        None: "–", 0: "0 MiB", 2**20: "1 MiB", 1_025 * 2**20: "1,025 MiB",
        1_025 * 2**20 + 2**18: "1,025 MiB",
    },
    "gibibytes": {16 * 2**30: "16.0 GiB", 16_750_372_454: "15.6 GiB"},  # 15.6 · 2**30
    "accuracy": {None: "–", 0: "0.0000", 0.9928: "0.9928", 0.99284: "0.9928", 1: "1.0000"},
    "accuracy_difference": {None: "–", 0.0012: "+0.0012", -0.0012: "-0.0012", 0: "+0.0000"},
    "spread": {None: "–", 0.00085: "0.00085", 0: "0.00000"},  # one digit finer
    "rate": {None: "–", 3_214.4: "3,214", 0.6: "1"},
    "count": {None: "–", 999: "999", 10_000: "10,000", 0: "0"},
    "percent": {None: "–", 0.034: "3.4%", 0: "0.0%"},
    "machine": {None: "–", "0123456789abcdef": "01234567"},
    "threads": {1: "1 thread", 4: "4 threads"},
    "steps": {"1": "1 step", "2,500": "2,500 steps", "1 and 2": "1 and 2 steps"},
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [(name, value, text) for name, cases in CASES.items() for value, text in cases.items()],
)
def test_formatting(name: str, value: Any, text: str) -> None:
    assert getattr(formatting, name)(value) == text


@pytest.mark.parametrize(
    ("number", "what", "text"),
    [(1, "run", "1 run"), (1_000, "run", "1,000 runs"), (2, "study", "2 studies")],
)
def test_counted(number: int, what: str, text: str) -> None:
    assert formatting.counted(number, what) == text
