"""What must hold once machines have done all that they shared: each thing once, nothing lost.

Looks from outside: by Optuna's own library at its storage, by SQL at MLflow's database.
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
class Shared:
    """A trial as its storage keeps it.

    Attributes:
        number: Optuna's.
        state: Its state.
        part: Of a plan; None of a study's.
        retry_of: The trial that it tries again.
        run_id: MLflow's id of its run.
        is_superfluous: Whether another one stands for it.
    """

    number: int
    state: str
    part: str | None = None
    retry_of: int | None = None
    run_id: str | None = None
    is_superfluous: bool = False


@dataclass(frozen=True)
class Recorded:
    """A run of a shared part or trial in MLflow.

    Attributes:
        part: What it is of.
        is_trial: Whether that is a study's trial.
        run_id: MLflow's.
        status: MLflow's.
    """

    part: str
    is_trial: bool
    run_id: str
    status: str


def check_work(storage: str, study: str, asked: int) -> Findings:
    """Whether plan and study are done, each part and trial once.

    Args:
        storage: Optuna's URL; it holds one plan and one study.
        study: Its name.
        asked: So many parts, and so many trials.
    """
    plans = [name for name in optuna.get_all_study_names(storage) if name != study]
    (plan,) = (_kept(storage, name) for name in plans)
    return check_trials(plan, _kept(storage, study), asked)


def check_trials(plan: Sequence[Shared], trials: Sequence[Shared], asked: int) -> Findings:
    """The same of what was read.

    Args:
        plan: Trials that are a plan's parts.
        trials: Of the study.
        asked: So many parts, and so many trials.
    """
    return Findings(
        running=(*_open(plan), *_open(trials)),
        lost=(*_never_done(plan, asked), *_never_tried_again(trials)),
        doubled=(*_done_twice(plan), *_counted_twice(trials, asked)),
    )


def check_board(board: str, storage: str, study: str, asked: int) -> Findings:
    """Whether each part and each trial that finished has one finished run, and none goes on.

    Args:
        board: Of MLflow's database.
        storage: Optuna's URL.
        study: Name of the study.
        asked: So many parts.
    """
    finished = [trial.run_id for trial in _kept(storage, study) if trial.state == "COMPLETE"]
    return check_runs(_recorded(board), finished, asked)


def check_runs(runs: Sequence[Recorded], finished: Sequence[str | None], asked: int) -> Findings:
    """The same of what was read.

    Args:
        runs: Of parts and trials.
        finished: Ids of the runs of the study's finished trials, as the study has them.
        asked: So many parts.
    """
    ended = [run for run in runs if run.status == "FINISHED"]
    twice = Counter(run.part for run in ended)
    known = {run.run_id for run in ended if run.is_trial}
    parts = {run.part for run in ended if not run.is_trial}
    missing = [] if len(parts) == asked else [f"{len(parts)} of {asked} parts have a finished run"]
    missing += [f"run {each} of a finished trial is not there" for each in finished
                if each not in known]  # fmt: skip
    return Findings(
        running=tuple(f"run {r.run_id} of {r.part} goes on" for r in runs if r.status == "RUNNING"),
        lost=tuple(missing),
        doubled=tuple(f"{part} is finished {n} times" for part, n in twice.items() if n > 1),
        wrongly_ended=tuple(f"run {each} is finished, its trial is not"
                            for each in sorted(known - set(finished))),
        figures=asked + len(finished),
        runs=len(runs),
    )  # fmt: skip


def _open(trials: Sequence[Shared]) -> Iterator[str]:
    for trial in trials:
        if trial.state in _OPEN:
            yield f"trial {trial.number} ({trial.part or 'of the study'}) is {trial.state} still"


def _never_done(plan: Sequence[Shared], asked: int) -> Iterator[str]:
    done = {trial.part for trial in plan if trial.state == "COMPLETE"}
    if len(done) != asked:
        yield f"{len(done)} of {asked} parts are done"


def _done_twice(plan: Sequence[Shared]) -> Iterator[str]:
    for part, count in Counter(t.part for t in plan if t.state == "COMPLETE").items():
        if count > 1:
            yield f"{part} was done {count} times"


def _never_tried_again(trials: Sequence[Shared]) -> Iterator[str]:
    earlier = {trial.number: trial.retry_of for trial in trials}
    again = {trial.retry_of for trial in trials if not trial.is_superfluous}
    counted = {_root(earlier, trial.number) for trial in trials if trial.state in _COUNTED}
    for trial in trials:
        is_left = trial.state == "FAIL" and not trial.is_superfluous and trial.number not in again
        if is_left and _root(earlier, trial.number) not in counted:
            yield f"trial {trial.number} failed and was not tried again"


def _counted_twice(trials: Sequence[Shared], asked: int) -> Iterator[str]:
    counted = [trial.number for trial in trials if trial.state in _COUNTED]
    if len(counted) != asked:
        yield f"{len(counted)} trials count, {asked} were asked for"
    earlier = {trial.number: trial.retry_of for trial in trials}
    for number, count in Counter(_root(earlier, n) for n in counted).items():
        if count > 1:
            yield f"trial {number} counts {count} times"


def _root(earlier: Mapping[int, int | None], number: int) -> int:
    while (before := earlier[number]) is not None:
        number = before
    return number


def _kept(storage: str, name: str) -> list[Shared]:
    study = optuna.load_study(study_name=name, storage=storage)
    return [
        Shared(
            number=trial.number,
            state=trial.state.name,
            part=_words(trial.user_attrs.get("part")),
            retry_of=trial.user_attrs.get("retry_of"),
            run_id=trial.user_attrs.get("run_id"),
            is_superfluous=bool(trial.user_attrs.get("superfluous")),
        )
        for trial in study.get_trials(deepcopy=False)
    ]


def _words(part: str | None) -> str | None:
    if part is None:
        return None
    told = json.loads(part)
    return f"seed {told['seed']}, rows {told['rows']}"


def _recorded(board: str) -> list[Recorded]:
    engine = create_engine(board)
    try:
        with engine.connect() as connection:
            found = connection.execute(text(_RUNS)).all()
    finally:
        engine.dispose()
    return [
        Recorded(part, trial is not None, run_id, status) for part, trial, run_id, status in found
    ]
