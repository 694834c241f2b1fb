"""The search: an objective function for `Study.optimize`, and the loops around it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NoReturn

import psutil

from mnist_bench.core import formatting, signals
from mnist_bench.core.errors import EXIT_FAILURE, EXIT_INTERRUPTED, EXIT_TERMINATED, BenchError
from mnist_bench.data.dataset import Source
from mnist_bench.measurement.machine import Machine
from mnist_bench.results.protocol import SampleMessage
from mnist_bench.results.run import Evaluation, RunResult, Trial
from mnist_bench.runner import executor
from mnist_bench.runner.executor import Outcome, Stop, Watcher
from mnist_bench.runner.plan import TrainingJob, TrainingPlan, make_plan
from mnist_bench.scenarios.execution import Execution
from mnist_bench.tracking.mlflow_store import MlflowStore
from mnist_bench.tracking.spool import Address
from mnist_bench.tuning.finalists import missing_repeats
from mnist_bench.tuning.objective import Goal
from mnist_bench.tuning.pruning import compared_at
from mnist_bench.tuning.space import Space, Value, in_words
from mnist_bench.tuning.storage import explained
from mnist_bench.tuning.study import FAILED, MACHINE, MACHINE_ID, PAPER, REPEAT, Study
from mnist_bench.tuning.trial import StudyTrial, paper_trial

if TYPE_CHECKING:
    import optuna

ENDS = {
    EXIT_FAILURE: "something broke",
    EXIT_INTERRUPTED: "it was interrupted",
    EXIT_TERMINATED: "it was terminated",
}
"""Why a search ended early, by its exit status."""
_POLL_SECONDS = 0.5
_MOST_FAILURES = 3
"""Consecutive failures that end a study: the next trial would probably fail too."""

Trainer = Callable[[TrainingPlan, Watcher, Callable[[], str | None], Stop], Outcome]
"""Trains a plan of one job, here or in a cluster, and records its runs.

