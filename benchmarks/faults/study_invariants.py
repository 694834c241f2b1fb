"""What must hold of a study once its commands were ended by force and another one went on with it.

Optuna's own reader tells what the study knows, SQLite what MLflow has.
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

JOURNAL = Path("mlruns", "optuna.log")
"""Where the suite keeps its studies, seen from a user's folder."""
COUNTED = ("COMPLETE", "PRUNED")


@dataclass(frozen=True)
class Kept:
    """A trial as the study has it.

    Attributes:
        number: Optuna's.
        state: Optuna's word.
        value: What it is worth; None where it did not come to its end.
        retry_of: The trial that it tries again; else None.
        run_id: MLflow's id of its run; None where the study does not know it.
        chosen: The values of its parameters, as far as they were chosen.
    """

    number: int
    state: str
    value: float | None = None
    retry_of: int | None = None
    run_id: str | None = None
    chosen: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Child:
    """A trial's run as MLflow has it.

    Attributes:
        number: Of the trial.
        run_id: MLflow's id.
        status: MLflow's word.
        state: The suite's word of how the trial ended; empty where it has none.
        value: Its last validation accuracy; None where it was never scored.
    """

    number: int
    run_id: str
    status: str
    state: str
    value: float | None


def kept_trials(folder: Path, name: str) -> list[Kept]:
    """What is in the journal of a user's folder."""
    storage = JournalStorage(JournalFileBackend(str(folder / JOURNAL)))
    study = optuna.load_study(study_name=name, storage=storage)
    return [
        Kept(
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


def children(database: Path) -> list[Child]:
    """The trials' runs in MLflow's SQLite file."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        return [
            Child(int(number), run_id, status, state or "", value)
            for number, run_id, status, state, value in connection.execute(_CHILDREN)
        ]


def check_study(
    told: Mapping[int, tuple[str, float | None]],
    kept: Sequence[Kept],
    runs: Sequence[Child],
    asked: int,
) -> Findings:
    """Hold a study that came to its end against what it was told on the way.

    Args:
        told: Optuna's word and the value of each trial that the study was told had ended.
        kept: The trials that it has.
        runs: Those that MLflow has.
        asked: So many that count were asked for.
    """
    return Findings(
        running=tuple(f"trial {t.number} is {t.state}" for t in kept if t.state == "RUNNING"),
        lost=(*_forgotten(told, kept), *_never_tried_again(kept), *_without_run(kept, runs)),
        doubled=(*_counted_twice(kept, asked), *_runs_twice(runs)),
        wrongly_ended=(*_otherwise_in_mlflow(kept, runs), *_tried_otherwise(kept)),
        figures=len(told),
        runs=len(runs),
    )


def _forgotten(told: Mapping[int, tuple[str, float | None]], kept: Sequence[Kept]) -> Iterator[str]:
    known = {trial.number: (trial.state, trial.value) for trial in kept}
    for number, what in told.items():
        if known.get(number) != what:
            yield f"trial {number} was {what}, it is {known.get(number)}"


def _never_tried_again(kept: Sequence[Kept]) -> Iterator[str]:
    """Nothing but a kill makes a trial of a drill fail."""
    again = {trial.retry_of for trial in kept}
    for trial in kept:
        if trial.state == "WAITING":
            yield f"trial {trial.number} waits still"
        if trial.state == "FAIL" and trial.number not in again:
            yield f"trial {trial.number} failed and was not tried again"


def _without_run(kept: Sequence[Kept], runs: Sequence[Child]) -> Iterator[str]:
    ids = {(run.number, run.run_id) for run in runs}
    for trial in kept:
        if trial.state in COUNTED and (trial.number, trial.run_id) not in ids:
            yield f"trial {trial.number} has no run in MLflow ({trial.run_id})"


def _counted_twice(kept: Sequence[Kept], asked: int) -> Iterator[str]:
    counted = {trial.number for trial in kept if trial.state in COUNTED}
    if len(counted) != asked:
        yield f"{len(counted)} trials count, {asked} were asked for"
    for trial in kept:
        if trial.retry_of in counted:
            yield f"trial {trial.retry_of} counts and was tried again as {trial.number}"
    times = Counter(trial.retry_of for trial in kept if trial.retry_of is not None)
    for number, count in times.items():
        if count > 1:
            yield f"trial {number} was tried again {count} times"


def _tried_otherwise(kept: Sequence[Kept]) -> Iterator[str]:
    known = {trial.number: trial.chosen for trial in kept}
    for trial in kept:
        first = known.get(trial.retry_of if trial.retry_of is not None else -1, {})
        if not first.items() <= trial.chosen.items():  # the first may have been cut short
            yield f"trial {trial.number} is not what trial {trial.retry_of} was to be"


def _runs_twice(runs: Sequence[Child]) -> Iterator[str]:
    for number, count in Counter(run.number for run in runs).items():
        if count > 1:
            yield f"trial {number} is {count} runs in MLflow"


def _otherwise_in_mlflow(kept: Sequence[Kept], runs: Sequence[Child]) -> Iterator[str]:
    ends = {"COMPLETE": ("FINISHED", "finished"), "PRUNED": ("KILLED", "pruned")}
    known = {trial.number: trial for trial in kept}
    for run in runs:
        trial = known.get(run.number)
        state = trial.state if trial else "unknown to the study"
        ended = (run.status, run.state)
        if state in ends and ended != ends[state]:
            yield f"trial {run.number} is {state}, its run {ended}"
        if state not in ends and run.state in {"finished", "pruned"}:
            yield f"trial {run.number} is {state}, and its run {ended} would count"
        if trial and trial.value is not None and run.value != trial.value:
            yield f"trial {run.number} is worth {trial.value}, in MLflow {run.value}"
