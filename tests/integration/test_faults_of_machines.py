"""Machines that share a plan and a study during faults: nothing is lost, nothing counts twice.

Uses `benchmarks/faults/`, and tests that its checks detect faults.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from invariants import Findings
from machine_invariants import RecordedRun, SharedTrial, check_runs, check_trials
from machines import Drill, run_drill

PLAN = (
    SharedTrial(0, "COMPLETE", part="seed 0"),
    SharedTrial(1, "FAIL", part="seed 1"),
    SharedTrial(2, "COMPLETE", part="seed 1"),
)
TRIALS = (
    SharedTrial(0, "COMPLETE", run_id="a"),
    SharedTrial(1, "FAIL"),
    SharedTrial(2, "FAIL", is_superfluous=True),
    SharedTrial(3, "PRUNED", retry_of=1),
)
RUNS = (
    RecordedRun("plan-0", is_trial=False, run_id="p", status="FINISHED"),
    RecordedRun("study-0", is_trial=True, run_id="a", status="FINISHED"),
    RecordedRun("study-1", is_trial=True, run_id="c", status="KILLED"),
)


def kinds(found: Findings) -> set[str]:
    """Kinds of the faults found."""
    names = {field.name for field in dataclasses.fields(found)} - {"figures", "runs"}
    return {name for name in names if getattr(found, name)}


def changed(
    trials: tuple[SharedTrial, ...], number: int, **changes: object
) -> tuple[SharedTrial, ...]:
    copies = list(trials)
    copies[number] = dataclasses.replace(copies[number], **changes)  # type: ignore[arg-type]  # any
    return tuple(copies)


def test_finished_work_has_no_faults() -> None:
    assert check_trials(PLAN, TRIALS, requested=2).faults == ()
    found = check_runs(RUNS, ["a"], requested=1)
    assert found.faults == ()
    assert (found.figures, found.runs) == (2, 3)


@pytest.mark.parametrize(
    ("plan", "trials", "expected"),
    [
        (changed(PLAN, 2, state="RUNNING"), TRIALS, {"running", "lost"}),
        (PLAN[:2], TRIALS, {"lost"}),
        (changed(PLAN, 1, state="COMPLETE"), TRIALS, {"doubled"}),
        (PLAN, changed(TRIALS, 3, state="WAITING"), {"running", "doubled"}),
        (PLAN, changed(TRIALS, 3, retry_of=None), {"lost"}),
        (PLAN, changed(TRIALS, 2, is_superfluous=False), {"lost"}),
        (PLAN, changed(TRIALS, 3, retry_of=0), {"lost", "doubled"}),
        (PLAN, changed(TRIALS, 3, state="FAIL", is_superfluous=True), {"lost", "doubled"}),
        (PLAN, (*TRIALS, SharedTrial(4, "COMPLETE", run_id="d")), {"doubled"}),
    ],
)
def test_faults_of_trials_are_detected(
    plan: tuple[SharedTrial, ...], trials: tuple[SharedTrial, ...], expected: set[str]
) -> None:
    assert kinds(check_trials(plan, trials, requested=2)) == expected


@pytest.mark.parametrize(
    ("runs", "finished", "expected"),
    [
        ((*RUNS, RecordedRun("plan-0", is_trial=False, run_id="q", status="FINISHED")), ["a"],
         {"doubled"}),
        ((*RUNS, RecordedRun("plan-1", is_trial=False, run_id="q", status="RUNNING")), ["a"],
         {"running"}),
        (RUNS, ["a", "z"], {"lost"}),
        (RUNS, [], {"wrongly_ended"}),
        (RUNS[1:], ["a"], {"lost"}),
    ],
)  # fmt: skip
def test_faults_of_runs_are_detected(
    runs: tuple[RecordedRun, ...], finished: list[str | None], expected: set[str]
) -> None:
    assert kinds(check_runs(runs, finished, requested=1)) == expected


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_one_fault_of_each_kind(tmp_path: Path) -> None:
    drill = Drill(6, trials=20, machines=3, seconds=2.0, seed=1, folder=tmp_path / "drill")
    lines = run_drill(drill)
    assert [fault for line in lines for fault in line.findings.faults] == []
    assert [line.tried for line in lines[:-1]] == [1] * 6
    assert lines[-1].tried >= 1
    assert lines[0].findings.figures >= 10
