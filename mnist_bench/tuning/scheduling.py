"""A study's trials as this process takes its turns at them: until there are enough, and again."""

from __future__ import annotations

import time
from collections import defaultdict

from mnist_bench.core import formatting
from mnist_bench.core.errors import EXIT_BROKE, BenchError
from mnist_bench.core.retry import in_work_elsewhere
from mnist_bench.tuning.finalists import owed
from mnist_bench.tuning.objective import Goal
from mnist_bench.tuning.study import Study
from mnist_bench.tuning.trial import StudyTrial, root_of
from mnist_bench.tuning.trial_plan import TrialsEnd
from mnist_bench.tuning.trial_results import retry_failed
from mnist_bench.tuning.trial_runner import Next, Search, SearchLimits, TrialRunner, Wait


def run_trials(search: Search, limits: SearchLimits) -> TrialsEnd:
    """Train trials until there are enough of them, or the time is up.

    A trial that was begun in time comes to its end; one is trained in any case. What other machines
    have in work is waited for, since they may vanish; so is a database that does not answer.

    Args:
        search: The study.
        limits: When it is enough.
    """
    study, trained = search.study, 0

    def what_next() -> Next:
        nonlocal trained
        trials, shared = _looked_after(search), study.search
        limit = limits.of(shared)
        done = sum(trial.counts for trial in trials)
        begun = done + sum(t.state == "running" and t.repeat_of is None for t in trials)
        if done >= limit or (begun >= limit and not (study.is_shared and limits.waits)):
            return TrialsEnd(0, None, f"{limit} trials are done")
        if trained and limits.until is not None and time.monotonic() >= limits.until:
            return out_of_time(study)
        if shared is not None and not shared.is_open:
            return TrialsEnd(0, None, "no more trials are asked for")
        if begun >= limit:
            return Wait(in_work_elsewhere(begun - done, "trial"))
        trained += 1
        return None

    def news(number: int) -> None:
        search.say(_news(study, search.question.goal, number, limits.of(study.search)))

    return TrialRunner(search, what_next, news, limits).taken()


def wait_for_others(search: Search) -> None:
    """Wait until no other machine has a trial in work.

    Args:
        search: The study, which machines share.

    Raises:
        BenchError: The database was away for too long.
    """

    def what_next() -> Next:
        running = sum(trial.state == "running" for trial in _looked_after(search))
        return Wait(in_work_elsewhere(running, "trial")) if running else TrialsEnd(0, None, "")

    TrialRunner(search, what_next, lambda _: None).taken()


def settle_board(search: Search) -> None:
    """Let no run be finished whose trial does not count, since another one counts for it.

    A machine that slept may have finished a trial which was pruned elsewhere, or have died before
    it could drop its run.

    Args:
        search: The study; nobody else works on it.

    Raises:
        BenchError: A server does not answer.
    """
    trials = search.study.trials
    families: defaultdict[int, list[StudyTrial]] = defaultdict(list)
    for trial in trials:
        families[root_of(trials, trial.number)].append(trial)
    for root, family in families.items():
        counting = {trial.run_id for trial in family if trial.is_settled}
        if len(family) == 1 or not counting:
            continue
        for run_id in search.store.recorded_of(search.part_of(root)):
            if run_id not in counting:
                search.store.give_up(run_id, "another trial counts for it")


def _looked_after(search: Search) -> tuple[StudyTrial, ...]:
    """All trials, once those of machines that fell silent are to be tried again."""
    if search.study.is_shared:
        search.study.end_silent()
        retry_failed(search.study, search.say)
    return search.study.trials


def train_finalists(search: Search, count: int, *, with_papers: bool) -> TrialsEnd:
    """Train the best trials again, each from some further seeds, as far as that was not done.

    Args:
        search: The study, its search at its end.
        count: How many of the best.
        with_papers: Whether the paper's configuration is trained again too.
    """
    study, goal = search.study, search.question.goal

    def what_next() -> Next:
        trials = _looked_after(search)
        if any(trial.state == "waiting" for trial in trials):
            return None
        if left := owed(trials, goal, count, with_papers=with_papers):
            study.repeat(trials[left[0]])
            return None
        running = sum(trial.state == "running" for trial in trials)
        if study.is_shared and running:  # perhaps left by this machine's own, when all was away
            return Wait(in_work_elsewhere(running, "trial"))
        return TrialsEnd(0, None, "the finalists are trained")

    def news(number: int) -> None:
        trial = study.trials[number]
        told = goal.in_words(trial.values) if trial.values else trial.state
        search.say(f"trial {number}, as trial {trial.repeat_of}: {told}")

    return TrialRunner(search, what_next, news).taken()


def _news(study: Study, goal: Goal, number: int, trials: int) -> str:
    """What came of a trial, and what is best so far."""
    all_tried = study.trials
    trial = all_tried[number]
    told = goal.in_words(trial.values) if trial.values else trial.state
    done = sum(each.counts for each in all_tried)
    best = study.best
    which = ", ".join(str(each.number) for each in best) or "none yet"
    return f"{done} of {trials}: trial {number}: {told}; best: {which}"


def out_of_time(study: Study) -> TrialsEnd:
    """The end of a search in time; with one trial there is nothing to choose from."""
    done = [trial for trial in study.trials if trial.counts]
    if len(done) > 1:
        return TrialsEnd(0, None, "the time is up")
    seconds = formatting.duration(done[0].seconds if done else None)
    error = BenchError(
        f"--timeout was over after the first trial, which took {seconds}",
        "allow more",
        exit_status=EXIT_BROKE,
    )
    return TrialsEnd(EXIT_BROKE, error, "the time is up")
