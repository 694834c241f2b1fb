"""Optuna studies: opening one, asking for trials, reporting their progress and results."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from mnist_bench.core.errors import BenchError
from mnist_bench.core.process_identity import ProcessIdentity
from mnist_bench.tuning.finalists import ranked
from mnist_bench.tuning.objective import Goal
from mnist_bench.tuning.optuna_adapter import (
    MACHINE,
    OBSERVED,
    OWNER,
    PAPER,
    REPEAT,
    RUN_ID,
    importances_of,
    study_trial,
    suggested,
)
from mnist_bench.tuning.pruning import pruner_of
from mnist_bench.tuning.space import Space, Value
from mnist_bench.tuning.storage import backend, explained, opening
from mnist_bench.tuning.study_recovery import FAILED, REDUNDANT, StudyRecovery
from mnist_bench.tuning.study_spec import StudySpec
from mnist_bench.tuning.trial import StudyTrial, TrialRequest

if TYPE_CHECKING:
    import optuna

    from mnist_bench.tuning.heartbeat import Heartbeat

SAMPLER_SEED = 0
"""Fixed, so that a study that runs in one process without interruption is reproducible."""

SPEC = "mnist-bench"
"""Study attribute with its spec."""
_SEEDS_PER_WORKER = 1_000_000
_SKIP_SECONDS = 30.0
"""How long optional reports are skipped after the storage was unreachable."""
_MIN_TRIALS_FOR_IMPORTANCES = 10
"""Finished trials that importances need to be meaningful."""


class Study(StudyRecovery):
    """An open study.

    In a database, which other machines may share, a trial sends heartbeats while it is trained, and
    its result is only reported while this process still owns it.

    Args:
        name: Name of the study.
        storage: URL of a database; None for the journal in `mlruns`.
        owner: This process.
        machine: Name of this machine.
        worker_number: Number among the processes that share the study; it varies the sampler's
            seed.
        images: Digest of the images; None if unknown.

    Raises:
        BenchError: The storage can't be used, or has a study of that name with another space, goal
            or images.
    """

    def __init__(
        self,
        name: str,
        storage: str | None,
        space: Space,
        goal: Goal,
        owner: ProcessIdentity,
        *,
        machine: str | None = None,
        worker_number: int = 0,
        images: str | None = None,
    ) -> None:
        import optuna

        self.name = name
        self._spec = StudySpec(space, goal, images)
        self._space, self._goal, self._owner, self._machine = space, goal, owner, machine
        self._storage = storage
        self.is_shared = storage is not None
        self._skip_until = 0.0
        self._open: dict[int, optuna.Trial] = {}
        self._heartbeats: dict[int, Heartbeat] = {}
        with explained(storage), opening(storage):
            self._backend = backend(storage)
            self._study = optuna.create_study(
                storage=self._backend,
                study_name=name,
                directions=list(goal.directions),
                load_if_exists=True,
                pruner=pruner_of(goal),
            )
            existing = self._study.get_trials(deepcopy=False)
            self.is_new = SPEC not in self._study.user_attrs
        if self.is_new:
            self._initialize(existing)
        self._check_spec()
        with explained(storage):
            self._study.sampler = optuna.samplers.TPESampler(
                # Another seed after each interruption, or the first suggestions would repeat.
                seed=SAMPLER_SEED
                + (0 if self.is_new else len(existing))
                + worker_number * _SEEDS_PER_WORKER,
                group=space.is_conditional,
            )

    def _initialize(self, existing: Sequence[optuna.trial.FrozenTrial]) -> None:
        """Set up a new study. The spec is written last: without it the next process starts over."""
        directions = tuple(each.name.lower() for each in self._study.directions)
        all_papers = all(trial.user_attrs.get(PAPER) for trial in existing)
        if not all_papers or directions != self._goal.directions:
            raise self._mismatch("search space or objective")
        with explained(self._storage):
            if not existing:
                self._study.enqueue_trial(self._space.paper_values(), user_attrs={PAPER: True})
            self._study.set_user_attr(SPEC, self._spec.to_attribute())

    @property
    def best(self) -> tuple[StudyTrial, ...]:
        """The best feasible trial, or the Pareto front; empty if no trial is feasible."""
        if len(self._goal.directions) == 1:
            return tuple(ranked(self.trials, self._goal)[:1])
        with explained(self._storage):
            return tuple(map(study_trial, self._study.best_trials))

    def ask(self) -> TrialRequest:
        """Ask for a new trial, owned by this process."""
        with explained(self._storage):
            trial = self._study.ask()
            self._start_heartbeat(trial)
            trial.set_user_attr(OWNER, self._owner.model_dump_json())
            if self._machine:
                trial.set_user_attr(MACHINE, self._machine)
            chosen: dict[str, Value] = {}
            for name, parameter in self._space.parameters.items():
                if parameter.is_active(chosen):
                    chosen[name] = suggested(trial, name, parameter)
        self._open[trial.number] = trial
        return TrialRequest(trial.number, chosen, is_papers=bool(trial.user_attrs.get(PAPER)))

    def recorded(self, number: int, run_id: str, **observed: float | str | None) -> None:
        """Save MLflow's id of a trial's run, and observed values under `StudyTrial`'s names."""
        with explained(self._storage):
            self._open[number].set_user_attr(RUN_ID, run_id)
            self._open[number].set_user_attr(OBSERVED, observed)

    def should_end(self, number: int, percent: int, progress: float) -> bool:
        """Report the progress of a trial at a checkpoint, and ask whether to prune it.

        Args:
            number: Of the trial.
            percent: Checkpoint; trials are compared at the same one.
            progress: Intermediate value.
        """
        if not self._goal.prunes:
            return False
        trial = self._open[number]

        def is_behind() -> bool:
            trial.report(progress, percent)
            return not self.is_exempt(number) and bool(trial.should_prune())

        return self._best_effort(is_behind)

    def report_progress(self, number: int, percent: int, progress: float) -> None:
        """Report the progress of a trial between checkpoints."""
        if self._goal.prunes:
            trial = self._open[number]

            def report() -> bool:
                trial.report(progress, percent)
                return False

            self._best_effort(report)

    def is_exempt(self, number: int) -> bool:
        """Whether a trial is never pruned: the paper's, and repeats."""
        attributes = self._open[number].user_attrs
        return bool(attributes.get(PAPER)) or attributes.get(REPEAT) is not None

    def finished(self, number: int, values: tuple[float, ...], missed: Mapping[str, float]) -> None:
        """Report that a trial has finished."""
        self._record_constraints(number, missed)
        with explained(self._storage):
            trial, may_be_finished = self._open[number], self.is_shared
            self._study.tell(trial, list(values), skip_if_finished=may_be_finished)
        self._close_trial(number)

    def pruned(self, number: int, missed: Mapping[str, float]) -> None:
        """Report that a trial was pruned, or ended because it exceeded a constraint."""
        self._record_constraints(number, missed)
        self._tell(number, "PRUNED")

    def failed(self, number: int) -> None:
        """Report that a trial failed; it does not count."""
        with explained(self._storage):
            self._open[number].set_user_attr(FAILED, value=True)
        self._tell(number, "FAIL")

    def mark_redundant(self, number: int) -> None:
        """Report that a trial is not needed, since another one counts for it."""
        with explained(self._storage):
            self._open[number].set_user_attr(REDUNDANT, value=True)
        self._tell(number, "FAIL")

    def owns(self, number: int) -> bool:
        """Whether this process still owns a trial: it may have been failed as stale."""
        return number in self._open and self._frozen(number).state.name == "RUNNING"

    def release_trials(self) -> None:
        """Report this process's running trials as interrupted, as far as the storage answers."""
        for number in [*self._open]:
            with contextlib.suppress(BenchError):
                if self.owns(number):
                    self.interrupted(number)
        self.abandon_trials()

    def abandon_trials(self) -> None:
        """Stop the heartbeats of this process's running trials, which others then fail as stale."""
        for heartbeat in self._heartbeats.values():
            heartbeat.stop()
        self._heartbeats.clear()
        self._open.clear()

    def interrupted(self, number: int) -> None:
        """Report that a trial was interrupted; it is retried when the study is resumed."""
        self.enqueue_retry(number)
        self._tell(number, "FAIL")

    def importances(self) -> dict[str, float]:
        """Importance of each parameter for the first value; empty with too few finished trials."""
        finished = [trial for trial in self.trials if trial.state == "finished"]
        if len(finished) < _MIN_TRIALS_FOR_IMPORTANCES:
            return {}
        with explained(self._storage):
            return importances_of(self._study)

    def _record_constraints(self, number: int, missed: Mapping[str, float]) -> None:
        """Record constraint violations, from which the sampler learns; of pruned trials too."""
        with explained(self._storage):
            for name, value in missed.items():
                self._open[number].set_constraint(name, value)

    def _tell(self, number: int, state: str) -> None:
        import optuna

        with explained(self._storage):
            trial, trial_state = self._open[number], optuna.trial.TrialState[state]
            self._study.tell(trial, state=trial_state, skip_if_finished=self.is_shared)
        self._close_trial(number)

    def _start_heartbeat(self, trial: optuna.Trial) -> None:
        """Start heartbeats of a shared study's trial, before anything else is written to it."""
        if self.is_shared:
            from mnist_bench.tuning.heartbeat import Heartbeat

            # Optuna itself sends heartbeats only within `optimize`.
            self._heartbeats[trial.number] = Heartbeat(self._backend, trial._trial_id)  # noqa: SLF001

    def _close_trial(self, number: int) -> None:
        """Forget a trial and stop its heartbeat."""
        del self._open[number]
        if number in self._heartbeats:
            self._heartbeats.pop(number).stop()

    def _best_effort(self, call: Callable[[], bool]) -> bool:
        """Call the storage for something optional; False if it is unreachable.

        A shared database may be unreachable for a while, and each call costs a timeout; and the
        trial may have been failed as stale.
        """
        if time.monotonic() < self._skip_until:
            return False
        try:
            with explained(self._storage):
                return call()
        except BenchError:
            if not self.is_shared:
                raise
            self._skip_until = time.monotonic() + _SKIP_SECONDS
            return False

    def _check_spec(self) -> None:
        difference = self._spec.difference(self._study.user_attrs[SPEC])
        if difference:
            raise self._mismatch(difference)

    def _mismatch(self, what: str) -> BenchError:
        return BenchError(
            f"the study {self.name} exists with another {what}",
            "choose another --study, or give the same one",
        )
