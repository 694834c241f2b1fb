"""Trials: asked of a study, trained each in a process of its own, and told to it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from mnist_bench import harness, layout, units
from mnist_bench.dataset import Source
from mnist_bench.errors import EXIT_BROKE, EXIT_INTERRUPTED, EXIT_TERMINATED, BenchError
from mnist_bench.execution import Execution
from mnist_bench.finalists import owed
from mnist_bench.harness import Outcome, Watcher, never_pruned
from mnist_bench.journal import Address
from mnist_bench.judge import Judge
from mnist_bench.layout import Plan
from mnist_bench.machine import Machine
from mnist_bench.objective import Goal
from mnist_bench.record import Record
from mnist_bench.result import RunResult, Trial
from mnist_bench.space import Space, Value
from mnist_bench.store import Store
from mnist_bench.study import Study
from mnist_bench.trial_end import tell
from mnist_bench.tried import Asked

ENDS = {
    EXIT_BROKE: "something broke",
    EXIT_INTERRUPTED: "it was interrupted",
    EXIT_TERMINATED: "it was terminated",
}
"""Why a search ended early, by its exit status."""
_MOST_FAILURES = 3
"""So many trials that fail one after the other end a study: the next would fail as well."""


class Question(Record):
    """What all trials of a study have in common.

    Attributes:
        space: What may be tried.
        goal: What it is after.
        source: The images.
        execution: How each is carried out.
        machine: The described machine.
        address: Where the runs are recorded.
        parent_run_id: MLflow's id of the study's own run.
        exclusive: Whether the suite kept other benchmarks of this user away.
    """

    space: Space
    goal: Goal
    source: Source
    execution: Execution
    machine: Machine
    address: Address
    parent_run_id: str
    exclusive: bool


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
class Ended:
    """Why the last trial was the last.

    Attributes:
        exit_status: 0, or that of an interruption or a fault.
        error: What broke; None where nothing did.
        in_words: For people.
    """

    exit_status: int
    error: BenchError | None
    in_words: str


def train_all(
    study: Study,
    question: Question,
    store: Store,
    limits: Limits,
    *,
    watch: Callable[[Plan], AbstractContextManager[Watcher]],
    say: Callable[[str], None],
) -> Ended:
    """Train trials until there are enough of them, or the time is up.

    A trial that was begun in time comes to its end; one is trained in any case.

    Args:
        study: Open.
        question: What the trials have in common.
        store: Open.
        limits: When it is enough.
        watch: Gives somebody who is told how a trial goes.
        say: Told in one line what came of each.
    """
    trained = 0

    def why_enough() -> Ended | None:
        nonlocal trained
        if _begun(study) >= limits.trials:
            return Ended(0, None, f"{limits.trials} trials are done")
        if trained and limits.until is not None and time.monotonic() >= limits.until:
            return out_of_time(study)
        trained += 1
        return None

    def news(number: int) -> None:
        say(_news(study, question.goal, number, limits.trials))

    return _train_until(why_enough, study, question, store, watch=watch, say=news)


def train_finalists(
    study: Study,
    question: Question,
    store: Store,
    count: int,
    *,
    with_papers: bool,
    watch: Callable[[Plan], AbstractContextManager[Watcher]],
    say: Callable[[str], None],
) -> Ended:
    """Train the best trials again, each from some further seeds, as far as that was not done.

    Args:
        study: Open, its search at its end.
        question: What the trials have in common.
        store: Open.
        count: How many of the best.
        with_papers: Whether the paper's configuration is trained again too.
        watch: Gives somebody who is told how a trial goes.
        say: Told in one line what came of each.
    """

    def why_enough() -> Ended | None:
        trials = study.trials
        left = owed(trials, question.goal, count, with_papers=with_papers)
        if any(trial.state == "waiting" for trial in trials):
            return None
        if not left:
            return Ended(0, None, "the finalists are trained")
        study.repeat(next(trial for trial in trials if trial.number == left[0]))
        return None

    def news(number: int) -> None:
        trial = next(each for each in study.trials if each.number == number)
        told = question.goal.in_words(trial.values) if trial.values else trial.state
        say(f"trial {number}, as trial {trial.repeat_of}: {told}")

    return _train_until(why_enough, study, question, store, watch=watch, say=news)


def _train_until(
    why_enough: Callable[[], Ended | None],
    study: Study,
    question: Question,
    store: Store,
    *,
    watch: Callable[[Plan], AbstractContextManager[Watcher]],
    say: Callable[[int], None],
) -> Ended:
    """Train a trial after the other; `say` is told the number of each that has ended."""
    failures: list[RunResult | None] = []
    while (enough := why_enough()) is None:
        asked = study.ask()
        plan = _trial_of(study.name, question, asked)
        with watch(plan) as watcher:
            judge = Judge(study, question.goal, asked.number, plan.scenario.steps[-1], watcher)
            outcome = train(question, store, plan, judge, prune=judge.reason)
        run = outcome.results[0] if outcome.results else None
        tell(study, question.goal, asked.number, run)
        say(asked.number)
        if outcome.exit_status:
            return Ended(outcome.exit_status, outcome.error, ENDS[outcome.exit_status])
        failures = [*failures, run] if run is None or run.status == "failed" else []
        if len(failures) == _MOST_FAILURES:
            return Ended(EXIT_BROKE, _all_fail(failures[0]), "trials fail, one after the other")
    return enough


def _begun(study: Study) -> int:
    """Trials that count, or will if they come to their end: those of other processes too."""
    return sum(
        trial.counts or (trial.state == "running" and trial.repeat_of is None)
        for trial in study.trials
    )


def _trial_of(study: str, question: Question, asked: Asked) -> Plan:
    """The training of one trial; its seed is its number, so that no two trials share one."""
    plan = plan_of(study, question, asked.chosen, asked.number)
    trial = Trial(study=study, number=asked.number, parent_run_id=question.parent_run_id)
    return replace(plan, trial=trial)


def plan_of(name: str, question: Question, chosen: Mapping[str, Value], seed: int) -> Plan:
    """One training of a configuration.

    Args:
        name: Of its scenario.
        question: What the trials have in common.
        chosen: The configuration.
        seed: Of the training.

    Raises:
        BenchError: A batch is larger than the training split.
    """
    plan = layout.lay_out(
        name,
        question.space.scenario(chosen),
        question.source,
        seeds=range(seed, seed + 1),
        executions=[question.execution],
    )
    return replace(plan, train_seconds_limit=question.goal.train_seconds)


def train(
    question: Question,
    store: Store,
    plan: Plan,
    watcher: Watcher,
    prune: Callable[[], str | None] = never_pruned,
) -> Outcome:
    """Train a plan as all of a study's are.

    Args:
        question: What the trials have in common.
        store: Open.
        plan: What to train.
        watcher: Told how it goes.
        prune: Asked whether it should end right now, and why.
    """
    return harness.execute(
        plan,
        question.machine,
        question.address,
        lambda: store,
        watcher,
        prune=prune,
        exclusive=question.exclusive,
        opens_store=False,
    )


def _news(study: Study, goal: Goal, number: int, trials: int) -> str:
    """What came of a trial, and what is best so far."""
    all_tried = study.trials
    trial = next(each for each in all_tried if each.number == number)
    told = goal.in_words(trial.values) if trial.values else trial.state
    done = sum(each.counts for each in all_tried)
    best = study.best
    which = ", ".join(str(each.number) for each in best) or "none yet"
    return f"{done} of {trials}: trial {number}: {told}; best: {which}"


def out_of_time(study: Study) -> Ended:
    """The end of a search in time; with one trial there is nothing to choose from."""
    counted = [trial for trial in study.trials if trial.counts]
    if len(counted) > 1:
        return Ended(0, None, "the time is up")
    seconds = units.duration(counted[0].seconds if counted else None)
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
