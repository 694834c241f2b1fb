"""The page on the shipped winners, from hand-made trainings."""

from __future__ import annotations

from typing import Any

import pytest
from hardware import Hardware
from proven import Name, Trained, Winners, page, ratio_of_means
from winners import order


def trained(name: Name, seed: int, final: float, seconds: float, **changes: Any) -> Trained:
    facts = {
        "name": name,
        "seed": seed,
        "steps": 100,
        "final_test_accuracy": final,
        "max_test_accuracy": final,
        "train_seconds": seconds,
        "seconds_to_target": None,
        "peak_rss_bytes": 2**30,
        "verdict": "clean",
    }
    return Trained(**(facts | changes))


def winners(*trainings: Trained) -> Winners:
    return Winners(
        commands=("python benchmarks/winners/winners.py --data DIR",),
        date="2026-01-31",
        hardware=Hardware(name="Some machine, 2 cores", instruction_sets=None, virtual=None),
        versions={"tensorflow": "2.0"},
        trainings=trainings,
    )


PAPERS = [
    trained("paper", 0, 0.992, 200.0, seconds_to_target=120.0),
    trained("paper", 1, 0.991, 200.0),
]


def test_table() -> None:
    ours = [trained("sprint", 0, 0.993, 5.0), trained("sprint", 1, 0.9934, 5.2)]
    lines = page(winners(*PAPERS, *ours)).splitlines()
    # t of one degree of freedom is 12.706: 0.9932 ± 12.706 × 0.000283 / √2.
    assert (
        "| sprint | 2 | 0.99320 ± 0.00028 | 0.99066 to 0.99574 | 5.10 ± 0.14 s | 1,024 MiB |"
    ) in lines
    paper_line = (
        "| paper | 2 | 0.99150 ± 0.00071 | 0.98515 to 0.99785 | 200.00 ± 0.00 s | 1,024 MiB |"
    )
    assert paper_line in lines


def test_a_seed_that_never_reaches_the_target_counts_in_full() -> None:
    text = page(
        winners(*PAPERS, trained("sprint", 0, 0.9929, 5.0), trained("sprint", 1, 0.9929, 5.0))
    )
    assert "first reaches 0.9928 on test after 160.0 s of training in the mean, n = 2." in text
    assert "1 of 2 seeds never did" in text
    assert "That is 32.0 (24.0 to 40.0) times the sprint's whole training" in text
    assert "asked for 20: met; aimed at 40: **not met**" in text
    assert "accuracy: 0.99290; asked for 0.9928: met." in text


def test_stopped_trainings_have_no_final_accuracy() -> None:
    ended = trained("paper-to-target", 2, 0.5, 90.0, seconds_to_target=90.0, is_whole=False)
    ours = [trained("sprint", 0, 0.993, 5.0), trained("sprint", 1, 0.993, 5.0)]
    text = page(winners(*PAPERS, ended, *ours))
    assert "| paper | 2 | 0.99150 " in text
    assert "after 136.7 s of training in the mean, n = 3." in text
    assert "1 of its trainings were ended there." in text
    assert "ended there" not in page(winners(*PAPERS, *ours))


def test_missed_targets_are_marked() -> None:
    slow = [trained("sprint", seed, 0.9925, 10.0) for seed in (0, 1)]
    text = page(winners(*PAPERS, *slow))
    assert "accuracy: 0.99250; asked for 0.9928: **not met**." in text
    assert "asked for 20: **not met**; aimed at 40: **not met**" in text


def test_section_accurate() -> None:
    ours = [trained("accurate", 0, 0.9966, 150.0), trained("accurate", 1, 0.9968, 170.0)]
    text = page(winners(*PAPERS, *ours))
    assert "Mean final test accuracy 0.99670, n = 2; asked for 0.9965: met; aimed at 0.9975" in text
    assert "takes 0.80 (0.75 to 0.85) of the seconds" in text
    assert "at most 1 is allowed: met" in text
    assert "by +0.00520 in final test accuracy" in text


def test_disturbed_trainings_are_named() -> None:
    text = page(winners(*PAPERS, trained("sprint", 7, 0.99, 5.0, verdict="suspect")))
    assert "The machine was disturbed during sprint 7 (suspect): mistrust their times." in text
    assert "disturbed" not in page(winners(*PAPERS))


def test_consecutive_trainings_are_noted() -> None:
    row = [trained("sprint", seed, 0.993, 5.0) for seed in range(4)]
    assert "4 trainings of sprint followed one another, not by turns." in page(
        winners(*PAPERS, *row)
    )
    assert "by turns." not in page(winners(*PAPERS, *row[:3])).replace("seeds by turns", "")


def test_a_repeated_seed_counts_once() -> None:
    cut = trained("paper-to-target", 0, 0.5, 50.0, seconds_to_target=50.0, is_whole=False)
    ours = [trained("sprint", seed, 0.993, 5.0) for seed in (0, 1)]
    assert "after 160.0 s of training in the mean, n = 2." in page(winners(cut, *PAPERS, *ours))


def test_ratio_of_constants() -> None:
    ratio = ratio_of_means([6.0, 6.0], [2.0, 2.0, 2.0])
    assert (ratio.value, ratio.low, ratio.high) == pytest.approx((3.0, 3.0, 3.0))


def test_order() -> None:
    turns = list(order({"paper": 2, "sprint": 5, "accurate": 2}, 7))
    assert [name for name, _ in turns] == [
        "paper", "sprint", "sprint", "accurate",
        "paper", "sprint", "sprint", "sprint", "accurate",
    ]  # fmt: skip
    assert [seed for name, seed in turns if name == "sprint"] == [7, 8, 9, 10, 11]
    assert [seed for name, seed in turns if name == "paper"] == [7, 8]
