"""Trial runner: asks for trials, trains or recovers each, and reports its result."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace

from mnist_bench.core.errors import EXIT_FAILURE, BenchError
from mnist_bench.core.retry import RETRY_SECONDS, Result, Retry
from mnist_bench.core.signals import Terminated
from mnist_bench.results.run import RunResult, Trial
from mnist_bench.runner.executor import Outcome, Watcher
from mnist_bench.runner.plan import TrainingPlan
from mnist_bench.tracking.mlflow_store import MlflowStore
from mnist_bench.tuning.pruning_callback import PruningCallback
from mnist_bench.tuning.shared_study import SharedStudy
from mnist_bench.tuning.study import Study
from mnist_bench.tuning.trial import TrialRequest, is_done_elsewhere, is_redundant, root_of
from mnist_bench.tuning.trial_plan import ENDS, TrialContext, TrialsEnd, plan_of, train
from mnist_bench.tuning.trial_results import report_trial

_MOST_FAILURES = 3
"""Consecutive failures that end a study: the next trial would probably fail too."""


@dataclass(frozen=True)
class SearchLimits:
    """When a search ends.

    Attributes:
        trials: Number of trials that finish or are pruned; None takes it from the shared study.
        until: Deadline by `time.monotonic`; None sets no limit.
        waits: Whether to wait for trials that run on other machines.
    """

    trials: int | None
    until: float | None
    waits: bool = True

    def of(self, shared: SharedStudy | None) -> int:
        """Number of trials.

        Args:
            shared: Current search of the shared study.
        """
        if self.trials is not None:
            return self.trials
        return shared.trials if shared else 0


@dataclass(frozen=True)
class Search:
    """An open study, and what this process needs to train its trials.

    Attributes:
        watch: Makes a watcher for each training.
        log: Gets a line about each trial and each wait.
    """

    study: Study
    context: TrialContext
    store: MlflowStore
    watch: Callable[[TrainingPlan], AbstractContextManager[Watcher]]
    log: Callable[[str], None]

    @property
    def retry_seconds(self) -> float:
        """How long an unreachable server of a shared study is retried."""
        return RETRY_SECONDS if self.study.is_shared else 0.0

    def trial_tag(self, root: int) -> str:
        """Tag of the runs of a trial and its retries in the store.

        With it, only one run counts if two machines trained the same trial.

        Args:
            root: Number of the first trial in the chain of retries.
        """
        return f"{self.context.parent_run_id}-{root}"

    def with_retry(self, call: Callable[[], Result]) -> Result:
        """Call something that needs a server, with retries if the study is shared.

        Raises:
            BenchError: The server was unreachable for too long.
        """
        return Retry(self.log, self.retry_seconds).call(call)


@dataclass(frozen=True)
class Wait:
    """Nothing to do at the moment; says what to wait for."""

    in_words: str


Next = TrialsEnd | Wait | None
"""Stop, wait, or train a trial (None)."""


class TrialRunner:
    """Trains trials one after the other.

    Args:
        next_action: Called before each trial.
        on_end: Called with the number of each trial that has ended.
        limits: Of the search; None while repeats are trained.
    """

    def __init__(
        self,
        search: Search,
        next_action: Callable[[], Next],
        on_end: Callable[[int], None],
        limits: SearchLimits | None = None,
    ) -> None:
        self._search, self._next_action, self._on_end, self._limits = (
            search,
            next_action,
            on_end,
            limits,
        )
        self._study = search.study
        self._retry = Retry(search.log, search.retry_seconds)
        self._failures: list[RunResult | None] = []

    def run(self) -> TrialsEnd:
        """Train trials until `next_action` or a failure ends it.

        Raises:
            BenchError: A server was unreachable for too long.
        """
        try:
            while (end := self._step()) is None:
                pass
        except (KeyboardInterrupt, Terminated):
            if self._study.is_shared:  # otherwise the next command here settles them
                self._study.release_trials()
            raise
        return end

    def _step(self) -> TrialsEnd | None:
        """Train a trial or wait; None to continue."""
        try:
            action = self._next_action()
            if action is None:
                return self._run_trial()
            self._retry.reset()
        except BenchError as error:
            self._study.abandon_trials()
            self._retry.wait_or_raise(error)
            return None
        if isinstance(action, Wait):
            self._retry.wait(action.in_words)
            return None
        return action

    def _run_trial(self) -> TrialsEnd | None:
        """Run one trial; None to continue."""
        study = self._study
        request = study.ask()
        self._retry.reset()  # writing works too, not only reading
        limit = self._limits.of(study.search) if self._limits else None
        if study.is_shared and is_redundant(study.trials, request.number, limit):
            study.mark_redundant(request.number)
            return None
        plan = _plan_for(self._search, request)
        # The heartbeat continues while a server is retried.
        recorded = self._retry.call(lambda: _recorded(self._search, request.number, plan))
        outcome = recorded or self._train(plan, request.number)
        self._retry.reset()  # the last error was a training ago: start counting anew
        if outcome.exit_status or (study.is_shared and outcome.error):
            return self._end_early(request.number, outcome)
        run = outcome.results[0] if outcome.results else None
        self._retry.call(lambda: self._report(request.number, run))
        return self._end_of_failures(run)

    def _report(self, number: int, run: RunResult | None) -> None:
        study = self._study
        if study.is_shared and is_done_elsewhere(study.trials, number):
            self._drop(number, run)
        else:
            report_trial(study, self._search.context.goal, number, run)
        self._on_end(number)

    def _drop(self, number: int, run: RunResult | None) -> None:
        """Drop a trial for which another one counts, and its run unless that one uses it."""
        study, run_id = self._study, run.run_id if run else None
        is_recorded = any(trial.is_settled and trial.run_id == run_id for trial in study.trials)
        if run and run_id and run.status == "finished" and not is_recorded:
            self._search.store.mark_killed(run_id, "another trial counts for it")
        if study.owns(number):
            study.mark_redundant(number)
        else:
            study.abandon_trials()

    def _end_early(self, number: int, outcome: Outcome) -> TrialsEnd:
        """Close a trial that was interrupted, or whose run can't be recorded."""
        run = outcome.results[0] if outcome.results else None
        with suppress(*(BenchError,) if self._study.is_shared else ()):
            if self._study.is_shared and outcome.error:  # its run waits in a spool here
                self._study.interrupted(number)
            else:
                self._report(number, run)
        self._study.abandon_trials()
        status = outcome.exit_status or EXIT_FAILURE
        return TrialsEnd(status, outcome.error, ENDS[status])

    def _train(self, plan: TrainingPlan, number: int) -> Outcome:
        search, steps = self._search, plan.scenario.steps[-1]
        with search.watch(plan) as watcher:
            callback = PruningCallback(search.study, search.context.goal, number, steps, watcher)
            return train(
                search.context,
                search.store,
                plan,
                callback,
                prune=callback.reason,
                retry_seconds=search.retry_seconds,
            )

    def _end_of_failures(self, run: RunResult | None) -> TrialsEnd | None:
        has_failed = run is None or run.status == "failed"
        self._failures = [*self._failures, run] if has_failed else []
        if len(self._failures) < _MOST_FAILURES:
            return None
        return TrialsEnd(
            EXIT_FAILURE, _all_fail(self._failures[0]), "trials fail, one after the other"
        )


