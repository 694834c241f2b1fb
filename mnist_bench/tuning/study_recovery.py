"""Recovery of trials whose process is gone: orphans, stale trials, retries."""

from __future__ import annotations

import contextlib
import datetime as dt
from typing import TYPE_CHECKING

from mnist_bench.core.process_identity import ProcessIdentity
from mnist_bench.tuning.optuna_adapter import (
    DURATION,
    ELSEWHERE,
    OWNER,
    PAPER,
    REPEAT,
    RETRY,
    study_trial,
)
from mnist_bench.tuning.storage import explained
from mnist_bench.tuning.study_attributes import StudyAttributes
from mnist_bench.tuning.trial import StudyTrial

if TYPE_CHECKING:
    import optuna

    from mnist_bench.tuning.heartbeat import UnownedTrials

FAILED, REDUNDANT = "failed", "superfluous"
"""Trial attributes: its own process reported a failure; another trial counts for it."""
_ASK_TIME = dt.timedelta(minutes=1)
"""Longer than it takes `ask` to write the owner of a new trial."""


class StudyRecovery(StudyAttributes):
    """Recovery of trials whose process is gone, and retries."""

    is_shared: bool
    """Whether other machines may work on the study too."""
    _owner: ProcessIdentity
    _open: dict[int, optuna.Trial]
    _unowned: UnownedTrials | None = None

    @property
    def trials(self) -> tuple[StudyTrial, ...]:
        """All trials, by number."""
        with explained(self._storage):
            return tuple(map(study_trial, self._study.get_trials(deepcopy=False)))

    def enqueue_retry(self, number: int) -> None:
        """Queue a failed trial again, with the same values."""
        self._enqueue_retry(self._frozen(number))

    def repeat(self, trial: StudyTrial) -> None:
        """Queue a repeat of a trial: same values, another seed, never pruned."""
        attributes = {REPEAT: trial.number, PAPER: trial.is_papers}
        with explained(self._storage):
            self._study.enqueue_trial(trial.chosen, user_attrs=attributes)

    def orphans(self, *, alone: bool = False) -> tuple[int, ...]:
        """Numbers of RUNNING trials whose process is gone.

        Args:
            alone: Whether no other process can be working on the study: then even a new trial
                without an owner is an orphan.
        """
        with explained(self._storage):
            trials = self._study.get_trials(deepcopy=False)
        return tuple(
            trial.number
            for trial in trials
            if trial.state.name == "RUNNING" and self._is_orphan(trial, alone=alone)
        )

    def fail_stale(self) -> None:
        """Fail trials whose machine sends no heartbeats any more."""
        import optuna

        from mnist_bench.tuning.heartbeat import UnownedTrials

        self._unowned = self._unowned or UnownedTrials()
        with explained(self._storage):
            optuna.storages.fail_stale_trials(self._study)
            trials = self._study.get_trials(deepcopy=False)
            unowned = [t.number for t in trials
                        if t.state.name == "RUNNING" and OWNER not in t.user_attrs]  # fmt: skip
            self._unowned.fail_expired(self._study, unowned)

    def trials_to_retry(self) -> dict[int, bool]:
        """Failed trials to retry, and whether each was lost with its machine.

        A trial whose own process failed is retried once; the paper's until it finishes.
        """
        with explained(self._storage):
            trials = self._study.get_trials(deepcopy=False)
        retried = {trial.user_attrs.get(RETRY) for trial in trials}
        failed = {
            trial.number: trial.user_attrs
            for trial in trials
            if trial.state.name == "FAIL"
            and trial.number not in retried
            and REDUNDANT not in trial.user_attrs
        }
        is_lost = {
            number: self.is_shared and FAILED not in attributes
            for number, attributes in failed.items()
        }
        return {
            number: is_lost[number]
            for number, attributes in failed.items()
            if is_lost[number] or attributes.get(PAPER) or RETRY not in attributes
        }

    def take_over(self, number: int, seconds: float) -> bool:
        """Take over an orphan that has ended, to report its result.

        Args:
            number: Of the trial.
            seconds: Wall-clock seconds it took.

        Returns:
            False if another process was faster.
        """
        import optuna

        with (
            explained(self._storage),
            contextlib.suppress(optuna.exceptions.UpdateFinishedTrialError),
        ):
            # Optuna has no public way to open a trial that another process asked for.
            trial = optuna.trial.Trial(self._study, self._frozen(number)._trial_id)  # noqa: SLF001
            trial.set_user_attr(OWNER, self._owner.model_dump_json())
            trial.set_user_attr(DURATION, seconds)
            self._open[number] = trial
            return True
        return False

    def record_duration(self, number: int, seconds: float, machine_id: str | None) -> None:
        """Save the wall-clock seconds of a trial that another machine trained."""
        with explained(self._storage):
            self._open[number].set_user_attr(DURATION, seconds)
            self._open[number].set_user_attr(ELSEWHERE, machine_id or "")

    def fail_orphan(self, number: int) -> None:
        """Fail an orphan that has not ended, and queue its retry."""
        import optuna

        trial = self._frozen(number)
        if trial.state.name != "RUNNING":
            return
        self._enqueue_retry(trial)
        already_ended = (ValueError, optuna.exceptions.UpdateFinishedTrialError)
        with explained(self._storage), contextlib.suppress(*already_ended):  # by another process
            self._study.tell(number, state=optuna.trial.TrialState.FAIL)

    def _frozen(self, number: int) -> optuna.trial.FrozenTrial:
        with explained(self._storage):
            return self._study.get_trials(deepcopy=False)[number]

    def _enqueue_retry(self, trial: optuna.trial.FrozenTrial) -> None:
        """Queue a retry; call it before the trial is failed, or a kill in between loses it."""
        if any(each.retry_of == trial.number for each in self.trials):
            return
        # Its process may have died before all values were suggested.
        chosen = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
        copied = {key: trial.user_attrs[key] for key in (REPEAT,) if key in trial.user_attrs}
        is_papers = bool(trial.user_attrs.get(PAPER))
        attributes = {RETRY: trial.number, PAPER: is_papers, **copied}
        with explained(self._storage):
            self._study.enqueue_trial(chosen, user_attrs=attributes)

    def _is_orphan(self, trial: optuna.trial.FrozenTrial, *, alone: bool) -> bool:
        owner = ProcessIdentity.from_json(trial.user_attrs.get(OWNER))
        if owner is None and self.is_shared:
            return False  # maybe another machine's trial, whose clock may differ
        if owner is None:  # its process died within `ask`, or is just there
            begun = trial.datetime_start
            now = dt.datetime.now()  # noqa: DTZ005  # as Optuna has it
            return alone or begun is None or now - begun > _ASK_TIME
        return owner.ran_on(self._owner.machine_id) and owner.is_gone