Its arguments: the plan; a watcher; what says after each message why to prune the training, or None;
and what ends it from another thread.
"""


@dataclass(frozen=True)
class TrialContext:
    """What all trials of a study have in common.

    Attributes:
        source: The images.
        execution: Execution settings of each training.
        machine: This machine.
        address: Where runs are recorded.
        parent_run_id: MLflow's id of the study's run.
        exclusive: Whether other benchmarks of this user are locked out.
        tags: The user's own, recorded with every training.
    """

    space: Space
    goal: Goal
    source: Source
    execution: Execution
    machine: Machine
    address: Address
    parent_run_id: str
    exclusive: bool
    tags: tuple[tuple[str, str], ...] = ()

    def plan(self, name: str, chosen: Mapping[str, Value], seed: int) -> TrainingPlan:
        """Plan of one training of a configuration, whose scenario has this name."""
        plan = make_plan(
            name,
            self.space.scenario(chosen),
            self.source,
            seeds=range(seed, seed + 1),
            executions=[self.execution],
        )
        return replace(plan, train_seconds_limit=self.goal.train_seconds, tags=self.tags)

    def shared_by(self, workers: int) -> TrialContext:
        """The context of trainings side by side, each on its share of the cores."""
        threads = max(1, self.execution.threads // workers)
        execution = self.execution.model_copy(update={"threads": threads})
        return replace(self, execution=execution, exclusive=False)


@dataclass(frozen=True)
class TrialsEnd:
    """Why no more trials are trained, with the status of an interruption or failure."""

    in_words: str
    exit_status: int = 0
    error: BenchError | None = None


@dataclass(frozen=True)
class Search:
    """An open study, and what is needed to train its trials.

    Attributes:
        trainer: Trains here or in a cluster; None: here.
        watch: Makes a watcher for each training.
        log: Gets a line about each trial.
    """

    study: Study
    context: TrialContext
    store: MlflowStore
    watch: Callable[[TrainingPlan], AbstractContextManager[Watcher]]
    log: Callable[[str], None]
    trainer: Trainer | None = None

    def train(
        self, plan: TrainingPlan, watcher: Watcher, prune: Callable[[], str | None], stop: Stop
    ) -> Outcome:
        """Train a plan and record it, as `Trainer` says."""
        if self.trainer is not None:
            return self.trainer(plan, watcher, prune, stop)
        context = self.context
        return executor.execute(
            plan,
            context.machine,
            context.address,
            lambda: self.store,
            watcher,
            prune=prune,
            exclusive=context.exclusive,
            opens_store=False,
            stop=stop,
        )


class TrialFailedError(Exception):
    """A trial failed or was interrupted; Optuna records it as FAIL."""


class PruningCallback:
    """Watcher of a trial that reports each evaluation to Optuna, and whether to prune there.

    Args:
        trial: Optuna's; one of the paper's configuration, and a repeat, are never pruned.
        goal: Of the study.
        steps: Of the trial.
        watcher: Gets every event too.
    """

    def __init__(self, trial: optuna.Trial, goal: Goal, steps: int, watcher: Watcher) -> None:
        self._trial, self._goal, self._steps, self._watcher = trial, goal, steps, watcher
        attributes = trial.user_attrs
        self._is_exempt = bool(attributes.get(PAPER)) or attributes.get(REPEAT) is not None
        self._reason: str | None = None
        self._compared_at = 0
        self._has_reached_target = False

    def reason(self) -> str | None:
        """Why the trial should end now; None if it should continue."""
        return self._reason

    def begun(self, job: TrainingJob) -> None:
        """The training process has started, on another machine perhaps for the second time."""
        self._compared_at, self._has_reached_target = 0, False
        self._watcher.begun(job)

    def sampled(self, sample: SampleMessage) -> None:
        """A stretch of training has ended."""
        self._watcher.sampled(sample)

    def scored(self, evaluation: Evaluation) -> None:
        """The network was evaluated."""
        self._watcher.scored(evaluation)
        percent = self._goal.percent(evaluation, self._steps)
        if percent >= 100:
            return  # the trial ends anyway
        if self._goal.is_too_late(evaluation) and not self._is_exempt:
            self._reason = f"ended after {evaluation.step} steps: it has trained for too long"
        if self._goal.prunes and self._should_prune(evaluation, percent):
            self._reason = f"pruned after {evaluation.step} steps: others were ahead there"

    def _should_prune(self, evaluation: Evaluation, percent: int) -> bool:
        """Whether to prune the trial, at its first evaluation at or after a checkpoint."""
        progress = self._goal.progress(evaluation)
        checkpoint = compared_at(percent)
        is_first, self._compared_at = checkpoint > self._compared_at, checkpoint
        is_behind = False
        if is_first:
            self._trial.report(progress, checkpoint)
            is_behind = not self._is_exempt and self._trial.should_prune()
        if percent > checkpoint:
            self._trial.report(progress, percent)
        # A trial that has reached the target has its value: it must not be pruned.
        self._has_reached_target |= self._goal.is_reached(evaluation)
        return is_behind and not self._has_reached_target

    def warned(self, line: str) -> None:
        """Something is wrong, but the trial continues."""
        self._watcher.warned(line)

    def ended(self, job: TrainingJob, failure: str | None, log_tail: str) -> None:
        """The trial has ended."""
        self._watcher.ended(job, failure, log_tail)


class _Trials:
    """The objective function, and why it ended the search; `started` counts its trials."""

    def __init__(self, search: Search) -> None:
        self._search = search
        self.started = 0
        self._stop = Stop()
        self._lock = threading.Lock()
        self._failures: list[str] = []
        self._end: TrialsEnd | None = None
        self._error: BaseException | None = None

    def optimize(
        self,
        count: int,
        on_end: Callable[[int], None],
        *,
        workers: int = 1,
        until: float | None = None,
    ) -> TrialsEnd | None:
        """Start as many trials as `count`; returns why the search has to end, or None.

        Args:
            on_end: Gets the number of each trial that has ended.
            workers: Threads, each of which waits for a training of its own.
            until: Deadline by `time.monotonic` after which no trial starts.
        """
        study = self._search.study.optuna

        def report(_study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
            on_end(trial.number)
            if self._stop.exit_status:
                study.stop()

        def optimize() -> None:
            study.optimize(
                self._objective,
                n_trials=count,
                timeout=None if until is None else max(0.0, until - time.monotonic()),
                n_jobs=workers,
                catch=(TrialFailedError,),
                callbacks=[report],
            )

        with explained(self._search.study.storage), signals.on_interrupt(self._interrupt):
            try:
                if workers == 1:
                    optimize()
                else:
                    _call_in_thread(optimize)
            finally:
                if self._error is not None:
                    raise self._error
        status = self._stop.exit_status
        return TrialsEnd(ENDS[status], status) if status else self._end

    def _interrupt(self, exit_status: int) -> None:
        """End the running trainings, whose threads then fail their trials."""
        with suppress(RuntimeError):  # not within the loop any more
            self._search.study.optuna.stop()
        self._stop(exit_status)

    def _objective(self, trial: optuna.Trial) -> float | tuple[float, ...]:
        """Train a trial; its values.

        Raises:
            TrialPruned: It was pruned, or ended because it exceeded a constraint.
            TrialFailedError: It failed or was interrupted.
        """
        import optuna

        try:
            return self._train(trial)
        except (optuna.TrialPruned, TrialFailedError):
            raise
        except BaseException as error:
            self._search.study.optuna.stop()
            if isinstance(error, optuna.exceptions.UpdateFinishedTrialError):
                self._error = BenchError(
                    f"trial {trial.number} was given up meanwhile: this machine sent no heartbeat "
                    "for a minute",
                    "if no other machine works on the study, --resume continues it",
                    exit_status=EXIT_FAILURE,
                )
            self._error = self._error or error  # Optuna drops the errors of its last threads
            raise

    def _train(self, trial: optuna.Trial) -> float | tuple[float, ...]:
        import optuna

        search, study, context = self._search, self._search.study, self._search.context
        self.started += 1
        trial.set_user_attr(MACHINE, context.machine.name)
        trial.set_user_attr(MACHINE_ID, context.machine.machine_id)
        # The trial's number is its seed, so that no two trials share one.
        plan = replace(
            context.plan(study.name, study.suggest(trial), trial.number),
            trial=Trial(study=study.name, number=trial.number, parent_run_id=context.parent_run_id),
        )
        with search.watch(plan) as watcher:
            callback = PruningCallback(trial, context.goal, plan.scenario.steps[-1], watcher)
            outcome = search.train(plan, callback, callback.reason, self._stop)
        if outcome.machine is not None:
            trial.set_user_attr(MACHINE, outcome.machine.name)
            trial.set_user_attr(MACHINE_ID, outcome.machine.machine_id)
        run = outcome.results[0] if outcome.results else None
        if run is not None:
            study.record(trial, run)
        if outcome.exit_status:
            self._end = TrialsEnd(ENDS[outcome.exit_status], outcome.exit_status, outcome.error)
            study.optuna.stop()
        if run is None or run.status in {"failed", "killed"}:
            if outcome.exit_status or (run is not None and run.status == "killed"):
                study.enqueue_retry(trial.number)  # it was cut off
                raise TrialFailedError
            self._fail(trial, run)
        self._failures.clear()
        if run.status == "pruned":
            raise optuna.TrialPruned
        values = context.goal.values(run)
        return values[0] if len(values) == 1 else values

    def _fail(self, trial: optuna.Trial, run: RunResult | None) -> NoReturn:
        """Fail a trial whose own process failed; several in a row end the search."""
        trial.set_user_attr(FAILED, value=True)
        reason = (run.failure if run else None) or "no training process could be started"
        with self._lock:
            self._failures.append(reason)
            if len(self._failures) >= _MOST_FAILURES and self._end is None:
                error = BenchError(
                    f"{_MOST_FAILURES} trials failed one after the other, the first: "
                    f"{self._failures[0]}",
                    "the end of the last log is above",
                    exit_status=EXIT_FAILURE,
                )
                self._end = TrialsEnd("trials fail, one after the other", EXIT_FAILURE, error)
                self._search.study.optuna.stop()
        raise TrialFailedError(reason)


def _call_in_thread(call: Callable[[], None]) -> None:
    """Call a function in a thread, and raise its error here.

    On Windows, Ctrl-C does not interrupt the wait of Optuna's pool; it does between short waits.
    """
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(call)
        while not wait([future], _POLL_SECONDS).done:
            pass
    future.result()


def run_trials(search: Search, limit: int, until: float | None, *, workers: int = 1) -> TrialsEnd:
    """Train trials until so many count, or the time is up.

    A trial that started in time is finished, and at least one is trained.

    Args:
        limit: Trials that finish or are pruned, with those of earlier commands.
        until: Deadline by `time.monotonic`; None sets no limit.
        workers: Trials trained at the same time.
    """
    study = search.study

    def on_end(number: int) -> None:
        trials = study.trials
        done = sum(each.counts for each in trials)
        result_text = _result(trials[number], search.context.goal)
        search.log(f"{done} of {limit}: {result_text}; {_best_so_far(study, search.context.goal)}")

    trials = _Trials(search)
    while (missing := _missing(study, limit)) > 0:
        is_late = until is not None and time.monotonic() >= until
        if is_late and trials.started:
            return out_of_time(study)
        before = trials.started
        end = (
            trials.optimize(1, on_end)
            if is_late
            # Failed trials don't count, hence the loop.
            else trials.optimize(missing, on_end, workers=min(workers, missing), until=until)
        )
        if end is not None:
            return end
        if trials.started == before:
            workers = 1  # the storage refuses new trials: a single thread raises the error
    return TrialsEnd("1 trial is done" if limit == 1 else f"{limit} trials are done")


def train_finalists(search: Search, count: int, *, with_paper: bool) -> TrialsEnd:
    """Train the missing repeats of the best trials, on more seeds, one at a time.

    Args:
        search: The study, its search complete.
        count: Number of finalists.
        with_paper: Whether the paper's configuration is repeated too.
    """
    study, goal = search.study, search.context.goal

    def on_end(number: int) -> None:
        search.log(_result(study.trials[number], goal))

    trials = _Trials(search)
    while True:
        recorded = study.trials
        waiting = sum(trial.state == "waiting" for trial in recorded)
        if not waiting:
            missing = missing_repeats(recorded, goal, count, with_paper=with_paper)
            if not missing:
                return TrialsEnd("the finalists are trained")
            study.enqueue_repeat(recorded[missing[0]])
        end = trials.optimize(1, on_end)
        if end is not None:
            return end


def _result(trial: StudyTrial, goal: Goal) -> str:
    """A trial that has ended: its number, values and hyperparameters."""
    repeated = "" if trial.repeat_of is None else f", as trial {trial.repeat_of}"
    result_text = goal.in_words(trial.values) if trial.values else trial.state
    return f"trial {trial.number}{repeated}: {result_text} ({in_words(trial.chosen)})"


def _best_so_far(study: Study, goal: Goal) -> str:
    best = study.best
    if len(goal.names) > 1:
        return f"front so far: {', '.join(str(each.number) for each in best) or 'none'}"
    if not best:
        return "best so far: none"
    return f"best so far: trial {best[0].number}, {goal.in_words(best[0].values)}"


def check_memory(workers: int, peak_rss_bytes: int | None) -> None:
    """Check that memory suffices for trainings of this peak at the same time.

    Raises:
        BenchError: Together they would take more than is free.
    """
    free, peak = psutil.virtual_memory().available, peak_rss_bytes or 0
    if workers * peak > free:
        raise BenchError(
            f"--workers {workers}: so many trainings take {formatting.gibibytes(workers * peak)}, "
            f"but only {formatting.gibibytes(free)} are free",
            f"choose at most {max(1, free // peak)}",
        )


def run_in_parallel(search: Search, limit: int, until: float | None, workers: int) -> TrialsEnd:
    """Train the paper's trial alone, which shows how much memory one takes; then the others.

    Raises:
        BenchError: So many trainings take more memory than is free.
    """
    study = search.study
    if paper_trial(study.trials) is None:
        counted = limit - _missing(study, limit)
        ended = run_trials(search, min(limit, counted + 1), until)
        if ended.exit_status:
            return ended
    is_late = until is not None and time.monotonic() >= until
    if is_late and _missing(study, limit) > 0:
        return out_of_time(study)
    paper = paper_trial(study.trials)
    check_memory(workers, paper.peak_rss_bytes if paper else None)
    search.log(f"{workers} workers train trials at the same time: times are suspect")
    return run_trials(search, limit, until, workers=workers)


def _missing(study: Study, limit: int) -> int:
    return limit - sum(trial.counts for trial in study.trials)


def out_of_time(study: Study) -> TrialsEnd:
    """End of a search by timeout: an error if fewer than two trials are done."""
    done = [trial for trial in study.trials if trial.counts]
    if len(done) > 1:
        return TrialsEnd("the time is up")
    seconds = formatting.duration(done[0].seconds if done else None)
    error = BenchError(
        f"--timeout expired after the first trial, which took {seconds}",
        "increase --timeout",
        exit_status=EXIT_FAILURE,
    )
    return TrialsEnd("the time is up", EXIT_FAILURE, error)
