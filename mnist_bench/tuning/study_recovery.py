"""What processes and machines left of a study's trials: missed, adopted, tried again."""

from __future__ import annotations

import contextlib
import datetime as dt
from typing import TYPE_CHECKING

from mnist_bench.core.process_identity import ProcessIdentity
from mnist_bench.tuning.optuna_adapter import (
    ELSEWHERE,
    OWNER,
    PAPER,
    REPEAT,
    RETRY,
    TOOK,
    study_trial,
)
from mnist_bench.tuning.storage import explained
from mnist_bench.tuning.study_attributes import StudyAttributes
from mnist_bench.tuning.trial import StudyTrial

if TYPE_CHECKING:
    import optuna

    from mnist_bench.tuning.heartbeat import Nameless

FAILED, SUPERFLUOUS = "failed", "superfluous"
"""Attributes of a trial: that its own process failed it, that another one stands for it."""
_ASK_TIME = dt.timedelta(minutes=1)
"""Longer than a trial is without an owner, from its beginning on."""


class StudyRecovery(StudyAttributes):
    """Trials of a study whose process is gone, and those that are tried again."""

    is_shared: bool
    """Whether other machines may work on it too."""
    _owner: ProcessIdentity
    _open: dict[int, optuna.Trial]
    _nameless: Nameless | None = None

    @property
    def trials(self) -> tuple[StudyTrial, ...]:
        """All trials, by number."""
        with explained(self._storage):
            return tuple(map(study_trial, self._study.get_trials(deepcopy=False)))

    def try_again(self, number: int) -> None:
        """Have a trial that failed trained once more, from its own values."""
        self._try_again(self._frozen(number))

    def repeat(self, trial: StudyTrial) -> None:
        """Have a trial's values trained once more, from another seed, to the end."""
        attributes = {REPEAT: trial.number, PAPER: trial.is_papers}
        with explained(self._storage):
            self._study.enqueue_trial(trial.chosen, user_attrs=attributes)

    def orphans(self, *, alone: bool = False) -> tuple[int, ...]:
        """The trials that are RUNNING and whose process is gone.

        Args:
            alone: Whether nobody else can be at work on the study: then a trial that names no
                process was left by one that is gone, however short ago.
        """
        with explained(self._storage):
            trials = self._study.get_trials(deepcopy=False)
        return tuple(
            trial.number
            for trial in trials
            if trial.state.name == "RUNNING" and self._is_orphan(trial, alone=alone)
        )

    def end_silent(self) -> None:
        """Fail the trials of machines that fell silent."""
        import optuna

        from mnist_bench.tuning.heartbeat import Nameless

        self._nameless = self._nameless or Nameless()
        with explained(self._storage):
            optuna.storages.fail_stale_trials(self._study)
            trials = self._study.get_trials(deepcopy=False)
            nameless = [t.number for t in trials
                        if t.state.name == "RUNNING" and OWNER not in t.user_attrs]  # fmt: skip
            self._nameless.end(self._study, nameless)

    def owed(self) -> dict[int, bool]:
        """Failed trials that are to be tried again, and whether each one's machine fell silent.

        One whose own process failed it is tried again once; the paper's until it finishes.
        """
        with explained(self._storage):
            trials = self._study.get_trials(deepcopy=False)
        again = {trial.user_attrs.get(RETRY) for trial in trials}
        left = {
            trial.number: trial.user_attrs
            for trial in trials
            if trial.state.name == "FAIL"
            and trial.number not in again
            and SUPERFLUOUS not in trial.user_attrs
        }
        is_lost = {number: self.is_shared and FAILED not in told for number, told in left.items()}
        return {
            number: is_lost[number]
            for number, told in left.items()
            if is_lost[number] or told.get(PAPER) or RETRY not in told
        }

    def adopt(self, number: int, seconds: float) -> bool:
        """Take over an orphan that had come to its end, to tell how.

        Args:
            number: Of the trial.
            seconds: Wall-clock seconds that it took.

        Returns:
            False where another process was faster.
        """
        import optuna

        with (
            explained(self._storage),
            contextlib.suppress(optuna.exceptions.UpdateFinishedTrialError),
        ):
            # Optuna gives a trial only to who asked for it, and by a number of the storage's.
            trial = optuna.trial.Trial(self._study, self._frozen(number)._trial_id)  # noqa: SLF001
            trial.set_user_attr(OWNER, self._owner.model_dump_json())
            trial.set_user_attr(TOOK, seconds)
            self._open[number] = trial
            return True
        return False

    def took(self, number: int, seconds: float, machine_id: str | None) -> None:
        """Keep what a trial took on another machine, which did it."""
        with explained(self._storage):
            self._open[number].set_user_attr(TOOK, seconds)
            self._open[number].set_user_attr(ELSEWHERE, machine_id or "")

    def left_behind(self, number: int) -> None:
        """Fail an orphan that did not come to its end, and have it tried again."""
        import optuna

        trial = self._frozen(number)
        if trial.state.name != "RUNNING":
            return
        self._try_again(trial)
        faster = (ValueError, optuna.exceptions.UpdateFinishedTrialError)
        with explained(self._storage), contextlib.suppress(*faster):  # another process was
            self._study.tell(number, state=optuna.trial.TrialState.FAIL)

    def _frozen(self, number: int) -> optuna.trial.FrozenTrial:
        with explained(self._storage):
            return self._study.get_trials(deepcopy=False)[number]

    def _try_again(self, trial: optuna.trial.FrozenTrial) -> None:
        """Have a trial's values trained once more; before it is failed, lest a kill lose them."""
        if any(each.retry_of == trial.number for each in self.trials):
            return
        # It may have been left before all was chosen of what it was to be.
        chosen = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
        kept = {key: trial.user_attrs[key] for key in (REPEAT,) if key in trial.user_attrs}
        is_papers = bool(trial.user_attrs.get(PAPER))
        attributes = {RETRY: trial.number, PAPER: is_papers, **kept}
        with explained(self._storage):
            self._study.enqueue_trial(chosen, user_attrs=attributes)

    def _is_orphan(self, trial: optuna.trial.FrozenTrial, *, alone: bool) -> bool:
        owner = ProcessIdentity.told(trial.user_attrs.get(OWNER))
        if owner is None and self.is_shared:
            return False  # perhaps another machine's, whose clock may be another
        if owner is None:  # left between two lines of `ask`; or just there, by another process
            begun = trial.datetime_start
            now = dt.datetime.now()  # noqa: DTZ005  # as Optuna has it
            return alone or begun is None or now - begun > _ASK_TIME
        return owner.belongs_to(self._owner.machine_id) and owner.is_gone
