"""Trials trained and recorded by the suite as `tune` does, one at a time and to their end."""

from __future__ import annotations

from collections.abc import Mapping

import optuna
from rich.console import Console

from mnist_bench.core import process_identity
from mnist_bench.data.dataset import Source
from mnist_bench.measurement import machine, system
from mnist_bench.results.run import RunResult
from mnist_bench.runner.progress import ProgressWatcher
from mnist_bench.scenarios.execution import Execution
from mnist_bench.tracking.mlflow_store import MlflowStore
from mnist_bench.tracking.spool import Address
from mnist_bench.tuning.objective import Goal
from mnist_bench.tuning.scheduling import run_trials
from mnist_bench.tuning.space import Space, Value
from mnist_bench.tuning.storage import backend
from mnist_bench.tuning.study import Study
from mnist_bench.tuning.trial import StudyTrial
from mnist_bench.tuning.trial_plan import TrialContext
from mnist_bench.tuning.trial_runner import Search, SearchLimits

_EXPERIMENT = "mnist-bench"


class ToTheEnd(Goal):
    """Validation accuracy, every trial trained to its end.

    `tune` prunes nothing where it weighs several values against one another, but then its sampler
    looks for other trials.
    """

    @property
    def prunes(self) -> bool:
        """Never."""
        return False


class SuiteStudy:
    """A study in the working folder, as `tune` makes one there: MLflow's database, the journal.

    Args:
        name: Of the study.
        space: What may be tried.
        source: The images.
        exclusive: Whether other benchmarks of this user are kept away.
    """

    def __init__(self, name: str, space: Space, source: Source, *, exclusive: bool) -> None:
        described = machine.describe()
        me = process_identity.current_process(described.machine_id)
        uri = "sqlite:///mlflow.db"
        goal = ToTheEnd(objective="accuracy", train_seconds=space.train_seconds)
        self._name = name
        self._console = Console(stderr=True)
        self._store = MlflowStore(uri, _EXPERIMENT)
        self._study = Study(name, None, space, goal, me)
        self._question = TrialContext(
            space=space,
            goal=goal,
            source=source,
            execution=Execution(threads=system.usable_threads()),
            machine=described,
            address=Address.of(uri, _EXPERIMENT),
            parent_run_id=self._store.start_study(name, f"**{space.title}**", me),
            exclusive=exclusive,
        )

    def enqueue(self, chosen: Mapping[str, Value]) -> None:
        """Have a configuration tried before others are suggested, after the paper's."""
        study = optuna.load_study(study_name=self._name, storage=backend(None))
        study.enqueue_trial(dict(chosen))

    def train(self) -> StudyTrial:
        """Train one more trial: from asking the study for it to telling what came of it.

        Raises:
            RuntimeError: It did not come to its end.
        """
        before = {trial.number for trial in self._study.trials if trial.counts}
        search = Search(
            self._study,
            self._question,
            self._store,
            watch=lambda plan: ProgressWatcher(plan, self._console),
            say=lambda _: None,
        )
        ended = run_trials(search, SearchLimits(len(before) + 1, None))
        new = [t for t in self._study.trials if t.counts and t.number not in before]
        if ended.exit_status or not new:
            raise RuntimeError(f"the trial did not come to its end: {ended.error}")
        return new[0]

    def run_of(self, trial: StudyTrial) -> RunResult:
        """What MLflow has of a trial.

        Raises:
            LookupError: Nothing.
        """
        return recorded_run(self._store, trial)


def recorded_run(store: MlflowStore, trial: StudyTrial) -> RunResult:
    """What MLflow has of a trial.

    Raises:
        LookupError: Nothing.
    """
    run = store.load(trial.run_id) if trial.run_id else None
    if run is None:
        raise LookupError(f"MLflow has no result.json of trial {trial.number}")
    return run
