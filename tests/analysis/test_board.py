"""Boards of records: which files of runs meet the rules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from factories import evaluations, run

from mnist_bench.analysis.board import BOARDS, FIRST_FRESH_SEED, Board, DatedRun, Entry, entry_of
from mnist_bench.scenarios.hyperparameters import PaperCnnHyperparameters

SPRINT, ACCURATE, BFLOAT16 = BOARDS
FAST = PaperCnnHyperparameters(batch_size=100)
Change = Callable[[list[DatedRun]], list[DatedRun]]


def own(number: int, accuracy: float = 0.9934, **changes: Any) -> DatedRun:
    """The record's run of a number: 500 steps in 10 s, the accuracy by 1 or 2 images off."""
    seed = changes.pop("seed", FIRST_FRESH_SEED + number)
    final = accuracy + (number % 3 - 1) * 2e-4
    scored = evaluations(500, final, first=500, every=500, seconds=0.02)
    fields = {"scenario": "sprint", "hyperparameters": FAST, "verdict": "clean"}
    made = run(500, final, seed, **fields | {"evaluations": scored} | changes)
    return DatedRun(made, 1_800_000_000_000 + number * 60_000, "two cores")


def paper(number: int, **changes: Any) -> DatedRun:
    """A run of Table I: 10,000 steps in 200 s, 0.9928 at the last of its grid, step 9,901."""
    made = run(10_000, 0.9928, number, **{"verdict": "clean"} | changes)
    return DatedRun(made, 1_800_000_000_000 + number * 300_000 + 1, "two cores")


def file(runs: int = 21, **changes: Any) -> list[DatedRun]:
    return [*(own(n, **changes) for n in range(runs)), *map(paper, range(3))]


def judged(runs: list[DatedRun], board: Board = SPRINT) -> Entry:
    entry = entry_of(board, runs)
    assert entry is not None
    return entry


def changed(number: int, **changes: Any) -> Change:
    """Replace a run by one with other values."""
    return lambda runs: [*runs[:number], own(number, **changes), *runs[number + 1 :]]


def test_a_record_of_sprint() -> None:
    runs = file()
    entry = judged(runs)
    assert entry.problems == ()
    reached = runs[-1].run.seconds_to_accuracy("test", 0.9928)
    assert reached is not None
    assert entry.train_seconds == pytest.approx(10.0)
    assert entry.paper_share == pytest.approx(10.0 / reached)
    assert (entry.accuracy.value, entry.accuracy.n) == (pytest.approx(0.9934), 21)
    assert entry.cells[:3] == ("2027-01-15", f"1/{reached / 10:.1f}", "10.0 s")
    assert entry.cells[-1] == "21 clean"


def test_only_clean_runs_are_timed_and_all_are_scored() -> None:
    slow = evaluations(500, 0.9936, first=500, every=500, seconds=9.0)
    runs = changed(2, verdict="suspect", evaluations=slow)(file())
    entry = judged(runs)
    assert (entry.problems, entry.train_seconds) == ((), pytest.approx(10.0))
    assert entry.accuracy.n == 21
    assert entry.verdicts == "20 clean, 1 suspect"


def test_the_paper_counts_with_all_its_seconds_where_it_never_arrives() -> None:
    never = [replace(each, run=paper(n, evaluations=evaluations(10_000, 0.99, seconds=0.02)).run)
             for n, each in enumerate(file()[-3:])]  # fmt: skip
    entry = judged([*file()[:-3], *never])
    assert entry.paper_share == pytest.approx(10.0 / 200.0)


def test_accurate_is_judged_by_the_whole_training() -> None:
    entry = judged(file(11), ACCURATE)
    assert (entry.problems, entry.paper_share) == ((), pytest.approx(0.05))
    assert entry.cells[1] == "0.0500"
    in_bfloat16 = judged(file(11, precision="bfloat16"), BFLOAT16)
    assert in_bfloat16.problems == ()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda runs: runs[2:], "it has 19 runs, fewer than 20"),
        (
            lambda runs: [*(own(n, seed=7 + n) for n in range(21)), *runs[-3:]],
            "seeds below 10,000,000 are not fresh",
        ),
        (changed(3, seed=FIRST_FRESH_SEED + 4), "seeds are left out or repeated"),
        (lambda runs: [*runs[:3], *runs[4:], own(21), own(22)], "seeds are left out"),
        (changed(3, dataset="custom:0"), "not all images are MNIST's"),
        (changed(3, machine_id="another"), "of several machines"),
        (changed(3, threads=1), "of several machines, thread counts"),
        (changed(3, precision="bfloat16"), "not all of its runs are in float32"),
        (changed(3, hyperparameters=PaperCnnHyperparameters(batch_size=64)), "configurations"),
        (changed(3, status="failed"), "not all of its runs finished"),
        (changed(3, verdict="invalid"), "it has an invalid run"),
        (changed(3, accuracy=0.99345), "an accuracy is no share of 10,000 images"),
        (lambda runs: runs[:-1], "beside it are 2 clean runs of Table I's 10,000 steps"),
        (
            lambda runs: [*runs[:-3], *(replace(r, begun_at_ms=5) for r in runs[-3:])],
            "not trained by turns",
        ),
        (
            lambda _: file(verdict="suspect"),
            "fewer than half of its runs are clean",
        ),
        (lambda _: file(accuracy=0.9928), "that its mean exceeds 0.9928 has a p of 0.500"),
        (
            lambda runs: [*runs[:-3], *(paper(n, evaluations=evaluations(
                10_000, 0.9928, seconds=1e-5)) for n in range(3))],
            "it takes longer than the paper's",
        ),
    ],
)  # fmt: skip
def test_what_is_no_record(change: Change, problem: str) -> None:
    (found,) = judged(change(file())).problems
    assert problem in found


def test_a_file_without_runs_of_its_own_has_no_line() -> None:
    assert entry_of(SPRINT, [paper(0), paper(1), own(0)]) is None