def _plan_for(search: Search, request: TrialRequest) -> TrainingPlan:
    """Plan of one trial; its seed is its number, so that no two trials share one."""
    study, context = search.study, search.context
    plan = plan_of(study.name, context, request.chosen, request.number)
    trial = Trial(study=study.name, number=request.number, parent_run_id=context.parent_run_id)
    if study.is_shared:
        tag = search.trial_tag(root_of(study.trials, request.number))
        plan = replace(plan, jobs=tuple(replace(t, part=tag) for t in plan.jobs))
    return replace(plan, trial=trial)


def _recorded(search: Search, number: int, plan: TrainingPlan) -> Outcome | None:
    """Outcome of a trial that is recorded but was never reported; None if there is none."""
    tag = plan.jobs[0].part
    for run_id in search.store.finished_runs_of(tag) if tag else ():
        run = search.store.load(run_id)
        if run is not None:
            search.log(f"trial {number} had ended on another machine: it counts")
            search.study.record_duration(number, sum(run.seconds.values()), run.machine_id)
            return Outcome((run,))
        if search.store.has_artifact(run_id, "result.json"):
            raise BenchError(
                f"can't read result.json of run {run_id}",
                "check that the artifact server is reachable",
                exit_status=EXIT_FAILURE,
            )  # fmt: skip
        # Otherwise the trial trained now would find this run and count as the second.
        search.store.mark_killed(run_id, "it has no result.json")
    return None


def _all_fail(first: RunResult | None) -> BenchError:
    reason = (first.failure if first else None) or "no training process could be started"
    return BenchError(
        f"{_MOST_FAILURES} trials failed one after the other, the first: {reason}",
        "the end of the last log is above",
        exit_status=EXIT_FAILURE,
    )
