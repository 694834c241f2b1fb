"""Invariants of a study whose commands were killed and that was resumed.

The study is read with Optuna, MLflow's database with SQLite.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import optuna
from invariants import Findings
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from mnist_bench.tuning.storage import JOURNAL

COUNTED = ("COMPLETE", "PRUNED")


@dataclass(frozen=True)
class StoredTrial:
    """A trial in the study.

    Attributes:
        state: Optuna's.
        value: Objective value; None unless the trial is complete.
        retry_of: Trial that it repeats.
        run_id: MLflow's; None if the study does not have it.
        chosen: Values of its parameters so far.
    """

    number: int
    state: str
    value: float | None = None
    retry_of: int | None = None
    run_id: str | None = None
    chosen: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class TrialRun:
    """A trial's run in MLflow.

    Attributes:
        number: Of the trial.
        status: MLflow's.
        state: Recorded state of the trial; empty if not recorded.
        value: Last validation accuracy; None if never evaluated.
    """

    number: int
    run_id: str
    status: str
    state: str
    value: float | None


Results = Mapping[int, tuple[str, float | None]]
Trials = Sequence[StoredTrial]
Runs = Sequence[TrialRun]


def stored_trials(folder: Path, name: str) -> list[StoredTrial]:
    """Trials in the journal of a working folder."""
    storage = JournalStorage(JournalFileBackend(str(folder / JOURNAL)))
    study = optuna.load_study(study_name=name, storage=storage)
    return [
        StoredTrial(
            number=trial.number,
            state=trial.state.name,
            value=trial.value if trial.state.name == "COMPLETE" else None,
            retry_of=trial.user_attrs.get("retry_of"),
            run_id=trial.user_attrs.get("run_id"),
            chosen={**trial.system_attrs.get("fixed_params", {}), **trial.params},
        )
        for trial in study.get_trials(deepcopy=False)
    ]


_CHILDREN = """
SELECT number.value, runs.run_uuid, runs.status,
    (SELECT value FROM tags WHERE key = 'bench.trial_state' AND tags.run_uuid = runs.run_uuid),
    (SELECT value FROM metrics WHERE key = 'validation_accuracy'
        AND metrics.run_uuid = runs.run_uuid ORDER BY step DESC LIMIT 1)
FROM runs JOIN tags AS number ON number.key = 'bench.trial' AND number.run_uuid = runs.run_uuid
"""


def trial_runs(database: Path) -> list[TrialRun]:
    """Runs of trials in MLflow's SQLite file."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        return [
            TrialRun(int(number), run_id, status, state or "", value)
            for number, run_id, status, state, value in connection.execute(_CHILDREN)
        ]


def check_study(results: Results, stored: Trials, runs: Runs, requested: int) -> Findings:
    """Compare a finished study with the results that were reported to it.

    Args:
        results: Optuna's state and value of each reported trial.
        stored: Trials of the study.
        runs: Their runs in MLflow.
        requested: Number of trials requested.
    """
    return Findings(
        running=tuple(f"trial {t.number} is {t.state}" for t in stored if t.state == "RUNNING"),
        lost=(*_forgotten(results, stored), *_never_retried(stored), *_without_run(stored, runs)),
        doubled=(*_counted_twice(stored, requested), *_runs_twice(runs)),
        wrongly_ended=(*_differently_in_mlflow(stored, runs), *_retried_differently(stored)),
        figures=len(results),
        runs=len(runs),
    )


def _forgotten(results: Results, stored: Trials) -> Iterator[str]:
    known = {trial.number: (trial.state, trial.value) for trial in stored}
    for number, result in results.items():
        if known.get(number) != result:
            yield f"trial {number} was {result}, it is {known.get(number)}"


def _never_retried(stored: Trials) -> Iterator[str]:
    """Failed trials without a retry; here only kills make trials fail."""
    again = {trial.retry_of for trial in stored}
    for trial in stored:
        if trial.state == "WAITING":
            yield f"trial {trial.number} waits still"
        if trial.state == "FAIL" and trial.number not in again:
            yield f"trial {trial.number} failed and was not retried"


def _without_run(stored: Trials, runs: Runs) -> Iterator[str]:
    ids = {(run.number, run.run_id) for run in runs}
    for trial in stored:
        if trial.state in COUNTED and (trial.number, trial.run_id) not in ids:
            yield f"trial {trial.number} has no run in MLflow ({trial.run_id})"


def _counted_twice(stored: Trials, requested: int) -> Iterator[str]:
    counted = {trial.number for trial in stored if trial.state in COUNTED}
    if len(counted) != requested:
        yield f"{len(counted)} trials count, {requested} were requested"
    times = Counter(trial.retry_of for trial in stored if trial.retry_of is not None)
    for number, count in times.items():
        if number in counted:
            yield f"trial {number} counts and was retried"
        if count > 1:
            yield f"trial {number} was retried {count} times"


def _retried_differently(stored: Trials) -> Iterator[str]:
    known = {trial.number: trial.chosen for trial in stored}
    for trial in stored:
        first = known.get(trial.retry_of if trial.retry_of is not None else -1, {})
        # The first may have been killed before all were chosen.
        if not first.items() <= trial.chosen.items():
            yield f"trial {trial.number} is not what trial {trial.retry_of} was to be"


def _runs_twice(runs: Runs) -> Iterator[str]:
    for number, count in Counter(run.number for run in runs).items():
        if count > 1:
            yield f"trial {number} is {count} runs in MLflow"


def _differently_in_mlflow(stored: Trials, runs: Runs) -> Iterator[str]:
    ends = {"COMPLETE": ("FINISHED", "finished"), "PRUNED": ("KILLED", "pruned")}
    known = {trial.number: trial for trial in stored}
    for run in runs:
        trial = known.get(run.number)
        state = trial.state if trial else "unknown to the study"
        ended = (run.status, run.state)
        if state in ends and ended != ends[state]:
            yield f"trial {run.number} is {state}, its run {ended}"
        if state not in ends and run.state in {"finished", "pruned"}:
            yield f"trial {run.number} is {state}, and its run {ended} would count"
        if trial and trial.value is not None and run.value != trial.value:
            yield f"trial {run.number} has {trial.value}, in MLflow {run.value}"
