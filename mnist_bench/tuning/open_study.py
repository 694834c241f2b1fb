"""Opens a study: for the command that starts or resumes it, and for machines that join it."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from pydantic import ValidationError
from rich.console import Console

from mnist_bench.core import process_identity
from mnist_bench.core.errors import version_mismatch
from mnist_bench.core.process_identity import ProcessIdentity
from mnist_bench.core.signals import Terminated
from mnist_bench.measurement import machine, system
from mnist_bench.measurement.machine import Machine
from mnist_bench.runner import executor
from mnist_bench.runner.executor import Outcome
from mnist_bench.runner.progress import ProgressWatcher
from mnist_bench.runner.work_context import WorkContext
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

_WORKER_NUMBERS = 4_000
"""Joining machines draw a worker number below this, so that their samplers rarely agree."""


def open_study(
    setup: StudySetup, options: TuneOptions, console: Console, log: Callable[[str], None]
) -> Search:
    """Start a study or resume it.

    Args:
        setup: The checked options.
        console: For progress.
        log: Gets a line about each trial that is recovered or retried.

    Raises:
        BenchError: MLflow or the storage can't be used, or the study has another space or goal.
    """
    described = machine.describe()
    here = WorkContext(
        machine=described,
        source=setup.source,
        execution=Execution(threads=system.usable_threads()),
        store=recovery.open_store(
            options.tracking_uri, options.experiment, described.machine_id, log
        ),
        address=Address.of(options.tracking_uri, options.experiment),
        exclusive=options.exclusive,
        watch=lambda plan: ProgressWatcher(plan, console),
        log=log,
    )
    owner = process_identity.current_process(described.machine_id)
    study = Study(
        *(setup.name, options.storage, setup.space, setup.goal, owner),
        machine=described.name,
        images=setup.source.digest,
    )
    if study.search is not None:
        setup.goal.check_machine_kind(study.name, study.search.machine_kind, described.kind)
    study.add_command(options.command)
    alone = options.exclusive and options.storage is None
    trial_results.settle(study, setup.goal, here.store, log=log, alone=alone)
    trial_results.retry_failed(study, log=log)
    run_id = _parent_run(study, here.store, setup, owner)
    if study.is_shared:
        study.search = _shared_search(setup, options, study, described)
    return _search(study, setup.space, setup.goal, here, run_id)


def _search(study: Study, space: Space, goal: Goal, here: WorkContext, run_id: str) -> Search:
    context = TrialContext(
        space=space,
        goal=goal,
        source=here.source,
        execution=here.execution,
        machine=here.machine,
        address=here.address,
        parent_run_id=run_id,
        exclusive=here.exclusive,
    )
    return Search(study, context, here.store, here.watch, here.log)


def _shared_search(
    setup: StudySetup, options: TuneOptions, study: Study, described: Machine
) -> SharedStudy:
    """What joining machines need; the machine kind is that of the machine that started it."""
    existing = study.search
    return SharedStudy(
        trials=options.trials,
        dataset=setup.source.name,
        dataset_digest=setup.source.digest,
        experiment=options.experiment,
        machine_kind=existing.machine_kind if existing else described.kind,
        is_open=True,
    )


def _parent_run(study: Study, store: MlflowStore, setup: StudySetup, owner: ProcessIdentity) -> str:
    """Id of the study's MLflow run: the existing one, or a new one."""
    existing = study.run_id
    if existing is not None and store.reopen_study(existing, owner):
        return existing
    run_id = store.start_study(study.name, f"**{setup.space.title}**", owner)
    study.run_id = run_id
    return run_id


@dataclass(frozen=True)
class JoinableStudy:
    """A study that other machines can join.

    Attributes:
        storage: Optuna's URL.
        run_id: MLflow's id of the study's run.
    """

    name: str
    storage: str
    spec: StudySpec
    search: SharedStudy
    run_id: str

    @classmethod
    def from_attributes(cls, name: str, storage: str, attributes: Mapping[str, Any]) -> Self:
        """Parse the user attributes of an Optuna study.

        Raises:
            BenchError: Another version wrote them.
        """
        search = SharedStudy.from_text(name, attributes[SEARCH])
        try:
            context = StudySpec.from_attribute(attributes[SPEC])
        except (ValidationError, LookupError, TypeError) as error:
            raise version_mismatch(f"the study {name}") from error
        return cls(name, storage, context, search, attributes[RUN_ID])


def is_joinable(attributes: Mapping[str, Any]) -> bool:
    """Whether an Optuna study with these user attributes can be joined."""
    return {SPEC, SEARCH, RUN_ID} <= set(attributes)


def run_shared_trials(joinable: JoinableStudy, here: WorkContext) -> Outcome:
    """Train trials of a joined study until no more are requested.

    The machine that started the study confirms the winner.

    Args:
        here: This machine; it has the same images and records to the same store.

    Returns:
        An outcome without results, since the study has the trials.

    Raises:
        BenchError: The storage can't be used, or times of this machine are not comparable.
    """
    try:
        ended = run_trials(_joined(joinable, here), SearchLimits(None, None))
    except (KeyboardInterrupt, Terminated) as error:
        return Outcome((), executor.status_of(error))
    here.log(f"{joinable.name}: {ended.in_words}")
    return Outcome((), ended.exit_status, ended.error)


def _joined(joinable: JoinableStudy, here: WorkContext) -> Search:
    """Open a study that another machine started.

    Raises:
        BenchError: The storage can't be used, or times of this machine are not comparable.
    """
    space, goal = joinable.spec.space, joinable.spec.goal
    goal.check_machine_kind(joinable.name, joinable.search.machine_kind, here.machine.kind)
    study = Study(
        *(joinable.name, joinable.storage, space, goal),
        process_identity.current_process(here.machine.machine_id),
        machine=here.machine.name,
        worker_number=1 + secrets.randbelow(_WORKER_NUMBERS),
        images=here.source.digest,
    )
    trial_results.settle(study, goal, here.store, log=here.log, alone=False)
    return _search(study, space, goal, here, joinable.run_id)
