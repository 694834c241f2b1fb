"""Kills of studies at random moments: no trial is lost, none counts twice.

Uses `benchmarks/faults/`, and tests that its checks detect faults.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest
from fakes import run_in_processes
from invariants import Findings
from studies import StudyBatch, run_batch
from study_invariants import StoredTrial, TrialRun, check_study

RESULTS: dict[int, tuple[str, float | None]] = {0: ("COMPLETE", 0.9), 2: ("PRUNED", None)}
STORED = (
    StoredTrial(0, "COMPLETE", 0.9, run_id="a"),
    StoredTrial(1, "FAIL"),
    StoredTrial(2, "PRUNED", run_id="c"),
    StoredTrial(3, "COMPLETE", 0.8, retry_of=1, run_id="d"),
)
RUNS = (
    TrialRun(0, "a", "FINISHED", "finished", 0.9),
    TrialRun(1, "b", "KILLED", "killed", 0.4),
    TrialRun(2, "c", "KILLED", "pruned", 0.5),
    TrialRun(3, "d", "FINISHED", "finished", 0.8),
)


def test_an_intact_study_has_no_faults() -> None:
    found = check_study(RESULTS, STORED, RUNS, requested=3)
    assert found == Findings(figures=2, runs=4)
    assert found.faults == ()


def with_trial(number: int, **changes: object) -> tuple[StoredTrial, ...]:
    stored = list(STORED)
    stored[number] = dataclasses.replace(stored[number], **changes)  # type: ignore[arg-type]  # any
    return tuple(stored)


def with_run(number: int, **changes: object) -> tuple[TrialRun, ...]:
    runs = list(RUNS)
    runs[number] = dataclasses.replace(runs[number], **changes)  # type: ignore[arg-type]  # any
    return tuple(runs)


@pytest.mark.parametrize(
    ("stored", "requested", "kinds"),
    [
        (STORED, 4, {"doubled"}),
        (
            STORED[:3],
            2,
            {"lost", "wrongly_ended"},
        ),  # trial 1 was not repeated; MLflow has one more trial that counts
        (with_trial(1, state="RUNNING"), 3, {"running"}),
        (with_trial(3, retry_of=None), 3, {"lost"}),
        (with_trial(3, retry_of=2), 3, {"lost", "doubled"}),
        (with_trial(0, value=0.8), 3, {"lost", "wrongly_ended"}),
        (with_trial(2, state="COMPLETE", value=0.5), 3, {"lost", "wrongly_ended"}),
        (with_trial(3, run_id="e"), 3, {"lost"}),
        (with_trial(3, run_id=None), 3, {"lost"}),
        (with_trial(1, chosen={"x": 1}), 3, {"wrongly_ended"}),
        ((*STORED, StoredTrial(4, "WAITING", retry_of=1)), 3, {"lost", "doubled"}),
        ((*STORED, StoredTrial(4, "COMPLETE", 0.7, run_id="a")), 4, {"lost"}),
    ],
)
def test_faults_of_a_study_are_detected(
    stored: tuple[StoredTrial, ...], requested: int, kinds: set[str]
) -> None:
    assert kinds_of(check_study(RESULTS, stored, RUNS, requested)) == kinds


@pytest.mark.parametrize(
    ("runs", "kinds"),
    [
        (RUNS[1:], {"lost"}),
        ((*RUNS, dataclasses.replace(RUNS[3], run_id="e")), {"doubled"}),
        (with_run(1, status="FINISHED", state="finished"), {"wrongly_ended"}),
        (with_run(2, state="killed"), {"wrongly_ended"}),
        (with_run(3, status="KILLED"), {"wrongly_ended"}),
        (with_run(3, value=0.9), {"wrongly_ended"}),
        ((*RUNS, TrialRun(9, "z", "FINISHED", "finished", 0.9)), {"wrongly_ended"}),
    ],
)
def test_differences_in_mlflow_are_detected(runs: tuple[TrialRun, ...], kinds: set[str]) -> None:
    assert kinds_of(check_study(RESULTS, STORED, runs, requested=3)) == kinds


def kinds_of(found: Findings) -> set[str]:
    return {kind for kind, faults in found.by_kind.items() if faults}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_kills_of_studies(tmp_path: Path) -> None:
    """A sample: benchmarks/faults/studies.md has 60."""
    fake, real = run_in_processes(
        run_batch,
        StudyBatch("command", "stand-in", kills=4, seed=1, folder=tmp_path / "pretending"),
        StudyBatch("command", "real", kills=1, seed=2, folder=tmp_path / "real"),
    )
    assert (fake.findings.faults, real.findings.faults) == ((), ())
    assert (fake.hits.total(), real.hits.total()) == (4, 1)
    assert fake.findings.figures > 100  # a trial has 80
    assert real.findings.figures > 20


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_kills_of_parallel_studies(tmp_path: Path) -> None:
    worker, parallel = run_in_processes(
        run_batch,
        StudyBatch("worker", "stand-in", kills=2, seed=3, folder=tmp_path / "members"),
        StudyBatch("parallel", "stand-in", kills=2, seed=4, folder=tmp_path / "parallel"),
    )
    assert (worker.findings.faults, parallel.findings.faults) == ((), ())
    assert (worker.hits.total(), parallel.hits.total()) == (2, 2)
