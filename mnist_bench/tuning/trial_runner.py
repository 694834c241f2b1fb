"""Trials of a study one after the other: each asked for, trained or found recorded, and told."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace

from mnist_bench.core.errors import EXIT_BROKE, BenchError
from mnist_bench.core.retry import RETRY_SECONDS, Answer, Retry
from mnist_bench.core.signals import Terminated
from mnist_bench.results.run import RunResult, Trial
from mnist_bench.runner.executor import Outcome, Watcher
from mnist_bench.runner.plan import TrainingPlan
from mnist_bench.tracking.mlflow_store import MlflowStore
from mnist_bench.tuning.pruning_callback import PruningCallback
from mnist_bench.tuning.shared_study import SharedStudy
from mnist_bench.tuning.study import Study
from mnist_bench.tuning.trial import TrialRequest, is_done_elsewhere, is_superfluous, root_of
from mnist_bench.tuning.trial_plan import ENDS, TrialContext, TrialsEnd, plan_of, train
from mnist_bench.tuning.trial_results import tell

_MOST_FAILURES = 3
"""So many trials that fail one after the other end a study: the next would fail as well."""


@dataclass(frozen=True)
class SearchLimits:
    """When a study is at its end.

    Attributes:
        trials: So many that finished or were pruned; None where the study's leader says it.
        until: By the clock of `time.monotonic`; None where no time is set.
        waits: Whether what other machines have in work is waited for.
    """

    trials: int | None
    until: float | None
    waits: bool = True

    def of(self, shared: SharedStudy | None) -> int:
        """So many trials.

        Args:
            shared: What the leader asks for now.
        """
        if self.trials is not None:
            return self.trials
        return shared.trials if shared else 0


@dataclass(frozen=True)
class Search:
    """A study, and what this process works on it with.

    Attributes:
        study: Open.
        question: What the trials have in common.
        store: Open.
        watch: Gives somebody who is told how a trial goes.
        say: Told in one line what came of each, and what is waited for.
    """

    study: Study
    question: TrialContext
    store: MlflowStore
    watch: Callable[[TrainingPlan], AbstractContextManager[Watcher]]
    say: Callable[[str], None]

    @property
    def patience_seconds(self) -> float:
        """For so long a server of a study that machines share is waited for."""
        return RETRY_SECONDS if self.study.is_shared else 0.0

    def part_of(self, root: int) -> str:
        """What runs of a trial are known by on the board, those of what tries it again too.

        So one run alone counts of a trial that two machines trained.

        Args:
            root: Number of the first of these trials.
        """
        return f"{self.question.parent_run_id}-{root}"

    def patiently(self, call: Callable[[], Answer]) -> Answer:
        """Call something again until it is answered.

        Raises:
            BenchError: It was not for too long; or at once, where nobody shares the study.
        """
        return Retry(self.say, self.patience_seconds).until_answered(call)


@dataclass(frozen=True)
class Wait:
    """Nothing is to be done for the moment; for what is waited."""

    in_words: str


Next = TrialsEnd | Wait | None
"""Why there is an end, for what is waited, or that a trial is to be trained."""


class TrialRunner:
    """Trials that are trained one after the other.

    Args:
        search: The study.
        what_next: Asked before each.
        news: Told the number of each that has ended.
        limits: Of the search; None where its repeats are trained.
    """

    def __init__(
        self,
        search: Search,
        what_next: Callable[[], Next],
        news: Callable[[int], None],
        limits: SearchLimits | None = None,
    ) -> None:
        self._search, self._what_next, self._news, self._limits = search, what_next, news, limits
        self._study = search.study
        self._patience = Retry(search.say, search.patience_seconds)
        self._failures: list[RunResult | None] = []

    def taken(self) -> TrialsEnd:
        """Go on until there is an end.

        Raises:
            BenchError: A server was away for too long.
        """
        try:
            while (ended := self._one()) is None:
                pass
        except (KeyboardInterrupt, Terminated):
            if self._study.is_shared:  # else the next command here settles it
                self._study.put_away()
            raise
        return ended

    def _one(self) -> TrialsEnd | None:
        """A trial, or a moment's wait; why it is the end, None where it is not."""
        try:
            after = self._what_next()
            if after is None:
                return self._trial()
            self._patience.answered()
        except BenchError as error:
            self._study.let_go()
            self._patience.bear(error)
            return None
        if isinstance(after, Wait):
            self._patience.wait(after.in_words)
            return None
        return after

    def _trial(self) -> TrialsEnd | None:
        """Have one trained; why it is the last, None where it is not."""
        study = self._study
        asked = study.ask()
        self._patience.answered()  # not by reading alone: a full disk can be read too
        limit = self._limits.of(study.search) if self._limits else None
        if study.is_shared and is_superfluous(study.trials, asked.number, limit):
            study.superfluous(asked.number)
            return None
        plan = _trial_of(self._search, asked)
        # Its heart beats on while a server is waited for.
        recorded = self._patience.until_answered(
            lambda: _recorded(self._search, asked.number, plan)
        )
        outcome = recorded or self._trained(plan, asked.number)
        self._patience.answered()  # a training ago: whatever is away now is so anew
        if outcome.exit_status or (study.is_shared and outcome.error):
            return self._cut_short(asked.number, outcome)
        run = outcome.results[0] if outcome.results else None
        self._patience.until_answered(lambda: self._told(asked.number, run))
        return self._end_of_failures(run)

    def _told(self, number: int, run: RunResult | None) -> None:
        study = self._study
        if study.is_shared and is_done_elsewhere(study.trials, number):
            self._drop(number, run)
        else:
            tell(study, self._search.question.goal, number, run)
        self._news(number)

    def _drop(self, number: int, run: RunResult | None) -> None:
        """Another trial counts for this one: its run must not, unless it is that one's."""
        study, run_id = self._study, run.run_id if run else None
        kept = any(trial.is_settled and trial.run_id == run_id for trial in study.trials)
        if run and run_id and run.status == "finished" and not kept:
            self._search.store.give_up(run_id, "another trial counts for it")
        if study.is_ours(number):
            study.superfluous(number)
        else:
            study.let_go()

    def _cut_short(self, number: int, outcome: Outcome) -> TrialsEnd:
        """The trial was ended with its command, or its run can't be recorded."""
        run = outcome.results[0] if outcome.results else None
        with suppress(*(BenchError,) if self._study.is_shared else ()):
            if self._study.is_shared and outcome.error:  # its run waits in a journal here
                self._study.interrupted(number)
            else:
                self._told(number, run)
        self._study.let_go()
        status = outcome.exit_status or EXIT_BROKE
        return TrialsEnd(status, outcome.error, ENDS[status])

    def _trained(self, plan: TrainingPlan, number: int) -> Outcome:
        search, steps = self._search, plan.scenario.steps[-1]
        with search.watch(plan) as watcher:
            judge = PruningCallback(search.study, search.question.goal, number, steps, watcher)
            return train(
                search.question,
                search.store,
                plan,
                judge,
                prune=judge.reason,
                patience_seconds=search.patience_seconds,
            )

    def _end_of_failures(self, run: RunResult | None) -> TrialsEnd | None:
        has_failed = run is None or run.status == "failed"
        self._failures = [*self._failures, run] if has_failed else []
        if len(self._failures) < _MOST_FAILURES:
            return None
        return TrialsEnd(
            EXIT_BROKE, _all_fail(self._failures[0]), "trials fail, one after the other"
        )


