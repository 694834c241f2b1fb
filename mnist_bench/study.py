"""Optuna: a study is opened, asked for trials, and told of them."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mnist_bench.errors import BenchError
from mnist_bench.finalists import ranked
from mnist_bench.objective import Goal
from mnist_bench.optuna_trial import (
    PAPER,
    REPEAT,
    RETRY,
    RUN_ID,
    SEEN,
    TOOK,
    importances_of,
    suggested,
    tried_of,
)
from mnist_bench.owner import Owner
from mnist_bench.pruning import pruner_of
from mnist_bench.space import Space, Value
from mnist_bench.study_question import StudyQuestion
from mnist_bench.study_storage import backend, explained, opening
from mnist_bench.tried import Asked, Tried

if TYPE_CHECKING:
    import optuna

SAMPLER_SEED = 0
"""So that the same study, asked by one process without a break, suggests the same."""

_QUESTION = "mnist-bench"
_LOOKS = "looks at the test split"
_COMMANDS = "commands"
_OWNER = "owner"
_SEEDS_A_MEMBER = 1_000_000
_LEAST_FOR_IMPORTANCES = 10
"""Finished trials: fewer tell nothing of what matters."""
_ASK_TIME = dt.timedelta(minutes=1)
"""Longer than a trial is without an owner, from its beginning on."""


class Study:
    """An open study.

    Args:
        name: Of the study.
        storage: A database's URL; None for the journal in `mlruns`.
        space: What may be tried.
        goal: What it is after.
        owner: This process.
        member: Its number among processes that share the study.
        images: Digest of the images that its trials train on; None where they are not known.

    Raises:
        BenchError: The storage can't be used, or holds a study of that name that asks another
            question.
    """

    def __init__(
        self,
        name: str,
        storage: str | None,
        space: Space,
        goal: Goal,
        owner: Owner,
        *,
        member: int = 0,
        images: str | None = None,
    ) -> None:
        import optuna

        self.name = name
        self._question = StudyQuestion(space, goal, images)
        self._space, self._goal, self._owner = space, goal, owner
        self._storage = storage
        self._open: dict[int, optuna.Trial] = {}
        with explained(storage), opening(storage):
            self._study = optuna.create_study(
                storage=backend(storage),
                study_name=name,
                directions=list(goal.directions),
                load_if_exists=True,
                pruner=pruner_of(goal),
            )
            earlier = self._study.get_trials(deepcopy=False)
            self.is_new = _QUESTION not in self._study.user_attrs
        if self.is_new:
            self._begin(earlier)
        self._refuse_another_question()
        with explained(storage):
            self._study.sampler = optuna.samplers.TPESampler(
                # Another one after each break, or the first suggestions would come again.
                seed=SAMPLER_SEED + (0 if self.is_new else len(earlier)) + member * _SEEDS_A_MEMBER,
                group=space.is_conditional,
            )

    def _begin(self, earlier: Sequence[optuna.trial.FrozenTrial]) -> None:
        """Write a new study's question, last of all: who is killed before leaves one to begin."""
        directions = tuple(each.name.lower() for each in self._study.directions)
        ours = all(trial.user_attrs.get(PAPER) for trial in earlier)
        if not ours or directions != self._goal.directions:
            raise self._another("question")
        with explained(self._storage):
            if not earlier:
                self._study.enqueue_trial(self._space.of_the_paper(), user_attrs={PAPER: True})
            self._study.set_user_attr(_QUESTION, self._question.to_attribute())

    @property
    def trials(self) -> tuple[Tried, ...]:
        """All trials, by number."""
        with explained(None):
            return tuple(map(tried_of, self._study.get_trials(deepcopy=False)))

    @property
    def best(self) -> tuple[Tried, ...]:
        """The best feasible trial; of a trade-off all that no other one beats; or none."""
        if len(self._goal.directions) == 1:
            return tuple(ranked(self.trials, self._goal)[:1])
        with explained(None):
            return tuple(map(tried_of, self._study.best_trials))

    def ask(self) -> Asked:
        """A new trial, which then is this process's."""
        with explained(None):
            trial = self._study.ask()
            trial.set_user_attr(_OWNER, self._owner.model_dump_json())
            chosen: dict[str, Value] = {}
            for name, parameter in self._space.parameters.items():
                if parameter.is_asked(chosen):
                    chosen[name] = suggested(trial, name, parameter)
        self._open[trial.number] = trial
        return Asked(trial.number, chosen, is_papers=bool(trial.user_attrs.get(PAPER)))

    def recorded(self, number: int, run_id: str, **seen: float | str | None) -> None:
        """Keep MLflow's id of a trial's run, and what was seen of it, under `Tried`'s names."""
        with explained(None):
            self._open[number].set_user_attr(RUN_ID, run_id)
            self._open[number].set_user_attr(SEEN, seen)

    def should_end(self, number: int, percent: int, progress: float) -> bool:
        """Tell how far a trial has come; whether it should end, others being ahead there.

        Args:
            number: Of the trial.
            percent: Of its way that is done; others are compared at the same.
            progress: By what trials are compared.
        """
        if not self._goal.prunes:
            return False
        trial = self._open[number]
        with explained(None):
            trial.report(progress, percent)
            return not self.is_whole(number) and bool(trial.should_prune())

    def came(self, number: int, percent: int, progress: float) -> None:
        """Tell how far a trial has come where nothing is compared."""
        if self._goal.prunes:
            with explained(None):
                self._open[number].report(progress, percent)

    def is_whole(self, number: int) -> bool:
        """Whether a trial comes to its end in any case: the paper's, and what is trained again."""
        known = self._open[number].user_attrs
        return bool(known.get(PAPER)) or known.get(REPEAT) is not None

    def finished(self, number: int, values: tuple[float, ...], missed: Mapping[str, float]) -> None:
        """A trial has come to its end."""
        self._constrain(number, missed)
        with explained(None):
            self._study.tell(self._open.pop(number), list(values))

    def pruned(self, number: int, missed: Mapping[str, float]) -> None:
        """A trial was ended since others are ahead, or since it can be no answer any more."""
        self._constrain(number, missed)
        self._tell(number, "PRUNED")

    def failed(self, number: int) -> None:
        """A trial did not come to its end; it is not counted."""
        self._tell(number, "FAIL")

    @property
    def run_id(self) -> str | None:
        """MLflow's id of the study's own run; None where it has none yet."""
        with explained(None):
            known: str | None = self._study.user_attrs.get(RUN_ID)
        return known

    @run_id.setter
    def run_id(self, run_id: str) -> None:
        with explained(None):
            self._study.set_user_attr(RUN_ID, run_id)

    @property
    def looks(self) -> tuple[str, ...]:
        """What was written down of each look at the test split, as JSON, the oldest first."""
        with explained(None):
            return tuple(self._study.user_attrs.get(_LOOKS, ()))

    def keep_look(self, number: int, look: str) -> None:
        """Write a look down, or what came of it.

        Args:
            number: Of the look, from 1 on; a new one, or the last.
            look: As JSON.
        """
        with explained(None):
            kept = [*self.looks[: number - 1], look]
            self._study.set_user_attr(_LOOKS, kept)

    @property
    def commands(self) -> tuple[str, ...]:
        """The command lines that have worked on it, the oldest first."""
        with explained(None):
            return tuple(self._study.user_attrs.get(_COMMANDS, ()))

    def keep_command(self, command: str) -> None:
        """Write down that a command line works on it."""
        with explained(None):
            self._study.set_user_attr(_COMMANDS, [*self.commands, command])

    def interrupted(self, number: int) -> None:
        """A trial was ended with its command: it is tried again when the study goes on."""
        self.try_again(number)
        self.failed(number)

    def try_again(self, number: int) -> None:
        """Have a trial that failed trained once more, from its own values."""
        self._try_again(self._frozen(number))

    def repeat(self, trial: Tried) -> None:
        """Have a trial's values trained once more, from another seed, to the end."""
        attributes = {REPEAT: trial.number, PAPER: trial.is_papers}
        with explained(None):
            self._study.enqueue_trial(trial.chosen, user_attrs=attributes)

    def orphans(self, *, alone: bool = False) -> tuple[int, ...]:
        """The trials that are RUNNING and whose process is gone.

        Args:
            alone: Whether nobody else can be at work on the study: then a trial that names no
                process was left by one that is gone, however short ago.
        """
        with explained(None):
            trials = self._study.get_trials(deepcopy=False)
        return tuple(
            trial.number
            for trial in trials
            if trial.state.name == "RUNNING" and self._is_orphan(trial, alone=alone)
        )

    def adopt(self, number: int, seconds: float) -> bool:
        """Take over an orphan that had come to its end, to tell how.

        Args:
            number: Of the trial.
            seconds: Wall-clock seconds that it took.

        Returns:
            False where another process was faster.
        """
        import optuna

        with explained(None), contextlib.suppress(optuna.exceptions.UpdateFinishedTrialError):
            # Optuna gives a trial only to who asked for it, and by a number of the storage's.
            trial = optuna.trial.Trial(self._study, self._frozen(number)._trial_id)  # noqa: SLF001
            trial.set_user_attr(_OWNER, self._owner.model_dump_json())
            trial.set_user_attr(TOOK, seconds)
            self._open[number] = trial
            return True
        return False

    def left_behind(self, number: int) -> None:
        """Fail an orphan that did not come to its end, and have it tried again."""
        import optuna

        trial = self._frozen(number)
        if trial.state.name != "RUNNING":
            return
        self._try_again(trial)
        faster = (ValueError, optuna.exceptions.UpdateFinishedTrialError)
        with explained(None), contextlib.suppress(*faster):  # another process was
            self._study.tell(number, state=optuna.trial.TrialState.FAIL)

    def _frozen(self, number: int) -> optuna.trial.FrozenTrial:
        with explained(None):
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
        with explained(None):
            self._study.enqueue_trial(chosen, user_attrs=attributes)

    def importances(self) -> dict[str, float]:
        """How much each parameter matters for the first value, adding up to 1; or nothing."""
        finished = [trial for trial in self.trials if trial.state == "finished"]
        if len(finished) < _LEAST_FOR_IMPORTANCES:
            return {}
        with explained(None):
            return importances_of(self._study)

    def _constrain(self, number: int, missed: Mapping[str, float]) -> None:
        """The sampler learns from what a constraint was missed by, of pruned trials too."""
        with explained(None):
            for name, value in missed.items():
                self._open[number].set_constraint(name, value)

    def _tell(self, number: int, state: str) -> None:
        import optuna

        with explained(None):
            self._study.tell(self._open.pop(number), state=optuna.trial.TrialState[state])

    def _is_orphan(self, trial: optuna.trial.FrozenTrial, *, alone: bool) -> bool:
        owner = Owner.told(trial.user_attrs.get(_OWNER))
        if owner is None:  # left between two lines of `ask`; or just there, by another process
            begun = trial.datetime_start
            now = dt.datetime.now()  # noqa: DTZ005  # as Optuna has it
            return alone or begun is None or now - begun > _ASK_TIME
        return owner.belongs_to(self._owner.machine_id) and owner.is_gone

    def _refuse_another_question(self) -> None:
        difference = self._question.difference(self._study.user_attrs[_QUESTION])
        if difference:
            raise self._another(difference)

    def _another(self, what: str) -> BenchError:
        return BenchError(
            f"the study {self.name} exists with another {what}",
            "choose another --study, or give the same again",
        )
