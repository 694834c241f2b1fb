"""Machines that share a plan and a study while things fail: nothing is lost, nothing counts twice.

The programs of `benchmarks/faults/` let things fail and look; here it is held that they find
nothing wrong, and that they would see it if there were something.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from invariants import Findings
from machine_invariants import Recorded, Shared, check_runs, check_trials
from machines import Drill, carry_out

PLAN = (
    Shared(0, "COMPLETE", part="seed 0"),
    Shared(1, "FAIL", part="seed 1"),
    Shared(2, "COMPLETE", part="seed 1"),
)
TRIALS = (
    Shared(0, "COMPLETE", run_id="a"),
    Shared(1, "FAIL"),
    Shared(2, "FAIL", is_superfluous=True),
    Shared(3, "PRUNED", retry_of=1),
)
RUNS = (
    Recorded("plan-0", is_trial=False, run_id="p", status="FINISHED"),
    Recorded("study-0", is_trial=True, run_id="a", status="FINISHED"),
    Recorded("study-1", is_trial=True, run_id="c", status="KILLED"),
)


def kinds(found: Findings) -> set[str]:
    """Names of what is wrong."""
    told = {field.name for field in dataclasses.fields(found)} - {"figures", "runs"}
    return {name for name in told if getattr(found, name)}


def changed(trials: tuple[Shared, ...], number: int, **changes: object) -> tuple[Shared, ...]:
    made = list(trials)
    made[number] = dataclasses.replace(made[number], **changes)  # type: ignore[arg-type]  # any
    return tuple(made)


def test_nothing_is_wrong_with_what_is_done() -> None:
    assert check_trials(PLAN, TRIALS, asked=2).faults == ()
    found = check_runs(RUNS, ["a"], asked=1)
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
        (PLAN, (*TRIALS, Shared(4, "COMPLETE", run_id="d")), {"doubled"}),
    ],
)
def test_what_is_wrong_with_the_work_is_seen(
    plan: tuple[Shared, ...], trials: tuple[Shared, ...], expected: set[str]
) -> None:
    assert kinds(check_trials(plan, trials, asked=2)) == expected


@pytest.mark.parametrize(
    ("runs", "finished", "expected"),
    [
        ((*RUNS, Recorded("plan-0", is_trial=False, run_id="q", status="FINISHED")), ["a"],
         {"doubled"}),
        ((*RUNS, Recorded("plan-1", is_trial=False, run_id="q", status="RUNNING")), ["a"],
         {"running"}),
        (RUNS, ["a", "z"], {"lost"}),
        (RUNS, [], {"wrongly_ended"}),
        (RUNS[1:], ["a"], {"lost"}),
    ],
)  # fmt: skip
def test_what_is_wrong_with_the_board_is_seen(
    runs: tuple[Recorded, ...], finished: list[str | None], expected: set[str]
) -> None:
    assert kinds(check_runs(runs, finished, asked=1)) == expected


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_one_fault_of_each_kind(tmp_path: Path) -> None:
    drill = Drill(6, trials=20, machines=3, seconds=2.0, chance=1, folder=tmp_path / "drill")
    lines = carry_out(drill)
    assert [fault for line in lines for fault in line.findings.faults] == []
    assert [line.tried for line in lines[:-1]] == [1] * 6
    assert lines[-1].tried >= 1
    assert lines[0].findings.figures >= 10
