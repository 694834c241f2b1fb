"""A study opened to be worked on: by the command that begins it, and by machines that join."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from pydantic import ValidationError
from rich.console import Console

from mnist_bench.core import process_identity
from mnist_bench.core.errors import another_version
from mnist_bench.core.process_identity import ProcessIdentity
from mnist_bench.core.signals import Terminated
from mnist_bench.measurement import machine, system
from mnist_bench.measurement.machine import Machine
from mnist_bench.runner import executor
from mnist_bench.runner.executor import Outcome
from mnist_bench.runner.here import WorkContext
from mnist_bench.runner.progress import ProgressWatcher
from mnist_bench.scenarios.execution import Execution
from mnist_bench.tracking import recovery
from mnist_bench.tracking.mlflow_store import MlflowStore
from mnist_bench.tracking.spool import Address
from mnist_bench.tuning import trial_results
from mnist_bench.tuning.objective import Goal
from mnist_bench.tuning.options import StudySetup, TuneOptions
from mnist_bench.tuning.optuna_adapter import RUN_ID
from mnist_bench.tuning.scheduling import run_trials
from mnist_bench.tuning.shared_study import SharedStudy
from mnist_bench.tuning.space import Space
from mnist_bench.tuning.study import SPEC, Study
from mnist_bench.tuning.study_attributes import SEARCH
from mnist_bench.tuning.study_spec import StudySpec
from mnist_bench.tuning.trial_plan import TrialContext
from mnist_bench.tuning.trial_runner import Search, SearchLimits

_MEMBERS = 4_000
"""Of so many one is drawn by who joins, so that hardly two are suggested the same."""


def open_study(
    prepared: StudySetup, wish: TuneOptions, console: Console, say: Callable[[str], None]
) -> Search:
    """Begin a study, or go on with it.

    Args:
        prepared: The checked wish.
        wish: What the user asked for.
        console: For progress.
        say: Told in one line what was settled and tried again.

    Raises:
        BenchError: MLflow or the storage can't be used, or the study asks another question.
    """
    described = machine.describe()
    here = WorkContext(
        machine=described,
        source=prepared.source,
        execution=Execution(threads=system.usable_threads()),
        store=recovery.opened_store(
            wish.tracking_uri, wish.experiment, described.machine_id, say=say
        ),
        address=Address.of(wish.tracking_uri, wish.experiment),
        exclusive=wish.exclusive,
        watch=lambda plan: ProgressWatcher(plan, console),
        say=say,
    )
    me = process_identity.current_process(described.machine_id)
    study = Study(
        *(prepared.name, wish.storage, prepared.space, prepared.goal, me),
        machine=described.name,
        images=prepared.source.digest,
    )
    if study.search is not None:
        prepared.goal.check_kinds(study.name, study.search.machine_kind, described.kind)
    study.keep_command(wish.command)
    alone = wish.exclusive and wish.storage is None
    trial_results.settle(study, prepared.goal, here.store, say=say, alone=alone)
    trial_results.retry_failed(study, say=say)
    run_id = _parent_run(study, here.store, prepared, me)
    if study.is_shared:
        study.search = _shared_search(prepared, wish, study, described)
    return _search(study, prepared.space, prepared.goal, here, run_id)


def _search(study: Study, space: Space, goal: Goal, here: WorkContext, run_id: str) -> Search:
    question = TrialContext(
        space=space,
        goal=goal,
        source=here.source,
        execution=here.execution,
        machine=here.machine,
        address=here.address,
        parent_run_id=run_id,
        exclusive=here.exclusive,
    )
    return Search(study, question, here.store, here.watch, here.say)


def _shared_search(
    prepared: StudySetup, wish: TuneOptions, study: Study, described: Machine
) -> SharedStudy:
    """What machines that join must know; the kind of machine is that of the one that began it."""
    known = study.search
    return SharedStudy(
        trials=wish.trials,
        dataset=prepared.source.name,
        dataset_digest=prepared.source.digest,
        experiment=wish.experiment,
        machine_kind=known.machine_kind if known else described.kind,
        is_open=True,
    )


def _parent_run(study: Study, store: MlflowStore, prepared: StudySetup, me: ProcessIdentity) -> str:
    """MLflow's run of the study: the one it has, or a new one."""
    known = study.run_id
    if known is not None and store.reopen_study(known, me):
        return known
    made = store.start_study(study.name, f"**{prepared.space.title}**", me)
    study.run_id = made
    return made


@dataclass(frozen=True)
class JoinableStudy:
    """A study whose search is open to every machine.

    Attributes:
        name: Of the study.
        storage: Optuna's URL.
        question: What it asks.
        search: What whoever joins must know.
        run_id: MLflow's id of its own run.
    """

    name: str
    storage: str
    question: StudySpec
    search: SharedStudy
    run_id: str

    @classmethod
    def told(cls, name: str, storage: str, attributes: Mapping[str, Any]) -> Self:
        """As its storage keeps it.

        Raises:
            BenchError: It is of another version.
        """
        search = SharedStudy.told(name, attributes[SEARCH])
        try:
            question = StudySpec.from_attribute(attributes[SPEC])
        except (ValidationError, LookupError, TypeError) as error:
            raise another_version(f"the study {name}") from error
        return cls(name, storage, question, search, attributes[RUN_ID])


def is_search(attributes: Mapping[str, Any]) -> bool:
    """Whether a study of a storage can be joined, by what is kept with it."""
    return {SPEC, SEARCH, RUN_ID} <= set(attributes)


def run_shared_trials(joinable: JoinableStudy, here: WorkContext) -> Outcome:
    """Train trials until no more are asked for; which of them wins is its leader's business.

    Args:
        joinable: The study.
        here: This machine, which has the same images and records on the same board.

    Returns:
        Without results: a study's are its trials.

    Raises:
        BenchError: The storage can't be used, or this machine's times tell nothing there.
    """
    try:
        ended = run_trials(_joined(joinable, here), SearchLimits(None, None))
    except (KeyboardInterrupt, Terminated) as error:
        return Outcome((), executor.status_of(error))
    here.say(f"{joinable.name}: {ended.in_words}")
    return Outcome((), ended.exit_status, ended.error)


def _joined(joinable: JoinableStudy, here: WorkContext) -> Search:
    """A study that another machine leads, opened.

    Raises:
        BenchError: The storage can't be used, or this machine's times tell nothing there.
    """
    space, goal = joinable.question.space, joinable.question.goal
    goal.check_kinds(joinable.name, joinable.search.machine_kind, here.machine.kind)
    study = Study(
        *(joinable.name, joinable.storage, space, goal),
        process_identity.current_process(here.machine.machine_id),
        machine=here.machine.name,
        member=1 + secrets.randbelow(_MEMBERS),
        images=here.source.digest,
    )
    trial_results.settle(study, goal, here.store, say=here.say, alone=False)
    return _search(study, space, goal, here, joinable.run_id)
