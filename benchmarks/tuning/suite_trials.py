"""Trials trained and recorded like those of `tune`, one at a time and without pruning."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console

from mnist_bench.data.dataset import Source
from mnist_bench.measurement import machine, system
from mnist_bench.results.run import RunResult
from mnist_bench.runner.progress import ProgressWatcher
from mnist_bench.scenarios.execution import Execution
from mnist_bench.tracking.mlflow_store import MlflowStore
from mnist_bench.tracking.recorder import process_owner
from mnist_bench.tracking.spool import Address
from mnist_bench.tuning.objective import Goal
from mnist_bench.tuning.search import Search, TrialContext, run_trials
from mnist_bench.tuning.space import Space, Value
from mnist_bench.tuning.study import Study
from mnist_bench.tuning.trial import StudyTrial

_EXPERIMENT = "mnist-bench"


class UnprunedGoal(Goal):
    """Validation accuracy without pruning.

    `tune` doesn't prune Pareto studies either, but their sampler suggests other trials.
    """

    @property
    def prunes(self) -> bool:
        """Always False."""
        return False


class SuiteStudy:
    """A study in the working folder, like that of `tune`, with MLflow's and Optuna's files.

    Args:
        name: Of the study.
        space: Search space.
        source: The images.
        exclusive: Whether other benchmarks of this user are locked out.
    """

    def __init__(self, name: str, space: Space, source: Source, *, exclusive: bool) -> None:
        uri = "sqlite:///mlflow.db"
        goal = UnprunedGoal(objective="accuracy", train_seconds=space.train_seconds)
        console = Console(stderr=True)
        self._store = MlflowStore(uri, _EXPERIMENT)
        self._study = Study(name, None, space, goal)
        context = TrialContext(
            space=space,
            goal=goal,
            source=source,
            execution=Execution(threads=system.usable_threads()),
            machine=machine.describe(),
            address=Address.of(uri, _EXPERIMENT),
            parent_run_id=self._store.start_study(name, f"**{space.title}**", process_owner()),
            exclusive=exclusive,
        )
        self._search = Search(
            self._study,
            context,
            self._store,
            watch=lambda plan: ProgressWatcher(plan, console),
            log=lambda _: None,
        )

    def enqueue(self, chosen: Mapping[str, Value]) -> None:
        """Enqueue a configuration after the paper's, to be trained before suggested ones."""
        self._study.optuna.enqueue_trial(dict(chosen))

    def train(self) -> StudyTrial:
        """Train one more trial, from asking the study for it to reporting its result.

        Raises:
            RuntimeError: It did not finish.
        """
        before = {trial.number for trial in self._study.trials if trial.counts}
        ended = run_trials(self._search, len(before) + 1, None)
        new = [t for t in self._study.trials if t.counts and t.number not in before]
        if ended.exit_status or not new:
            raise RuntimeError(f"the trial did not finish: {ended.error}")
        return new[0]

    def run_of(self, trial: StudyTrial) -> RunResult:
        """Load the run of a trial from MLflow.

        Raises:
            LookupError: MLflow does not have it.
        """
        return recorded_run(self._store, trial)


def recorded_run(store: MlflowStore, trial: StudyTrial) -> RunResult:
    """Load the run of a trial from MLflow.

    Raises:
        LookupError: MLflow does not have it.
    """
    run = store.load(trial.run_id) if trial.run_id else None
    if run is None:
        raise LookupError(f"MLflow has no result.json of trial {trial.number}")
    return run
