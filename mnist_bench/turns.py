"""A study's trials trained one after the other, as this process takes its turns at them."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from typing import TypeVar

from mnist_bench import units
from mnist_bench.errors import EXIT_BROKE, BenchError
from mnist_bench.finalists import owed
from mnist_bench.harness import Outcome, Watcher
from mnist_bench.interruption import Terminated
from mnist_bench.judge import Judge
from mnist_bench.layout import Plan
from mnist_bench.objective import Goal
from mnist_bench.patience import PATIENCE_SECONDS, Patience, in_work_elsewhere
from mnist_bench.result import RunResult, Trial
from mnist_bench.store import Store
from mnist_bench.study import Study
from mnist_bench.trial_end import retry_failed, tell
from mnist_bench.trials import ENDS, Ended, Question, plan_of, train
from mnist_bench.tried import Asked, Tried, is_done_elsewhere, is_superfluous, root_of

Answer = TypeVar("Answer")

_MOST_FAILURES = 3
"""So many trials that fail one after the other end a study: the next would fail as well."""


@dataclass(frozen=True)
class Limits:
    """When a study is at its end.

    Attributes:
        trials: So many that finished or were pruned.
        until: By the clock of `time.monotonic`; None where no time is set.
    """

    trials: int
    until: float | None


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
    question: Question
    store: Store
    watch: Callable[[Plan], AbstractContextManager[Watcher]]
    say: Callable[[str], None]


@dataclass(frozen=True)
class _Wait:
    """Nothing is to be done for the moment; for what is waited."""

    in_words: str


_Next = Ended | _Wait | None
"""Why there is an end, for what is waited, or that a trial is to be trained."""


def train_all(search: Search, limits: Limits) -> Ended:
    """Train trials until there are enough of them, or the time is up.

    A trial that was begun in time comes to its end; one is trained in any case. What other machines
    have in work is waited for, since they may vanish; so is a database that does not answer.

    Args:
        search: The study.
        limits: When it is enough.
    """
    study, trained = search.study, 0

    def what_next() -> _Next:
        nonlocal trained
        trials = _looked_after(search)
        done = sum(trial.counts for trial in trials)
        begun = done + sum(t.state == "running" and t.repeat_of is None for t in trials)
        if done >= limits.trials or (begun >= limits.trials and not study.is_shared):
            return Ended(0, None, f"{limits.trials} trials are done")
        if trained and limits.until is not None and time.monotonic() >= limits.until:
            return out_of_time(study)
        if (shared := study.search) is not None and not shared.is_open:
            return Ended(0, None, "no more trials are asked for")
        if begun >= limits.trials:
            return _Wait(in_work_elsewhere(begun - done, "trial"))
        trained += 1
        return None

    def news(number: int) -> None:
        search.say(_news(study, search.question.goal, number, limits.trials))

    return _Turns(search, what_next, news, limits.trials).taken()


def wait_for_others(search: Search) -> None:
    """Wait until no other machine has a trial in work.

    Args:
        search: The study.

    Raises:
        BenchError: The database was away for too long.
    """

    def what_next() -> _Next:
        running = sum(trial.state == "running" for trial in _looked_after(search))
        return _Wait(in_work_elsewhere(running, "trial")) if running else Ended(0, None, "")

    if search.study.is_shared:
        _Turns(search, what_next, lambda _: None).taken()


def _looked_after(search: Search) -> tuple[Tried, ...]:
    """All trials, once those of machines that fell silent are to be tried again."""
    if search.study.is_shared:
        search.study.end_silent()
        retry_failed(search.study, search.say)
    return search.study.trials


def train_finalists(search: Search, count: int, *, with_papers: bool) -> Ended:
    """Train the best trials again, each from some further seeds, as far as that was not done.

    Args:
        search: The study, its search at its end.
        count: How many of the best.
        with_papers: Whether the paper's configuration is trained again too.
    """
    study, goal = search.study, search.question.goal

    def what_next() -> _Next:
        trials = _looked_after(search)
        if any(trial.state == "waiting" for trial in trials):
            return None
        if left := owed(trials, goal, count, with_papers=with_papers):
            study.repeat(trials[left[0]])
            return None
        running = sum(trial.state == "running" for trial in trials)
        if study.is_shared and running:  # perhaps left by this machine's own, when all was away
            return _Wait(in_work_elsewhere(running, "trial"))
        return Ended(0, None, "the finalists are trained")

    def news(number: int) -> None:
        trial = study.trials[number]
        told = goal.in_words(trial.values) if trial.values else trial.state
        search.say(f"trial {number}, as trial {trial.repeat_of}: {told}")

    return _Turns(search, what_next, news).taken()


class _Turns:
    """Trials that are trained one after the other.

    Args:
        search: The study.
        what_next: Asked before each.
        news: Told the number of each that has ended.
        limit: So many trials of the search are asked for; None where its repeats are.
    """

    def __init__(
        self,
        search: Search,
        what_next: Callable[[], _Next],
        news: Callable[[int], None],
        limit: int | None = None,
    ) -> None:
        self._search, self._what_next, self._news, self._limit = search, what_next, news, limit
        self._study = search.study
        # A server of a study that machines share is waited for.
        self._seconds = PATIENCE_SECONDS if search.study.is_shared else 0.0
        self._patience = Patience(search.say, self._seconds)
        self._failures: list[RunResult | None] = []

    def taken(self) -> Ended:
        """Go on until there is an end.

        Raises:
            BenchError: A server was away for too long.
        """
        try:
            while (ended := self._one()) is None:
                pass
        except (KeyboardInterrupt, Terminated):
            self._study.put_away()
            raise
        return ended

    def _one(self) -> Ended | None:
        """A trial, or a moment's wait; why it is the end, None where it is not."""
        try:
            after = self._what_next()
            self._patience.answered()
            after = after or self._trial()
        except BenchError as error:
            self._study.let_go()
            self._patience.bear(error)
            return None
        if isinstance(after, _Wait):
            self._patience.wait(after.in_words)
            return None
        return after

    def _trial(self) -> Ended | None:
        """Have one trained; why it is the last, None where it is not."""
        study = self._study
        asked = study.ask()
        if study.is_shared and is_superfluous(study.trials, asked.number, self._limit):
            study.superfluous(asked.number)
            return None
        plan = _trial_of(self._search, asked)
        # Its heart beats on while a server is waited for.
        recorded = self._patiently(lambda: _recorded(self._search, asked.number, plan))
        outcome = recorded or self._trained(plan, asked.number)
        self._patience.answered()  # a training ago: whatever is away now is so anew
        if outcome.exit_status or (study.is_shared and outcome.error):
            return self._cut_short(asked.number, outcome)
        run = outcome.results[0] if outcome.results else None
        self._patiently(lambda: self._told(asked.number, run))
        return self._end_of_failures(run)

    def _told(self, number: int, run: RunResult | None) -> None:
        study = self._study
        is_ours = study.is_shared and study.is_ours(number)
        if is_ours and is_done_elsewhere(study.trials, number):
            study.superfluous(number)
        else:
            tell(study, self._search.question.goal, number, run)
        self._news(number)

    def _cut_short(self, number: int, outcome: Outcome) -> Ended:
        """The trial was ended with its command, or its run can't be recorded."""
        run = outcome.results[0] if outcome.results and outcome.exit_status else None
        with suppress(*(BenchError,) if self._study.is_shared else ()):
            if run is None and not outcome.exit_status:
                self._study.interrupted(number)
            else:
                self._told(number, run)
        self._study.let_go()
        status = outcome.exit_status or EXIT_BROKE
        return Ended(status, outcome.error, ENDS[status])

    def _patiently(self, call: Callable[[], Answer]) -> Answer:
        """Call it again until it answers, or a server was away for too long."""
        while True:
            try:
                return call()
            except BenchError as error:
                self._patience.bear(error)

    def _trained(self, plan: Plan, number: int) -> Outcome:
        search, steps = self._search, plan.scenario.steps[-1]
        with search.watch(plan) as watcher:
            judge = Judge(search.study, search.question.goal, number, steps, watcher)
            return train(
                search.question,
                search.store,
                plan,
                judge,
                prune=judge.reason,
                patience_seconds=self._seconds,
            )

    def _end_of_failures(self, run: RunResult | None) -> Ended | None:
        has_failed = run is None or run.status == "failed"
        self._failures = [*self._failures, run] if has_failed else []
        if len(self._failures) < _MOST_FAILURES:
            return None
        return Ended(EXIT_BROKE, _all_fail(self._failures[0]), "trials fail, one after the other")


