"""Optuna: the parts of a plan that machines share, queued, taken, and put back where one is lost.

A part is a trial of a study that suggests nothing: who asks for one is given the next in the queue.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import optuna
from pydantic import ValidationError

from mnist_bench.cluster.shared_plan import Share, SharedPlan
from mnist_bench.core.errors import another_version
from mnist_bench.tuning.heartbeat import Nameless
from mnist_bench.tuning.storage import answering, backend, explained, opening

_PLAN, _BOARD = "mnist-bench plan", "mnist-bench board"
_PART, _MACHINE, _FAILURE = "part", "machine", "failure"
_MOST_FAILURES = 2
"""Trainings of a part that fail, wherever: a third would fail as well."""


class LeftError(Exception):
    """A part was not trained to its end, through no fault of its own: another may take it."""


class FailedError(Exception):
    """A part's training failed."""


@dataclass(frozen=True)
class Counts:
    """How far a plan is.

    Attributes:
        done: Parts that are recorded.
        running: Parts in work.
        waiting: Parts that nobody has taken yet.
        failed: Parts that failed too often, with the last reason.
    """

    done: int
    running: int
    waiting: int
    failed: tuple[tuple[Share, str], ...]

    @property
    def parts(self) -> int:
        """All of them."""
        return self.done + self.running + self.waiting + len(self.failed)


def is_plan(attributes: Mapping[str, Any]) -> bool:
    """Whether a study of a storage is a shared plan, by what is kept with it."""
    return _PLAN in attributes


@dataclass
class _Taken:
    """A part that was taken.

    Attributes:
        number: Of its trial.
        value: What it came to.
        error: Why it came to nothing.
        signal: What the user ended it with.
    """

    number: int
    value: float | None = None
    error: Exception | None = None
    signal: BaseException | None = None


