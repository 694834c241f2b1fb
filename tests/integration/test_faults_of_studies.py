"""Kills of studies at seeded moments: no trial is lost, none counts twice.

The programs of `benchmarks/faults/` do the killing and the looking; here it is held that they find
nothing wrong, and that they would see it if there were something.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest
from fakes import processes_at_once
from invariants import Findings
from studies import StudyBatch, carry_out
from study_invariants import Child, Kept, check_study

TOLD: dict[int, tuple[str, float | None]] = {0: ("COMPLETE", 0.9), 2: ("PRUNED", None)}
KEPT = (
    Kept(0, "COMPLETE", 0.9, run_id="a"),
    Kept(1, "FAIL"),
    Kept(2, "PRUNED", run_id="c"),
    Kept(3, "COMPLETE", 0.8, retry_of=1, run_id="d"),
)
RUNS = (
    Child(0, "a", "FINISHED", "finished", 0.9),
    Child(1, "b", "KILLED", "killed", 0.4),
    Child(2, "c", "KILLED", "pruned", 0.5),
    Child(3, "d", "FINISHED", "finished", 0.8),
)


def test_nothing_is_wrong_with_a_whole_study() -> None:
    found = check_study(TOLD, KEPT, RUNS, asked=3)
    assert found == Findings(figures=2, runs=4)
    assert found.faults == ()


def with_trial(number: int, **changes: object) -> tuple[Kept, ...]:
    kept = list(KEPT)
    kept[number] = dataclasses.replace(kept[number], **changes)  # type: ignore[arg-type]  # any
    return tuple(kept)


def with_run(number: int, **changes: object) -> tuple[Child, ...]:
    runs = list(RUNS)
    runs[number] = dataclasses.replace(runs[number], **changes)  # type: ignore[arg-type]  # any
    return tuple(runs)


@pytest.mark.parametrize(
    ("kept", "asked", "kinds"),
    [
        (KEPT, 4, {"doubled"}),
        (KEPT[:3], 2, {"lost", "wrongly_ended"}),  # of trial 1; MLflow has one more that counts
        (with_trial(1, state="RUNNING"), 3, {"running"}),
        (with_trial(3, retry_of=None), 3, {"lost"}),
        (with_trial(3, retry_of=2), 3, {"lost", "doubled"}),
        (with_trial(0, value=0.8), 3, {"lost", "wrongly_ended"}),
        (with_trial(2, state="COMPLETE", value=0.5), 3, {"lost", "wrongly_ended"}),
        (with_trial(3, run_id="e"), 3, {"lost"}),
        (with_trial(3, run_id=None), 3, {"lost"}),
        (with_trial(1, chosen={"x": 1}), 3, {"wrongly_ended"}),
        ((*KEPT, Kept(4, "WAITING", retry_of=1)), 3, {"lost", "doubled"}),
        ((*KEPT, Kept(4, "COMPLETE", 0.7, run_id="a")), 4, {"lost"}),
    ],
)
def test_what_is_wrong_with_a_study_is_seen(
    kept: tuple[Kept, ...], asked: int, kinds: set[str]
) -> None:
    assert kinds_of(check_study(TOLD, kept, RUNS, asked)) == kinds


@pytest.mark.parametrize(
    ("runs", "kinds"),
    [
        (RUNS[1:], {"lost"}),
        ((*RUNS, dataclasses.replace(RUNS[3], run_id="e")), {"doubled"}),
        (with_run(1, status="FINISHED", state="finished"), {"wrongly_ended"}),
        (with_run(2, state="killed"), {"wrongly_ended"}),
        (with_run(3, status="KILLED"), {"wrongly_ended"}),
        (with_run(3, value=0.9), {"wrongly_ended"}),
        ((*RUNS, Child(9, "z", "FINISHED", "finished", 0.9)), {"wrongly_ended"}),
    ],
)
def test_what_mlflow_has_otherwise_is_seen(runs: tuple[Child, ...], kinds: set[str]) -> None:
    assert kinds_of(check_study(TOLD, KEPT, runs, asked=3)) == kinds


def kinds_of(found: Findings) -> set[str]:
    names = ("running", "lost", "doubled", "wrongly_ended", "damaged", "left_over")
    return {name for name in names if getattr(found, name)}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_kills_of_studies(tmp_path: Path) -> None:
    pretending, real = processes_at_once(
        carry_out,
        StudyBatch("command", "stand-in", kills=12, chance=1, folder=tmp_path / "pretending"),
        StudyBatch("command", "real", kills=2, chance=2, folder=tmp_path / "real"),
    )
    assert (pretending.findings.faults, real.findings.faults) == ((), ())
    assert (pretending.hits.total(), real.hits.total()) == (12, 2)
    assert pretending.findings.figures > 300  # a trial has 80
    assert real.findings.figures > 50


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_kills_where_two_processes_search(tmp_path: Path) -> None:
    members, crew = processes_at_once(
        carry_out,
        StudyBatch("member", "stand-in", kills=2, chance=3, folder=tmp_path / "members"),
        StudyBatch("crew", "stand-in", kills=2, chance=4, folder=tmp_path / "crew"),
    )
    assert (members.findings.faults, crew.findings.faults) == ((), ())
    assert (members.hits.total(), crew.hits.total()) == (2, 2)