def _trial_of(search: Search, asked: Asked) -> Plan:
    """The training of one trial; its seed is its number, so that no two trials share one."""
    study, question = search.study, search.question
    plan = plan_of(study.name, question, asked.chosen, asked.number)
    trial = Trial(study=study.name, number=asked.number, parent_run_id=question.parent_run_id)
    if study.is_shared:
        # What tries it again has the same: of a trial that two machines trained one run counts.
        part = f"{question.parent_run_id}-{root_of(study.trials, asked.number)}"
        plan = replace(plan, trajectories=tuple(replace(t, part=part) for t in plan.trajectories))
    return replace(plan, trial=trial)


def _recorded(search: Search, number: int, plan: Plan) -> Outcome | None:
    """What was recorded of a trial and lost to the study; None where there is nothing."""
    part = plan.trajectories[0].part
    for run_id in search.store.recorded_of(part) if part else ():
        run = search.store.load(run_id)
        if run is not None:
            search.say(f"trial {number} had come to its end elsewhere: it counts")
            search.study.took(number, sum(run.seconds.values()))
            return Outcome((run,))
        # Else whatever is trained now would find it there, and end as the second.
        search.store.give_up(run_id, "its record can't be read")
    return None


def _news(study: Study, goal: Goal, number: int, trials: int) -> str:
    """What came of a trial, and what is best so far."""
    all_tried = study.trials
    trial = all_tried[number]
    told = goal.in_words(trial.values) if trial.values else trial.state
    done = sum(each.counts for each in all_tried)
    best = study.best
    which = ", ".join(str(each.number) for each in best) or "none yet"
    return f"{done} of {trials}: trial {number}: {told}; best: {which}"


def out_of_time(study: Study) -> Ended:
    """The end of a search in time; with one trial there is nothing to choose from."""
    done = [trial for trial in study.trials if trial.counts]
    if len(done) > 1:
        return Ended(0, None, "the time is up")
    seconds = units.duration(done[0].seconds if done else None)
    error = BenchError(
        f"--timeout was over after the first trial, which took {seconds}",
        "allow more",
        exit_status=EXIT_BROKE,
    )
    return Ended(EXIT_BROKE, error, "the time is up")


def _all_fail(first: RunResult | None) -> BenchError:
    reason = (first.failure if first else None) or "no training process could be started"
    return BenchError(
        f"{_MOST_FAILURES} trials failed one after the other, the first: {reason}",
        "the end of the last one's log stands above",
        exit_status=EXIT_BROKE,
    )