class PlanQueue:
    """A shared plan in its storage.

    Args:
        study: Optuna's.
        plan: What it asks.
        storage: Its URL, for what is said of it.
        nameless: Misses parts whose machine died before their first heartbeat.
    """

    def __init__(
        self,
        study: optuna.Study,
        plan: SharedPlan,
        storage: str,
        nameless: Nameless | None = None,
    ) -> None:
        self.plan = plan
        self._study, self._storage = study, storage
        self._nameless = nameless or Nameless()

    @classmethod
    def begun(cls, plan: SharedPlan, storage: str) -> Self:
        """The plan's study, made where it is not there.

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
    def opened(cls, name: str, storage: str) -> Self:
        """A plan's study that is there.

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
            raise another_version(f"the plan {name}") from error

    @property
    def board(self) -> str | None:
        """MLflow's id of the plan's own run, which is on the board that all record on."""
        with explained(self._storage):
            known: str | None = self._study.user_attrs.get(_BOARD)
        return known

    @board.setter
    def board(self, run_id: str) -> None:
        with explained(self._storage):
            self._study.set_user_attr(_BOARD, run_id)

    def add(self, parts: Iterable[Share]) -> int:
        """Queue the parts that are neither recorded, nor in work, nor queued; how many these are.

        One that failed too often is tried once more.
        """
        known = self._by_part()
        wanted = [part for part in parts if not any(map(_is_alive, known.get(part, ())))]
        self._queue(wanted)
        return len(wanted)

    def refreshed(self) -> Counts:
        """How far the plan is, once what vanished machines left is back in the queue."""
        with explained(self._storage):
            optuna.storages.fail_stale_trials(self._study)
        trials = self._by_part()
        if self._end_nameless(trials):
            trials = self._by_part()
        self._queue([part for part, of in trials.items() if _is_lost(of)])
        states = {part: {trial.state.name for trial in of} for part, of in trials.items()}
        done = sum("COMPLETE" in of for of in states.values())
        running = sum("RUNNING" in of and "COMPLETE" not in of for of in states.values())
        failed = tuple((part, _reasons(of)[-1]) for part, of in trials.items() if _has_failed(of))
        return Counts(done, running, len(states) - done - running - len(failed), failed)

    def work(self, machine: str, train: Callable[[Share], float]) -> None:
        """Take a part, if one is left, and have it trained; while it is, its heart beats.

        Args:
            machine: Who takes it, for people.
            train: Trains the part, and says what it came to; raises `LeftError` or `FailedError`
                where that is nothing.

        Raises:
            BenchError: The storage does not answer.
        """
        taken: list[_Taken] = []

        def objective(trial: optuna.Trial) -> float:
            taken.append(_Taken(trial.number))
            return self._seen_to_its_end(trial, taken[0], machine, train)

        try:
            with answering(self._storage):
                self._study.optimize(objective, n_trials=1)
        except Exception as error:
            if not taken:  # no part was given
                raise
            if error is not taken[0].error:
                self._tell_again(taken[0])
            elif not isinstance(error, LeftError | FailedError):
                raise
        finally:
            if taken and taken[0].signal:
                raise taken[0].signal

    def _seen_to_its_end(
        self, trial: optuna.Trial, taken: _Taken, machine: str, train: Callable[[Share], float]
    ) -> float:
        """Have a part trained, and remember what came of it: Optuna may fail to tell it."""
        try:
            taken.value = self._trained(trial, machine, train)
        except Exception as error:
            taken.error = error
            raise
        except BaseException as signal:  # Optuna would leave the trial RUNNING
            taken.error, taken.signal = LeftError(), signal
            raise taken.error from signal
        return taken.value

    def _trained(self, trial: optuna.Trial, machine: str, train: Callable[[Share], float]) -> float:
        text = trial.user_attrs.get(_PART)
        if text is None:  # others were faster: the queue was empty, and this trial is made for it
            raise optuna.TrialPruned
        part = Share.model_validate_json(text)
        # Its first heartbeat, before anything is said of it: without one it would never be missed.
        storage: Any = self._study._storage  # noqa: SLF001  # no public way
        storage.record_heartbeat(trial._trial_id)  # noqa: SLF001  # likewise
        trial.set_user_attr(_MACHINE, machine)
        if self._is_elsewhere(part, trial.number):
            raise optuna.TrialPruned
        try:
            return train(part)
        except FailedError as error:
            trial.set_user_attr(_FAILURE, str(error))
            raise

    def _is_elsewhere(self, part: Share, number: int) -> bool:
        """Whether two queued the same part at once, and the other one stands for it."""
        return any(
            trial.state.name == "COMPLETE"
            or (trial.state.name == "RUNNING" and trial.number < number)
            for trial in self._by_part()[part]
        )

    def _tell_again(self, taken: _Taken) -> None:
        """What Optuna could not tell its storage; another may have taken the trial for lost."""
        failed = optuna.trial.TrialState.FAIL if taken.value is None else None
        with answering(self._storage):
            self._study.tell(taken.number, taken.value, state=failed, skip_if_finished=True)

    def _end_nameless(
        self, trials: Mapping[Share, Sequence[optuna.trial.FrozenTrial]]
    ) -> list[int]:
        """Fail what was taken by a process that died before its first heartbeat; its trials."""
        nameless = [t.number for of in trials.values() for t in of
                    if t.state.name == "RUNNING" and _MACHINE not in t.user_attrs]  # fmt: skip
        with explained(self._storage):
            return self._nameless.end(self._study, nameless)

    def _queue(self, parts: Sequence[Share]) -> None:
        with explained(self._storage):
            for part in parts:
                self._study.enqueue_trial({}, user_attrs={_PART: part.model_dump_json()})

    def _by_part(self) -> dict[Share, list[optuna.trial.FrozenTrial]]:
        """The trials of each part, the oldest first."""
        found: defaultdict[Share, list[optuna.trial.FrozenTrial]] = defaultdict(list)
        with explained(self._storage):
            trials = self._study.get_trials(deepcopy=False)
        for trial in trials:
            if text := trial.user_attrs.get(_PART):
                found[Share.model_validate_json(text)].append(trial)
        return found


def _is_alive(trial: optuna.trial.FrozenTrial) -> bool:
    """Whether it stands for its part, or may yet."""
    return trial.state.name in {"COMPLETE", "RUNNING", "WAITING"}


def _is_lost(trials: Sequence[optuna.trial.FrozenTrial]) -> bool:
    """Whether nothing stands for a part, and it did not fail too often."""
    return not any(map(_is_alive, trials)) and len(_reasons(trials)) < _MOST_FAILURES


def _has_failed(trials: Sequence[optuna.trial.FrozenTrial]) -> bool:
    """Whether nothing stands for a part, since it failed too often."""
    return not any(map(_is_alive, trials)) and not _is_lost(trials)


def _reasons(trials: Sequence[optuna.trial.FrozenTrial]) -> list[str]:
    return [trial.user_attrs[_FAILURE] for trial in trials if _FAILURE in trial.user_attrs]
