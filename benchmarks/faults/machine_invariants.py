"""Invariants of a shared plan and study once they are done: nothing is lost or done twice.

They are checked with Optuna's library on its storage, and with SQL on MLflow's database.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import optuna
from invariants import Findings
from sqlalchemy import create_engine, text

_COUNTED = ("COMPLETE", "PRUNED")
_OPEN = ("RUNNING", "WAITING")
_RUNS = """
    SELECT part.value, trial.value, runs.run_uuid, runs.status FROM runs
    JOIN tags AS part ON part.run_uuid = runs.run_uuid AND part.key = 'bench.part'
    LEFT JOIN tags AS trial ON trial.run_uuid = runs.run_uuid AND trial.key = 'bench.trial'
"""


@dataclass(frozen=True)
class SharedTrial:
    """A trial in Optuna's storage.

    Attributes:
        part: Share of a plan; None for a trial of a study.
        retry_of: Trial that it repeats.
        run_id: MLflow's.
        is_superfluous: Whether another trial replaces it.
    """

    number: int
    state: str
    part: str | None = None
    retry_of: int | None = None
    run_id: str | None = None
    is_superfluous: bool = False


@dataclass(frozen=True)
class RecordedRun:
    """A run of a share or trial in MLflow.

    Attributes:
        part: Its share or trial.
        is_trial: Whether it belongs to a trial.
        status: MLflow's.
    """

    part: str
    is_trial: bool
    run_id: str
    status: str


def check_work(storage: str, study: str, requested: int) -> Findings:
    """Check that plan and study are done, each share and trial once.

    Args:
        storage: Optuna's URL; it has one plan and one study.
        study: Name of the study.
        requested: Number of shares, and of trials.
    """
    plans = [name for name in optuna.get_all_study_names(storage) if name != study]
    (plan,) = (_stored_trials(storage, name) for name in plans)
    return check_trials(plan, _stored_trials(storage, study), requested)


def check_trials(
    plan: Sequence[SharedTrial], trials: Sequence[SharedTrial], requested: int
) -> Findings:
    """Check the trials of a plan and a study.

    Args:
        plan: One trial per share, or more after failures.
        trials: Trials of the study.
        requested: Number of shares, and of trials.
    """
    return Findings(
        running=(*_open(plan), *_open(trials)),
        lost=(*_never_done(plan, requested), *_never_retried(trials)),
        doubled=(*_done_twice(plan), *_counted_twice(trials, requested)),
    )


def check_store(database: str, storage: str, study: str, requested: int) -> Findings:
    """Check that each share and finished trial has one finished run, and that none is running.

    Args:
        database: URL of MLflow's database.
        storage: Optuna's URL.
        study: Name of the study.
        requested: Number of shares.
    """
    finished = [
        trial.run_id for trial in _stored_trials(storage, study) if trial.state == "COMPLETE"
    ]
    return check_runs(_recorded(database), finished, requested)


def check_runs(
    runs: Sequence[RecordedRun], finished: Sequence[str | None], requested: int
) -> Findings:
    """Check the runs of shares and trials.

    Args:
        runs: Of shares and trials.
        finished: Run ids of the study's finished trials, from the study.
        requested: Number of shares.
    """
    ended = [run for run in runs if run.status == "FINISHED"]
    twice = Counter(run.part for run in ended)
    known = {run.run_id for run in ended if run.is_trial}
    parts = {run.part for run in ended if not run.is_trial}
    missing = (
        []
        if len(parts) == requested
        else [f"{len(parts)} of {requested} parts have a finished run"]
    )
    missing += [f"run {each} of a finished trial is not there" for each in finished
                if each not in known]  # fmt: skip
    return Findings(
        running=tuple(f"run {r.run_id} of {r.part} goes on" for r in runs if r.status == "RUNNING"),
        lost=tuple(missing),
        doubled=tuple(f"{part} is finished {n} times" for part, n in twice.items() if n > 1),
        wrongly_ended=tuple(f"run {each} is finished, its trial is not"
                            for each in sorted(known - set(finished))),
        figures=requested + len(finished),
        runs=len(runs),
    )  # fmt: skip


def _open(trials: Sequence[SharedTrial]) -> Iterator[str]:
    for trial in trials:
        if trial.state in _OPEN:
            yield f"trial {trial.number} ({trial.part or 'of the study'}) is {trial.state} still"


def _never_done(plan: Sequence[SharedTrial], requested: int) -> Iterator[str]:
    done = {trial.part for trial in plan if trial.state == "COMPLETE"}
    if len(done) != requested:
        yield f"{len(done)} of {requested} parts are done"


def _done_twice(plan: Sequence[SharedTrial]) -> Iterator[str]:
    for part, count in Counter(t.part for t in plan if t.state == "COMPLETE").items():
        if count > 1:
            yield f"{part} was done {count} times"


def _never_retried(trials: Sequence[SharedTrial]) -> Iterator[str]:
    earlier = {trial.number: trial.retry_of for trial in trials}
    again = {trial.retry_of for trial in trials if not trial.is_superfluous}
    counted = {_root(earlier, trial.number) for trial in trials if trial.state in _COUNTED}
    for trial in trials:
        needs_retry = (
            trial.state == "FAIL" and not trial.is_superfluous and trial.number not in again
        )
        if needs_retry and _root(earlier, trial.number) not in counted:
            yield f"trial {trial.number} failed and was not tried again"


def _counted_twice(trials: Sequence[SharedTrial], requested: int) -> Iterator[str]:
    counted = [trial.number for trial in trials if trial.state in _COUNTED]
    if len(counted) != requested:
        yield f"{len(counted)} trials count, {requested} were asked for"
    earlier = {trial.number: trial.retry_of for trial in trials}
    for number, count in Counter(_root(earlier, n) for n in counted).items():
        if count > 1:
            yield f"trial {number} counts {count} times"


def _root(earlier: Mapping[int, int | None], number: int) -> int:
    while (before := earlier[number]) is not None:
        number = before
    return number


def _stored_trials(storage: str, name: str) -> list[SharedTrial]:
    study = optuna.load_study(study_name=name, storage=storage)
    return [
        SharedTrial(
            number=trial.number,
            state=trial.state.name,
            part=_share_name(trial.user_attrs.get("part")),
            retry_of=trial.user_attrs.get("retry_of"),
            run_id=trial.user_attrs.get("run_id"),
            is_superfluous=bool(trial.user_attrs.get("superfluous")),
        )
        for trial in study.get_trials(deepcopy=False)
    ]


def _share_name(part: str | None) -> str | None:
    if part is None:
        return None
    share = json.loads(part)
    return f"seed {share['seed']}, rows {share['rows']}"


def _recorded(database: str) -> list[RecordedRun]:
    engine = create_engine(database)
    try:
        with engine.connect() as connection:
            found = connection.execute(text(_RUNS)).all()
    finally:
        engine.dispose()
    return [
        RecordedRun(part, trial is not None, run_id, status)
        for part, trial, run_id, status in found
    ]
