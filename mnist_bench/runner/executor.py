"""Starts one fresh process a trajectory, and hands on what it says."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mnist_bench.core import retry, signals
from mnist_bench.core.errors import EXIT_BROKE, EXIT_INTERRUPTED, EXIT_TERMINATED, BenchError
from mnist_bench.core.process_identity import current_process
from mnist_bench.core.signals import Terminated
from mnist_bench.measurement.machine import Machine
from mnist_bench.results import protocol
from mnist_bench.results.run import Evaluation, PhaseName, RunResult, Status
from mnist_bench.runner.plan import TrainingJob, TrainingPlan, planned_runs
from mnist_bench.runner.process import WorkerProcess
from mnist_bench.tracking import spool
from mnist_bench.tracking.mlflow_store import MlflowStore
from mnist_bench.tracking.recorder import Recorder, Recorders, WarnOnce, now_ms
from mnist_bench.tracking.spool import Address, Header

SHARED_PHASES: tuple[PhaseName, ...] = ("import", "data", "other")
"""In which the store is opened meanwhile, by the process that started the worker."""


@dataclass(frozen=True)
class Outcome:
    """What came of a plan.

    Attributes:
        results: Every run that was begun, in the plan's order.
        exit_status: 0, or that of what ended the plan early.
        error: What broke around the trainings, or keeps results waiting; None where nothing does.
    """

    results: tuple[RunResult, ...]
    exit_status: int = 0
    error: BenchError | None = None


class Watcher(Protocol):
    """Somebody who is told how a plan goes."""

    def begun(self, trajectory: TrainingJob) -> None:
        """A worker was started."""

    def sampled(self, sample: protocol.SampleMessage) -> None:
        """A stretch of training has ended."""

    def scored(self, evaluation: Evaluation) -> None:
        """The network was scored."""

    def warned(self, line: str) -> None:
        """Something is wrong, and the plan goes on."""

    def ended(self, trajectory: TrainingJob, failure: str | None, log_tail: str) -> None:
        """The trajectory has ended; `failure` is what the training itself ended with."""


def _never_enough(_results: Sequence[RunResult]) -> bool:
    return False


def never_pruned() -> str | None:
    """Let every training come to its end."""
    return None


class _Pruned(Exception):  # noqa: N818  # no error
    """The training is to be ended: others are ahead."""


def execute(
    plan: TrainingPlan,
    machine: Machine,
    address: Address,
    open_store: Callable[[], MlflowStore],
    watcher: Watcher,
    *,
    enough: Callable[[Sequence[RunResult]], bool] = _never_enough,
    earlier: Sequence[RunResult] = (),
    prune: Callable[[], str | None] = never_pruned,
    exclusive: bool = True,
    opens_store: bool = True,
    patience_seconds: float = 0.0,
) -> Outcome:
    """Train every trajectory of a plan, each in a process of its own, and record its runs.

    A worker that fails leaves its unfinished runs FAILED and the others go on; so do they where
    the store fails on the way: what it refuses waits in a journal. Ctrl-C and SIGTERM leave runs
    KILLED and end the plan; so does a store that can't be opened.

    Args:
        plan: What to train.
        machine: The described machine, kept with every run.
        address: Where the runs are recorded.
        open_store: Opens the store, or hands on the one that is open; called while the worker
            imports TensorFlow.
        watcher: Told what happens.
        enough: Asked before each seed with all results so far; True ends the plan.
        earlier: Results of before that count as well.
        prune: Asked after each message of a worker, when the watcher was told: why its training
            should end right now; None where it should not.
        exclusive: Whether the suite kept other benchmarks of this user away.
        opens_store: Whether `open_store` opens it first here.
        patience_seconds: For so long at the end a store that refuses is asked again.
    """
    shelf = Recorders()
    course = _Course(plan, shelf, open_store, watcher, prune)
    warn = WarnOnce(watcher.warned)
    owner = current_process(machine.machine_id)
    seed: int | None = None
    for trajectory in plan.trajectories:
        if trajectory.seed != seed and enough((*earlier, *shelf.runs)):
            break
        seed = trajectory.seed
        shared = SHARED_PHASES if opens_store and not shelf.runs else ()
        header = Header(
            at_ms=now_ms(),
            owner=owner,
            address=address,
            machine=machine,
            scenario=plan.scenario,
            runs=planned_runs(plan, trajectory, machine, shared),
            exclusive=exclusive,
        )
        ended = _begun(course, trajectory, header, warn)
        if ended.exit_status:
            return Outcome(shelf.runs, ended.exit_status, ended.error or shelf.refusal)
    status = _insisted(shelf, patience_seconds)
    return Outcome(shelf.runs, status, shelf.refusal)


def _insisted(shelf: Recorders, patience_seconds: float) -> int:
    """Offer again and again what a store refused; 0, or the exit status of an interruption."""
    until = time.monotonic() + patience_seconds
    try:
        while shelf.refusal and time.monotonic() < until:
            time.sleep(retry.AGAIN_SECONDS)
            with signals.defer_signals():
                shelf.settle()
    except (KeyboardInterrupt, Terminated) as error:
        return status_of(error)
    return 0


def status_of(error: BaseException) -> int:
    """The exit status of an interruption: that of Ctrl-C, or of SIGTERM."""
    return EXIT_INTERRUPTED if isinstance(error, KeyboardInterrupt) else EXIT_TERMINATED


@dataclass(frozen=True)
class _Ended:
    """How a trajectory ended: 0, or why the plan must end with it."""

    exit_status: int = 0
    error: BenchError | None = None


@dataclass(frozen=True)
class _Course:
    """What all trainings of a plan have in common."""

    plan: TrainingPlan
    shelf: Recorders
    open_store: Callable[[], MlflowStore]
    watcher: Watcher
    prune: Callable[[], str | None]


def _begun(course: _Course, trajectory: TrainingJob, header: Header, warn: WarnOnce) -> _Ended:
    """Start a worker and train."""
    try:
        logbook = Recorder(header, warn)
        request = _request(course.plan, trajectory, logbook.folder)
        worker = WorkerProcess(request, logbook.folder / "worker.log")
    except OSError as error:
        spool.remove(spool.path_of(trajectory.id))
        return _Ended(EXIT_BROKE, _no_worker(error))
    course.shelf.add(logbook)
    with worker:
        return _train(course, trajectory, worker, logbook)


def _no_worker(error: OSError) -> BenchError:
    return BenchError(
        f"no training process could be started: {error}",
        "see whether there is room on the disk and memory is free",
        exit_status=EXIT_BROKE,
    )


def _train(
    course: _Course, trajectory: TrainingJob, worker: WorkerProcess, logbook: Recorder
) -> _Ended:
    """Follow one training to its end and record its runs."""

    def close(status: Status, reason: str) -> None:
        worker.kill()
        with signals.defer_signals():
            logbook.close(status, reason)
            course.shelf.settle()

    watcher = course.watcher
    watcher.begun(trajectory)
    try:
        failure = _follow(course, worker, logbook)
        log_tail = worker.log_tail() if failure else ""
        close("failed", failure or "it said its last word too early")
    except _Pruned as others:
        close("pruned", str(others))
        watcher.ended(trajectory, None, "")
        return _Ended()
    except (KeyboardInterrupt, Terminated) as error:
        status = status_of(error)
        reason = "interrupted" if status == EXIT_INTERRUPTED else "terminated"
        close("killed", reason)
        watcher.ended(trajectory, reason, "")
        return _Ended(status)
    except BenchError as error:
        close("failed", str(error))
        watcher.ended(trajectory, None, "")  # it is told once, when the command ends
        return _Ended(error.exit_status, error)
    except BaseException as error:
        close("failed", f"{type(error).__name__}: {error}")
        raise
    watcher.ended(trajectory, failure, log_tail)
    return _Ended()


def _follow(course: _Course, worker: WorkerProcess, logbook: Recorder) -> str | None:
    """Hand on what the worker says until its end; why it failed, None where it did not."""
    # Held back: a database half-created could not be used again, a run made and not remembered
    # would stay RUNNING.
    with signals.defer_signals():
        logbook.begin(course.open_store())
    worker.go()
    for message in worker.messages():
        with signals.defer_signals():
            logbook.take(message)
        _tell(course.watcher, message)
        if reason := course.prune():
            raise _Pruned(reason)
    return worker.end()


def _tell(watcher: Watcher, message: protocol.Message) -> None:
    if isinstance(message, protocol.SampleMessage):
        watcher.sampled(message)
    elif isinstance(message, protocol.EvaluationMessage):
        watcher.scored(message.evaluation)


def _request(plan: TrainingPlan, trajectory: TrainingJob, folder: Path) -> protocol.Request:
    return protocol.Request(
        model=plan.scenario.model,
        hyperparameters=plan.scenario.hyperparameters,
        training_seed=trajectory.training_seed,
        rows=trajectory.rows,
        grid=plan.scenario.grid,
        source=plan.source,
        execution=trajectory.execution,
        folder=str(folder),
        started_at=time.time(),
        save_weights=plan.scenario.save_weights,
        train_seconds_limit=plan.train_seconds_limit,
        with_test=plan.trial is None,
    )
