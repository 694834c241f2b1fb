"""benchmarks/winners: the order of trainings, and comparisons of hand-made ones."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from winners import order, page, ratio_of_means


def trained(name: str, seed: int, final: float, seconds: float, **changes: Any) -> dict[str, Any]:
    facts = {
        "name": name, "seed": seed, "steps": 100, "is_whole": True, "final_test_accuracy": final,
        "max_test_accuracy": final, "train_seconds": seconds, "seconds_to_target": None,
        "peak_rss_bytes": 2**30, "verdict": "clean",
    }  # fmt: skip
    return facts | changes


def page_of(*trainings: dict[str, Any]) -> str:
    hardware = {"name": "Some machine", "instruction_sets": None, "virtual": None}
    origin = {"command": "python", "date": "2026-01-31", "versions": {}, "hardware": hardware}
    return page({**origin, "trainings": trainings})


PAPERS = [
    trained("paper", 0, 0.992, 200.0, seconds_to_target=120.0),
    trained("paper", 1, 0.991, 200.0),
]
SPRINTS = [trained("sprint", 0, 0.993, 5.0), trained("sprint", 1, 0.9934, 5.0)]


def cut(seed: int, seconds: float) -> dict[str, Any]:
    changes = {"seconds_to_target": seconds, "is_whole": False}
    return trained("paper-to-target", seed, 0.5, seconds, **changes)


@pytest.mark.parametrize(
    ("more", "mean"),
    [
        ([], "160.0 s of training in the mean, n = 2; 1 never did"),
        ([cut(2, 90.0), cut(3, 90.0)], "125.0 s of training in the mean, n = 4; 1 never did"),
        # Of a seed that was also trained to the end, that counts.
        ([cut(0, 50.0), cut(1, 50.0)], "160.0 s of training in the mean, n = 2; 1 never did"),
    ],
)
def test_time_to_the_target(more: list[dict[str, Any]], mean: str) -> None:
    text = page_of(*more, *PAPERS, *SPRINTS)
    assert f"first reaches 0.9928 on test after {mean}" in text


def test_ratio_of_means() -> None:
    ratio = ratio_of_means(pd.Series([160.0, 120.0, 200.0]), pd.Series([4.0, 4.0]))
    assert ratio.value == pytest.approx(40.0)
    assert 30.0 <= ratio.low < 40.0 < ratio.high <= 50.0


def test_order() -> None:
    turns = list(order({"paper": 2, "sprint": 5, "accurate": 2}, 7))
    assert [name for name, _ in turns] == [
        "paper", "sprint", "sprint", "accurate",
        "paper", "sprint", "sprint", "sprint", "accurate",
    ]  # fmt: skip
    assert [seed for name, seed in turns if name == "sprint"] == [7, 8, 9, 10, 11]
    assert [seed for name, seed in turns if name == "paper"] == [7, 8]
