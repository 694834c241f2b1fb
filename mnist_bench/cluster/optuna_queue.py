"""Queue of a shared plan's trainings, as an Optuna study.

A share is a trial without parameters: a machine that asks for a trial gets the next in the queue.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import optuna
from pydantic import ValidationError

from mnist_bench.cluster.shared_plan import Share, SharedPlan
from mnist_bench.core.errors import version_mismatch
from mnist_bench.tuning.heartbeat import UnownedTrials
from mnist_bench.tuning.storage import answering, backend, explained, opening

_PLAN, _STORE_RUN = "mnist-bench plan", "mnist-bench board"
_SHARE, _MACHINE, _FAILURE = "part", "machine", "failure"
_MOST_FAILURES = 2
"""Failed attempts at a share, on any machine; a third would probably fail too."""


class ShareReleasedError(Exception):
    """This machine gave up a share that did not fail: another machine may take it."""


class ShareFailedError(Exception):
    """The training of a share failed."""


@dataclass(frozen=True)
class Counts:
    """Progress of a plan.

    Attributes:
        done: Recorded shares.
        running: Shares in training.
        waiting: Shares in the queue.
        failed: Shares that failed too often, each with the last reason.
    """

    done: int
    running: int
    waiting: int
    failed: tuple[tuple[Share, str], ...]

    @property
    def total(self) -> int:
        """All shares of the plan."""
        return self.done + self.running + self.waiting + len(self.failed)


def is_plan(attributes: Mapping[str, Any]) -> bool:
    """Whether an Optuna study with these user attributes is a shared plan."""
    return _PLAN in attributes


@dataclass
class _ActiveShare:
    """A share that this machine is training.

    Attributes:
        number: Of its trial.
        value: Its max test accuracy.
        error: Why it has no value.
        signal: The interruption that ended it.
    """

    number: int
    value: float | None = None
    error: Exception | None = None
    signal: BaseException | None = None


class PlanQueue:
    """Queue of a shared plan.

    Args:
        study: Optuna's.
        storage: URL, for messages.
        unowned: Fails trials whose machine died before their first heartbeat.
    """

    def __init__(
        self,
        study: optuna.Study,
        plan: SharedPlan,
        storage: str,
        unowned: UnownedTrials | None = None,
    ) -> None:
        self.plan = plan
        self._study, self._storage = study, storage
        self._unowned = unowned or UnownedTrials()

    @classmethod
    def create(cls, plan: SharedPlan, storage: str) -> Self:
        """Open the plan's study; create it if it is missing.

        Raises:
            BenchError: The storage can't be used.
        """
        with explained(storage), opening(storage):
            study = optuna.create_study(
                storage=backend(storage),
                study_name=plan.study,
                direction="maximize",
                sampler=optuna.samplers.RandomSampler(),
                load_if_exists=True,
            )
            study.set_user_attr(_PLAN, plan.to_text())
        return cls(study, plan, storage)

    @classmethod
    def open(cls, name: str, storage: str) -> Self:
        """Open the existing study of a plan.

        Raises:
            BenchError: The storage can't be used, or the plan is of another version.
        """
        with explained(storage), opening(storage):
            sampler = optuna.samplers.RandomSampler()
            study = optuna.load_study(study_name=name, storage=backend(storage), sampler=sampler)
            text = study.user_attrs.get(_PLAN, "")
        try:
            return cls(study, SharedPlan.model_validate_json(text), storage)
        except ValidationError as error:
            raise version_mismatch(f"the plan {name}") from error

    @property
    def store_run_id(self) -> str | None:
        """MLflow's id of the plan's run, in the store that all machines record to."""
        with explained(self._storage):
            stored: str | None = self._study.user_attrs.get(_STORE_RUN)
        return stored

    @store_run_id.setter
    def store_run_id(self, run_id: str) -> None:
        with explained(self._storage):
            self._study.set_user_attr(_STORE_RUN, run_id)

    def add(self, shares: Iterable[Share]) -> int:
        """Queue the shares that are not recorded, running or queued; return how many.

        A share that failed too often is retried.
        """
        stored = self._trials_by_share()
        missing = [share for share in shares if not any(map(_is_active, stored.get(share, ())))]
        self._queue(missing)
        return len(missing)

    def refresh(self) -> Counts:
        """Queue the shares of vanished machines again, and return the progress."""
        with explained(self._storage):
            optuna.storages.fail_stale_trials(self._study)
        trials = self._trials_by_share()
        if self._fail_unowned(trials):
            trials = self._trials_by_share()
        self._queue([share for share, attempts in trials.items() if _is_lost(attempts)])
        states = {
            share: {trial.state.name for trial in attempts} for share, attempts in trials.items()
        }
        done = sum("COMPLETE" in attempts for attempts in states.values())
        running = sum(
            "RUNNING" in attempts and "COMPLETE" not in attempts for attempts in states.values()
        )
        failed = tuple(
            (share, _reasons(attempts)[-1])
            for share, attempts in trials.items()
            if _has_failed(attempts)
        )
        return Counts(done, running, len(states) - done - running - len(failed), failed)

    def run_next(self, machine: str, train: Callable[[Share], float]) -> None:
        """Train the next share, if one is left, with heartbeats.

        Args:
            machine: Name of this machine.
            train: Trains a share and returns its max test accuracy; raises `ShareReleasedError` or
                `ShareFailedError` without one.

        Raises:
            BenchError: The storage does not answer.
        """
        active: list[_ActiveShare] = []

        def objective(trial: optuna.Trial) -> float:
            active.append(_ActiveShare(trial.number))
            return self._train_and_remember(trial, active[0], machine, train)

        try:
            with answering(self._storage):
                self._study.optimize(objective, n_trials=1)
        except Exception as error:
            if not active:  # no share was left
                raise
            if error is not active[0].error:
                self._report_again(active[0])
            elif not isinstance(error, ShareReleasedError | ShareFailedError):
                raise
        finally:
            if active and active[0].signal:
                raise active[0].signal

    def _train_and_remember(
        self,
        trial: optuna.Trial,
        active: _ActiveShare,
        machine: str,
        train: Callable[[Share], float],
    ) -> float:
        """Train a share and remember its result, since Optuna may fail to report it."""
        try:
            active.value = self._train_trial(trial, machine, train)
        except Exception as error:
            active.error = error
            raise
        except BaseException as signal:  # Optuna would leave the trial RUNNING
            active.error, active.signal = ShareReleasedError(), signal
            raise active.error from signal
        return active.value

    def _train_trial(
        self, trial: optuna.Trial, machine: str, train: Callable[[Share], float]
    ) -> float:
        text = trial.user_attrs.get(_SHARE)
        if text is None:  # the queue was empty, and Optuna created a new trial
            raise optuna.TrialPruned
        share = Share.model_validate_json(text)
        # The first heartbeat comes before anything else: without one the trial never gets stale.
        storage: Any = self._study._storage  # noqa: SLF001  # no public way
        storage.record_heartbeat(trial._trial_id)  # noqa: SLF001  # no public way
        trial.set_user_attr(_MACHINE, machine)
        if self._is_duplicate(share, trial.number):
            raise optuna.TrialPruned
        try:
            return train(share)
        except ShareFailedError as error:
            trial.set_user_attr(_FAILURE, str(error))
            raise

    def _is_duplicate(self, share: Share, number: int) -> bool:
        """Whether two machines queued the same share at once, and the other trial counts."""
        return any(
            trial.state.name == "COMPLETE"
            or (trial.state.name == "RUNNING" and trial.number < number)
            for trial in self._trials_by_share()[share]
        )

    def _report_again(self, active: _ActiveShare) -> None:
        """Report a result again that Optuna could not; the trial may be failed as stale by now."""
        failed = optuna.trial.TrialState.FAIL if active.value is None else None
        with answering(self._storage):
            self._study.tell(active.number, active.value, state=failed, skip_if_finished=True)

    def _fail_unowned(
        self, trials: Mapping[Share, Sequence[optuna.trial.FrozenTrial]]
    ) -> list[int]:
        """Fail trials whose process died before their first heartbeat; return their numbers."""
        unowned = [t.number for attempts in trials.values() for t in attempts
                    if t.state.name == "RUNNING" and _MACHINE not in t.user_attrs]  # fmt: skip
        with explained(self._storage):
            return self._unowned.fail_expired(self._study, unowned)

    def _queue(self, shares: Sequence[Share]) -> None:
        with explained(self._storage):
            for share in shares:
                self._study.enqueue_trial({}, user_attrs={_SHARE: share.model_dump_json()})

    def _trials_by_share(self) -> dict[Share, list[optuna.trial.FrozenTrial]]:
        """Trials of each share, the oldest first."""
        found: defaultdict[Share, list[optuna.trial.FrozenTrial]] = defaultdict(list)
        with explained(self._storage):
            trials = self._study.get_trials(deepcopy=False)
        for trial in trials:
            if text := trial.user_attrs.get(_SHARE):
                found[Share.model_validate_json(text)].append(trial)
        return found


def _is_active(trial: optuna.trial.FrozenTrial) -> bool:
    """Whether a trial has trained its share, or may still."""
    return trial.state.name in {"COMPLETE", "RUNNING", "WAITING"}


def _is_lost(trials: Sequence[optuna.trial.FrozenTrial]) -> bool:
    """Whether a share has no active trial and may be retried."""
    return not any(map(_is_active, trials)) and len(_reasons(trials)) < _MOST_FAILURES


def _has_failed(trials: Sequence[optuna.trial.FrozenTrial]) -> bool:
    """Whether a share has no active trial because it failed too often."""
    return not any(map(_is_active, trials)) and not _is_lost(trials)


def _reasons(trials: Sequence[optuna.trial.FrozenTrial]) -> list[str]:
    return [trial.user_attrs[_FAILURE] for trial in trials if _FAILURE in trial.user_attrs]
