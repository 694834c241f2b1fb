"""Optuna: a study is opened, asked for trials, and told of them."""

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
    OWNER,
    PAPER,
    REPEAT,
    RUN_ID,
    SEEN,
    importances_of,
    study_trial,
    suggested,
)
from mnist_bench.tuning.pruning import pruner_of
from mnist_bench.tuning.space import Space, Value
from mnist_bench.tuning.storage import backend, explained, opening
from mnist_bench.tuning.study_recovery import FAILED, SUPERFLUOUS, StudyRecovery
from mnist_bench.tuning.study_spec import StudySpec
from mnist_bench.tuning.trial import StudyTrial, TrialRequest

if TYPE_CHECKING:
    import optuna

    from mnist_bench.tuning.heartbeat import Heartbeat

SAMPLER_SEED = 0
"""So that the same study, asked by one process without a break, suggests the same."""

SPEC = "mnist-bench"
"""Attribute of a study: what it asks."""
_SEEDS_A_MEMBER = 1_000_000
_QUIET_SECONDS = 30.0
"""For so long a storage that was away is not told what can do without."""
_LEAST_FOR_IMPORTANCES = 10
"""Finished trials: fewer tell nothing of what matters."""


class Study(StudyRecovery):
    """An open study.

    In a database, which other machines may share, a trial's heart beats while it is trained, and
    what becomes of it is told only as long as it is this process's.

    Args:
        name: Of the study.
        storage: A database's URL; None for the journal in `mlruns`.
        space: What may be tried.
        goal: What it is after.
        owner: This process.
        machine: What its trials' machine is called.
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
        owner: ProcessIdentity,
        *,
        machine: str | None = None,
        member: int = 0,
        images: str | None = None,
    ) -> None:
        import optuna

        self.name = name
        self._question = StudySpec(space, goal, images)
        self._space, self._goal, self._owner, self._machine = space, goal, owner, machine
        self._storage = storage
        self.is_shared = storage is not None
        self._quiet_until = 0.0
        self._open: dict[int, optuna.Trial] = {}
        self._hearts: dict[int, Heartbeat] = {}
        with explained(storage), opening(storage):
            self._kept = backend(storage)
            self._study = optuna.create_study(
                storage=self._kept,
                study_name=name,
                directions=list(goal.directions),
                load_if_exists=True,
                pruner=pruner_of(goal),
            )
            earlier = self._study.get_trials(deepcopy=False)
            self.is_new = SPEC not in self._study.user_attrs
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
            self._study.set_user_attr(SPEC, self._question.to_attribute())

    @property
    def best(self) -> tuple[StudyTrial, ...]:
        """The best feasible trial; of a trade-off all that no other one beats; or none."""
        if len(self._goal.directions) == 1:
            return tuple(ranked(self.trials, self._goal)[:1])
        with explained(self._storage):
            return tuple(map(study_trial, self._study.best_trials))

    def ask(self) -> TrialRequest:
        """A new trial, which then is this process's."""
        with explained(self._storage):
            trial = self._study.ask()
            self._begin_to_beat(trial)
            trial.set_user_attr(OWNER, self._owner.model_dump_json())
            if self._machine:
                trial.set_user_attr(MACHINE, self._machine)
            chosen: dict[str, Value] = {}
            for name, parameter in self._space.parameters.items():
                if parameter.is_asked(chosen):
                    chosen[name] = suggested(trial, name, parameter)
        self._open[trial.number] = trial
        return TrialRequest(trial.number, chosen, is_papers=bool(trial.user_attrs.get(PAPER)))

    def recorded(self, number: int, run_id: str, **seen: float | str | None) -> None:
        """Keep MLflow's id of a trial's run, and what was seen of it, under `StudyTrial`'s names."""
        with explained(self._storage):
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

        def is_behind() -> bool:
            trial.report(progress, percent)
            return not self.is_whole(number) and bool(trial.should_prune())

        return self._in_passing(is_behind)

    def came(self, number: int, percent: int, progress: float) -> None:
        """Tell how far a trial has come where nothing is compared."""
        if self._goal.prunes:
            trial = self._open[number]

            def come() -> bool:
                trial.report(progress, percent)
                return False

            self._in_passing(come)

    def is_whole(self, number: int) -> bool:
        """Whether a trial comes to its end in any case: the paper's, and what is trained again."""
        known = self._open[number].user_attrs
        return bool(known.get(PAPER)) or known.get(REPEAT) is not None

    def finished(self, number: int, values: tuple[float, ...], missed: Mapping[str, float]) -> None:
        """A trial has come to its end."""
        self._constrain(number, missed)
        with explained(self._storage):
            trial, missed_ok = self._open[number], self.is_shared
            self._study.tell(trial, list(values), skip_if_finished=missed_ok)
        self._give_back(number)

    def pruned(self, number: int, missed: Mapping[str, float]) -> None:
        """A trial was ended since others are ahead, or since it can be no answer any more."""
        self._constrain(number, missed)
        self._tell(number, "PRUNED")

    def failed(self, number: int) -> None:
        """A trial did not come to its end; it is not counted."""
        with explained(self._storage):
            self._open[number].set_user_attr(FAILED, value=True)
        self._tell(number, "FAIL")

    def superfluous(self, number: int) -> None:
        """A trial need not be trained, since another one stands for it."""
        with explained(self._storage):
            self._open[number].set_user_attr(SUPERFLUOUS, value=True)
        self._tell(number, "FAIL")

    def is_ours(self, number: int) -> bool:
        """Whether a trial that this process asked for is still its own: it may have been missed."""
        return number in self._open and self._frozen(number).state.name == "RUNNING"

    def put_away(self) -> None:
        """Give back what this process has in work, as far as the storage answers."""
        for number in [*self._open]:
            with contextlib.suppress(BenchError):
                if self.is_ours(number):
                    self.interrupted(number)
        self.let_go()

    def let_go(self) -> None:
        """Leave what this process has in work to whoever misses it."""
        for heart in self._hearts.values():
            heart.stop()
        self._hearts.clear()
        self._open.clear()

    def interrupted(self, number: int) -> None:
        """A trial was ended with its command: it is tried again when the study goes on."""
        self.try_again(number)
        self._tell(number, "FAIL")

    def importances(self) -> dict[str, float]:
        """How much each parameter matters for the first value, adding up to 1; or nothing."""
        finished = [trial for trial in self.trials if trial.state == "finished"]
        if len(finished) < _LEAST_FOR_IMPORTANCES:
            return {}
        with explained(self._storage):
            return importances_of(self._study)

    def _constrain(self, number: int, missed: Mapping[str, float]) -> None:
        """The sampler learns from what a constraint was missed by, of pruned trials too."""
        with explained(self._storage):
            for name, value in missed.items():
                self._open[number].set_constraint(name, value)

    def _tell(self, number: int, state: str) -> None:
        import optuna

        with explained(self._storage):
            trial, told = self._open[number], optuna.trial.TrialState[state]
            self._study.tell(trial, state=told, skip_if_finished=self.is_shared)
        self._give_back(number)

    def _begin_to_beat(self, trial: optuna.Trial) -> None:
        """Where machines share it; before anything is said of the trial, or it is never missed."""
        if self.is_shared:
            from mnist_bench.tuning.heartbeat import Heartbeat

            # Optuna's own threads beat only within `optimize`, to which trials would be a callback.
            self._hearts[trial.number] = Heartbeat(self._kept, trial._trial_id)  # noqa: SLF001

    def _give_back(self, number: int) -> None:
        """This process works on a trial no more."""
        del self._open[number]
        if number in self._hearts:
            self._hearts.pop(number).stop()

    def _in_passing(self, say: Callable[[], bool]) -> bool:
        """Tell what a trial can do without; False where the storage is away.

        A database that machines share may be silent for a while, and costs a timeout each time it
        is asked; and a trial may have been missed.
        """
        if time.monotonic() < self._quiet_until:
            return False
        try:
            with explained(self._storage):
                return say()
        except BenchError:
            if not self.is_shared:
                raise
            self._quiet_until = time.monotonic() + _QUIET_SECONDS
            return False

    def _refuse_another_question(self) -> None:
        difference = self._question.difference(self._study.user_attrs[SPEC])
        if difference:
            raise self._another(difference)

    def _another(self, what: str) -> BenchError:
        return BenchError(
            f"the study {self.name} exists with another {what}",
            "choose another --study, or give the same again",
        )
