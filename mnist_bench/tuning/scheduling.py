"""Scheduling of trials in this process: the search, its finalists, waiting for others."""

from __future__ import annotations

import time
from collections import defaultdict

from mnist_bench.core import formatting
from mnist_bench.core.errors import EXIT_FAILURE, BenchError
from mnist_bench.core.retry import waiting_message
from mnist_bench.tuning.finalists import missing_repeats
from mnist_bench.tuning.objective import Goal
from mnist_bench.tuning.study import Study
from mnist_bench.tuning.trial import StudyTrial, root_of
from mnist_bench.tuning.trial_plan import TrialsEnd
from mnist_bench.tuning.trial_results import retry_failed
from mnist_bench.tuning.trial_runner import Next, Search, SearchLimits, TrialRunner, Wait


def run_trials(search: Search, limits: SearchLimits) -> TrialsEnd:
    """Train trials until the limits are reached.

    A trial that started in time is finished, and at least one is trained. Trials that run on other
    machines are waited for, since these machines may vanish; so is an unreachable database.
    """
    study, trained = search.study, 0

    def next_action() -> Next:
        nonlocal trained
        trials, shared = _refreshed_trials(search), study.search
        limit = limits.of(shared)
        done = sum(trial.counts for trial in trials)
        started = done + sum(t.state == "running" and t.repeat_of is None for t in trials)
        if done >= limit or (started >= limit and not (study.is_shared and limits.waits)):
            return TrialsEnd(0, None, f"{limit} trials are done")
        if trained and limits.until is not None and time.monotonic() >= limits.until:
            return out_of_time(study)
        if shared is not None and not shared.is_open:
            return TrialsEnd(0, None, "no more trials are asked for")
        if started >= limit:
            return Wait(waiting_message(started - done, "trial"))
        trained += 1
        return None

    def on_end(number: int) -> None:
        search.log(_progress_text(study, search.context.goal, number, limits.of(study.search)))

    return TrialRunner(search, next_action, on_end, limits).run()


def wait_for_others(search: Search) -> None:
    """Wait until no trial of a shared study is running on another machine.

    Raises:
        BenchError: The database was unreachable for too long.
    """

    def next_action() -> Next:
        running = sum(trial.state == "running" for trial in _refreshed_trials(search))
        return Wait(waiting_message(running, "trial")) if running else TrialsEnd(0, None, "")

    TrialRunner(search, next_action, lambda _: None).run()


def discard_duplicate_runs(search: Search) -> None:
    """Give up finished runs of trials that do not count, because a retry counts instead.

    A machine that slept may have finished a trial that was pruned elsewhere, or may have died
    before it gave up its run.

    Args:
        search: The study; no other process may work on it.

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
        for run_id in search.store.finished_runs_of(search.trial_tag(root)):
            if run_id not in counting:
                search.store.mark_killed(run_id, "another trial counts for it")


def _refreshed_trials(search: Search) -> tuple[StudyTrial, ...]:
    """All trials, after retries of stale trials were queued."""
    if search.study.is_shared:
        search.study.fail_stale()
        retry_failed(search.study, search.log)
    return search.study.trials


def train_finalists(search: Search, count: int, *, with_paper: bool) -> TrialsEnd:
    """Train the missing repeats of the best trials, on more seeds.

    Args:
        search: The study, its search complete.
        count: Number of finalists.
        with_paper: Whether the paper's configuration is repeated too.
    """
    study, goal = search.study, search.context.goal

    def next_action() -> Next:
        trials = _refreshed_trials(search)
        if any(trial.state == "waiting" for trial in trials):
            return None
        if missing := missing_repeats(trials, goal, count, with_paper=with_paper):
            study.repeat(trials[missing[0]])
            return None
        running = sum(trial.state == "running" for trial in trials)
        if (
            study.is_shared and running
        ):  # maybe abandoned by this process while a server was unreachable
            return Wait(waiting_message(running, "trial"))
        return TrialsEnd(0, None, "the finalists are trained")

    def on_end(number: int) -> None:
        trial = study.trials[number]
        result_text = goal.in_words(trial.values) if trial.values else trial.state
        search.log(f"trial {number}, as trial {trial.repeat_of}: {result_text}")

    return TrialRunner(search, next_action, on_end).run()


def _progress_text(study: Study, goal: Goal, number: int, trials: int) -> str:
    """Result of a trial and the best so far, in one line."""
    trials_now = study.trials
    trial = trials_now[number]
    result_text = goal.in_words(trial.values) if trial.values else trial.state
    done = sum(each.counts for each in trials_now)
    best = study.best
    which = ", ".join(str(each.number) for each in best) or "none yet"
    return f"{done} of {trials}: trial {number}: {result_text}; best: {which}"


def out_of_time(study: Study) -> TrialsEnd:
    """End of a search by timeout: an error if fewer than two trials are done."""
    done = [trial for trial in study.trials if trial.counts]
    if len(done) > 1:
        return TrialsEnd(0, None, "the time is up")
    seconds = formatting.duration(done[0].seconds if done else None)
    error = BenchError(
        f"--timeout expired after the first trial, which took {seconds}",
        "increase --timeout",
        exit_status=EXIT_FAILURE,
    )
    return TrialsEnd(EXIT_FAILURE, error, "the time is up")
