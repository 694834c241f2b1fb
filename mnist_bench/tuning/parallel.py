"""Parallel workers that train a study's trials at the same time: parent side and worker side.

`python -m mnist_bench.tuning.parallel` is one worker; it reads `WorkerOrders` from standard input.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import psutil

from mnist_bench.core import formatting, process_identity
from mnist_bench.core.errors import EXIT_FAILURE, EXIT_TERMINATED, BenchError
from mnist_bench.core.records import Record
from mnist_bench.core.signals import Terminated, deliver, raise_on_sigterm
from mnist_bench.results.protocol import SampleMessage
from mnist_bench.results.run import Evaluation
from mnist_bench.runner import executor
from mnist_bench.runner.executor import Watcher
from mnist_bench.runner.plan import TrainingJob, TrainingPlan
from mnist_bench.tracking.mlflow_store import MlflowStore
from mnist_bench.tuning.scheduling import run_trials
from mnist_bench.tuning.study import Study
from mnist_bench.tuning.trial_plan import ENDS, TrialContext, TrialsEnd
from mnist_bench.tuning.trial_runner import Search, SearchLimits

COMMAND: tuple[str, ...] = (sys.executable, "-P", "-m", "mnist_bench.tuning.parallel")
"""Command that starts a worker."""


class WorkerOrders(Record):
    """What a worker gets from its parent.

    Attributes:
        study: Name of the study.
        storage: Optuna's URL; None for the journal.
        question: Context of all trials.
        trials: Number of trials of all workers together.
        seconds: No trial starts after this; None sets no limit.
        member: Worker number, from 1 on.
    """

    study: str
    storage: str | None
    tracking_uri: str
    question: TrialContext
    trials: int
    seconds: float | None
    member: int


def check_memory(workers: int, peak_rss_bytes: int | None) -> None:
    """Check that memory suffices for this many workers.

    Args:
        workers: Processes that train at the same time.
        peak_rss_bytes: Of one training; None if unknown.

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


def run_workers(orders: Sequence[WorkerOrders]) -> TrialsEnd:
    """Run all workers until each has ended."""
    workers = [subprocess.Popen(COMMAND, stdin=subprocess.PIPE) for _ in orders]
    try:
        for worker, worker_orders in zip(workers, orders, strict=True):
            _send_orders(worker, worker_orders)
        statuses = [worker.wait() for worker in workers]
    except (KeyboardInterrupt, Terminated) as error:
        _terminate(workers)
        status = executor.status_of(error)
        return TrialsEnd(status, None, ENDS[status])
    except BaseException:
        _terminate(workers)
        raise
    finally:
        for worker in workers:
            if worker.stdin is not None:
                with contextlib.suppress(OSError):
                    worker.stdin.close()
    worst = max(map(abs, statuses))
    return TrialsEnd(
        EXIT_FAILURE if worst else 0, None, ENDS[EXIT_FAILURE] if worst else "all is done"
    )


def _send_orders(worker: subprocess.Popen[bytes], orders: WorkerOrders) -> None:
    """Send a worker its orders. The pipe stays open: when it closes, the parent is gone."""
    if worker.stdin is not None:
        with contextlib.suppress(OSError):  # a dead worker shows in its exit status
            worker.stdin.write(orders.model_dump_json().encode() + b"\n")
            worker.stdin.flush()


def _terminate(workers: Sequence[subprocess.Popen[bytes]]) -> None:
    """Terminate all workers and wait until they have released their trials."""
    for worker in workers:
        worker.terminate()
    for worker in workers:
        worker.wait()


class _WarningsOnly:
    """Watcher of a worker's trials: prints warnings and failures only."""

    def begun(self, job: TrainingJob) -> None:
        """The training process has started."""

    def sampled(self, sample: SampleMessage) -> None:
        """A stretch of training has ended."""

    def scored(self, evaluation: Evaluation) -> None:
        """The network was evaluated."""

    def warned(self, line: str) -> None:
        """Something is wrong, but the trial continues."""
        _warn(line)

    def ended(self, job: TrainingJob, failure: str | None, log_tail: str) -> None:
        """The trial has ended."""
        if failure:
            self.warned(f"trial {job.seed} did not finish: {failure}\n{log_tail}".rstrip())


def _watched(_plan: TrainingPlan) -> AbstractContextManager[Watcher]:
    return nullcontext(_WarningsOnly())


def _warn(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201  # a worker has no console


def main() -> int:
    """Run one worker; return its exit status."""
    raise_on_sigterm()
    orders = WorkerOrders.model_validate_json(sys.stdin.buffer.readline())
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    context = orders.question
    started = time.monotonic()
    try:
        store = MlflowStore(orders.tracking_uri, context.address.experiment)
        owner = process_identity.current_process(context.machine.machine_id)
        study = Study(
            orders.study,
            orders.storage,
            context.space,
            context.goal,
            owner,
            machine=context.machine.name,
            worker_number=orders.member,
            images=context.source.digest,
        )
        until = None if orders.seconds is None else started + orders.seconds
        limits = SearchLimits(orders.trials, until, waits=False)
        end = run_trials(Search(study, context, store, _watched, _warn), limits)
    except BenchError as error:
        _warn(f"mnist-bench: {error}")
        return error.exit_status
    except (KeyboardInterrupt, Terminated):
        return EXIT_TERMINATED
    if end.error:
        _warn(f"mnist-bench: {end.error}")
    return end.exit_status


def _exit_with_parent() -> None:
    """End this worker when its parent dies, so that it does not disturb later benchmarks."""
    # Not through sys.stdin: a thread that holds its lock would break interpreter shutdown.
    while os.read(sys.stdin.fileno(), 1024):
        pass
    deliver(signal.SIGTERM)  # releases the trial


if __name__ == "__main__":
    sys.exit(main())