def _trial_of(search: Search, asked: TrialRequest) -> TrainingPlan:
    """The training of one trial; its seed is its number, so that no two trials share one."""
    study, question = search.study, search.question
    plan = plan_of(study.name, question, asked.chosen, asked.number)
    trial = Trial(study=study.name, number=asked.number, parent_run_id=question.parent_run_id)
    if study.is_shared:
        part = search.part_of(root_of(study.trials, asked.number))
        plan = replace(plan, trajectories=tuple(replace(t, part=part) for t in plan.trajectories))
    return replace(plan, trial=trial)


def _recorded(search: Search, number: int, plan: TrainingPlan) -> Outcome | None:
    """What was recorded of a trial and lost to the study; None where there is nothing."""
    part = plan.trajectories[0].part
    for run_id in search.store.recorded_of(part) if part else ():
        run = search.store.load(run_id)
        if run is not None:
            search.say(f"trial {number} had come to its end elsewhere: it counts")
            search.study.took(number, sum(run.seconds.values()), run.machine_id)
            return Outcome((run,))
        if search.store.keeps(run_id, "result.json"):
            raise BenchError(
                f"the record of run {run_id} can't be read", "see whether its server answers",
                exit_status=EXIT_BROKE,
            )  # fmt: skip
        # Else whatever is trained now would find it there, and end as the second.
        search.store.give_up(run_id, "it has no result.json")
    return None


def _all_fail(first: RunResult | None) -> BenchError:
    reason = (first.failure if first else None) or "no training process could be started"
    return BenchError(
        f"{_MOST_FAILURES} trials failed one after the other, the first: {reason}",
        "the end of the last one's log stands above",
        exit_status=EXIT_BROKE,
    )
