"""Execution of a plan: one fresh worker process per job, its runs recorded as it trains."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mnist_bench.core import signals
from mnist_bench.core.errors import EXIT_FAILURE, EXIT_INTERRUPTED, EXIT_TERMINATED, BenchError
from mnist_bench.core.signals import Terminated
from mnist_bench.measurement.machine import Machine
from mnist_bench.results import protocol
from mnist_bench.results.run import Evaluation, PhaseName, RunResult, Status
from mnist_bench.runner.plan import TrainingJob, TrainingPlan, planned_runs
from mnist_bench.runner.process import WorkerProcess
from mnist_bench.tracking import spool
from mnist_bench.tracking.mlflow_store import MlflowStore
from mnist_bench.tracking.recorder import (
    LOG,
    Recorder,
    Recorders,
    WarnOnce,
    now_ms,
    process_owner,
)
from mnist_bench.tracking.spool import Address, Header

SHARED_PHASES: tuple[PhaseName, ...] = ("import", "data", "other")
"""Phases of the worker during which the parent opens the store, so their times are shared."""


@dataclass(frozen=True)
class Outcome:
    """Result of a plan.

    Attributes:
        results: Every run that was started, in the plan's order.
        exit_status: 0, or the exit status of what ended the plan early.
        error: An error outside the trainings, e.g. of the store; None if there was none.
        machine: The machine of the last job; None for this one.
    """

    results: tuple[RunResult, ...]
    exit_status: int = 0
    error: BenchError | None = None
    machine: Machine | None = None


class Watcher(Protocol):
    """Callbacks for the progress of a plan."""

    def begun(self, job: TrainingJob) -> None:
        """A worker was started for the job."""

    def sampled(self, sample: protocol.SampleMessage) -> None:
        """A stretch of training has ended."""

    def scored(self, evaluation: Evaluation) -> None:
        """The network was scored."""

    def warned(self, line: str) -> None:
        """Something is wrong; the plan goes on."""

    def ended(self, job: TrainingJob, failure: str | None, log_tail: str) -> None:
        """The job has ended; `failure` is why its training failed, None if it did not."""


def never_pruned() -> str | None:
    """Prune no training."""
    return None


class _Pruned(Exception):  # noqa: N818  # no error
    """The pruner ended the training."""


class Stop:
    """Ends trainings that run in threads, where no signal arrives.

    Attributes:
        exit_status: 0, or the status of the interruption.
    """

    def __init__(self) -> None:
        self.exit_status = 0
        self._enders: set[Callable[[], None]] = set()
        self._lock = threading.RLock()  # a signal handler may interrupt its own thread

    def __call__(self, exit_status: int) -> None:
        """End the running trainings, and let none begin."""
        with self._lock:
            self.exit_status = exit_status
            for end in tuple(self._enders):
                end()

    def add(self, end: Callable[[], None]) -> None:
        """Call `end` when stopped; at once if that has happened."""
        with self._lock:
            self._enders.add(end)
            if self.exit_status:
                end()

    def remove(self, end: Callable[[], None]) -> None:
        """Forget `end`."""
        with self._lock:
            self._enders.discard(end)


def reason_of(exit_status: int) -> str:
    """Why a run was killed, in a word."""
    return "interrupted" if exit_status == EXIT_INTERRUPTED else "terminated"


def execute(
    plan: TrainingPlan,
    machine: Machine,
    address: Address,
    open_store: Callable[[], MlflowStore],
    watcher: Watcher,
    *,
    enough: Callable[[Sequence[RunResult]], bool] = lambda _: False,
    earlier: Sequence[RunResult] = (),
    prune: Callable[[], str | None] = never_pruned,
    exclusive: bool = True,
    opens_store: bool = True,
    stop: Stop | None = None,
) -> Outcome:
    """Train every job of a plan, each in its own process, and record its runs.

    If a worker fails, its unfinished runs become FAILED and the plan goes on. It also goes on if
    the store fails after it was opened: the messages stay in the spool. Ctrl-C and SIGTERM mark the
    unfinished runs KILLED and end the plan. A store that can't be opened ends it too.

    Args:
        machine: This machine's description, recorded with every run.
        address: Where the runs are recorded.
        open_store: Returns the store, opened on the first call; called while the worker imports
            TensorFlow.
        enough: Called before each seed with all results so far; True ends the plan.
        earlier: Results of earlier commands that `enough` counts too.
        prune: Called after each message of a worker and after the watcher got it; returns why to
            end the training now, or None.
        exclusive: Whether other benchmarks of this user were locked out.
        opens_store: Whether the first call of `open_store` opens the store.
        stop: Ends the plan from another thread; its trainings are then killed.
    """
    signals.interrupted.clear()  # by an earlier call from Python
    recorders = Recorders()
    context = _Context(recorders, open_store, watcher, prune, stop or Stop())
    warn = WarnOnce(watcher.warned)
    owner = process_owner()
    seed: int | None = None
    for job in plan.jobs:
        if job.seed != seed and enough((*earlier, *recorders.runs)):
            break
        seed = job.seed
        shared = SHARED_PHASES if opens_store and not recorders.runs else ()
        header = Header(
            at_ms=now_ms(),
            owner=owner,
            address=address,
            machine=machine,
            scenario=plan.scenario,
            runs=planned_runs(plan, job, machine, shared),
            exclusive=exclusive,
            tags=dict(plan.tags),
        )
        try:
            recorder = Recorder(header, warn)
            request = request_of(plan, job, recorder.folder)
            worker = WorkerProcess(request, recorder.folder / LOG)
        except OSError as error:
            spool.remove(spool.path_of(job.id))
            no_worker = BenchError(
                f"no training process could be started: {error}",
                "check that the disk is not full and that memory is free",
                exit_status=EXIT_FAILURE,
            )
            return Outcome(recorders.runs, EXIT_FAILURE, no_worker)
        recorders.add(recorder)
        with worker:
            exit_status, store_error = _train(context, job, worker, recorder)
        if exit_status:
            return Outcome(recorders.runs, exit_status, store_error or recorders.upload_error)
    return Outcome(recorders.runs, 0, recorders.upload_error)


def status_of(error: BaseException) -> int:
    """The exit status for Ctrl-C or SIGTERM."""
    return EXIT_INTERRUPTED if isinstance(error, KeyboardInterrupt) else EXIT_TERMINATED


@dataclass(frozen=True)
class _Context:
    """What all jobs of a plan share."""

    recorders: Recorders
    open_store: Callable[[], MlflowStore]
    watcher: Watcher
    prune: Callable[[], str | None]
    stop: Stop


def _train(
    context: _Context, job: TrainingJob, worker: WorkerProcess, recorder: Recorder
) -> tuple[int, BenchError | None]:
    """Follow one training to its end and record its runs; 0, or why the plan must end with it."""

    def close(status: Status, reason: str) -> None:
        worker.kill()
        with signals.defer_signals():
            recorder.close(status, reason)
            context.recorders.upload_pending()

    watcher, stop = context.watcher, context.stop
    watcher.begun(job)
    stop.add(worker.stop)
    try:
        failure = _follow(context, worker, recorder)
        if stop.exit_status and failure:
            close("killed", reason_of(stop.exit_status))
            watcher.ended(job, reason_of(stop.exit_status), "")
            return stop.exit_status, None
        log_tail = worker.log_tail() if failure else ""
        close("failed", failure or "it reported its end too early")
    except _Pruned as pruned:
        close("pruned", str(pruned))
        watcher.ended(job, None, "")
        return 0, None
    except (KeyboardInterrupt, Terminated) as error:
        signals.interrupted.set()
        status = status_of(error)
        close("killed", reason_of(status))
        watcher.ended(job, reason_of(status), "")
        return status, None
    except BenchError as error:
        close("failed", str(error))
        watcher.ended(job, None, "")  # the command prints the error at its end
        return error.exit_status, error
    except BaseException as error:
        close("failed", f"{type(error).__name__}: {error}")
        raise
    finally:
        stop.remove(worker.stop)
    watcher.ended(job, failure, log_tail)
    return 0, None


def _follow(context: _Context, worker: WorkerProcess, recorder: Recorder) -> str | None:
    """Record and forward the worker's messages until its end; why it failed, None if it did not."""
    # Signals are deferred: a half-created database would be unusable, and a run that was created
    # but not remembered would stay RUNNING.
    with signals.defer_signals():
        recorder.start(context.open_store())
    worker.go()
    for message in worker.messages():
        with signals.defer_signals():
            recorder.add_message(message)
        notify(context.watcher, message)
        if reason := context.prune():
            raise _Pruned(reason)
    return worker.end()


def notify(watcher: Watcher, message: protocol.Message) -> None:
    """Tell a watcher of a worker's message."""
    if isinstance(message, protocol.SampleMessage):
        watcher.sampled(message)
    elif isinstance(message, protocol.EvaluationMessage):
        watcher.scored(message.evaluation)


def request_of(plan: TrainingPlan, job: TrainingJob, folder: Path) -> protocol.Request:
    """What a worker is asked to train; its files go into a folder."""
    return protocol.Request(
        model=plan.scenario.model,
        hyperparameters=plan.scenario.hyperparameters,
        training_seed=job.training_seed,
        step_counts=job.step_counts,
        grid=plan.scenario.grid,
        source=plan.source,
        execution=job.execution,
        folder=str(folder),
        started_at=time.time(),
        save_weights=plan.scenario.save_weights,
        train_seconds_limit=plan.train_seconds_limit,
        with_test=plan.trial is None,
    )
