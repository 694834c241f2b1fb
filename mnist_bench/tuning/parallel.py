"""Several processes that train a study's trials at the same time: the parent's end, and each one's.

`python -m mnist_bench.tuning.parallel` is one member; it reads its `WorkerOrders` on standard input.
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
from mnist_bench.core.errors import EXIT_BROKE, EXIT_TERMINATED, BenchError
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
"""What starts a member."""


class WorkerOrders(Record):
    """What a member is told.

    Attributes:
        study: Name of the study.
        storage: Optuna's URL; None for the journal.
        tracking_uri: Where MLflow records, as the user gave it.
        question: What the trials have in common.
        trials: So many, of all members together.
        seconds: After so long no further trial is begun; None sets no time.
        member: Its number, from 1 on.
    """

    study: str
    storage: str | None
    tracking_uri: str
    question: TrialContext
    trials: int
    seconds: float | None
    member: int


def check_memory(members: int, peak_rss_bytes: int | None) -> None:
    """Refuse a crew that memory has no room for.

    Args:
        members: Processes that train at the same time.
        peak_rss_bytes: What a training was seen to take at most; None where that is not told.

    Raises:
        BenchError: Together they would take more than is free.
    """
    free, peak = psutil.virtual_memory().available, peak_rss_bytes or 0
    if members * peak > free:
        raise BenchError(
            f"--workers {members}: so many trainings take {formatting.gibibytes(members * peak)}, and "
            f"{formatting.gibibytes(free)} are free",
            f"choose at most {max(1, free // peak)}",
        )


def work(orders: Sequence[WorkerOrders]) -> TrialsEnd:
    """Let every member work until its end."""
    members = [subprocess.Popen(COMMAND, stdin=subprocess.PIPE) for _ in orders]
    try:
        for member, told in zip(members, orders, strict=True):
            _tell(member, told)
        statuses = [member.wait() for member in members]
    except (KeyboardInterrupt, Terminated) as error:
        _end(members)
        status = executor.status_of(error)
        return TrialsEnd(status, None, ENDS[status])
    except BaseException:
        _end(members)
        raise
    finally:
        for member in members:
            if member.stdin is not None:
                with contextlib.suppress(OSError):
                    member.stdin.close()
    worst = max(map(abs, statuses))
    return TrialsEnd(EXIT_BROKE if worst else 0, None, ENDS[EXIT_BROKE] if worst else "all is done")


def _tell(member: subprocess.Popen[bytes], orders: WorkerOrders) -> None:
    """Give a member its orders; the pipe stays open: its end says that nobody is left."""
    if member.stdin is not None:
        with contextlib.suppress(OSError):  # one that is gone is noticed by its status
            member.stdin.write(orders.model_dump_json().encode() + b"\n")
            member.stdin.flush()


def _end(members: Sequence[subprocess.Popen[bytes]]) -> None:
    """Ask each to end, and wait until it has put its trial away."""
    for member in members:
        member.terminate()
    for member in members:
        member.wait()


class _Silent:
    """Watches a trial of a member, whose parent shows nothing of it but faults."""

    def begun(self, trajectory: TrainingJob) -> None:
        """A worker was started."""

    def sampled(self, sample: SampleMessage) -> None:
        """A stretch of training has ended."""

    def scored(self, evaluation: Evaluation) -> None:
        """The network was scored."""

    def warned(self, line: str) -> None:
        """Something is wrong, and the trial goes on."""
        _say(line)

    def ended(self, trajectory: TrainingJob, failure: str | None, log_tail: str) -> None:
        """The trial has ended."""
        if failure:
            self.warned(f"trial {trajectory.seed} did not finish: {failure}\n{log_tail}".rstrip())


def _watched(_plan: TrainingPlan) -> AbstractContextManager[Watcher]:
    return nullcontext(_Silent())


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201  # a member has no console of its own


def main() -> int:
    """Serve one member's orders; its exit status."""
    raise_on_sigterm()
    orders = WorkerOrders.model_validate_json(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    question = orders.question
    begin = time.monotonic()
    try:
        store = MlflowStore(orders.tracking_uri, question.address.experiment)
        me = process_identity.current_process(question.machine.machine_id)
        study = Study(
            orders.study,
            orders.storage,
            question.space,
            question.goal,
            me,
            machine=question.machine.name,
            member=orders.member,
            images=question.source.digest,
        )
        until = None if orders.seconds is None else begin + orders.seconds
        limits = SearchLimits(orders.trials, until, waits=False)
        ended = run_trials(Search(study, question, store, _watched, _say), limits)
    except BenchError as error:
        _say(f"mnist-bench: {error}")
        return error.exit_status
    except (KeyboardInterrupt, Terminated):
        return EXIT_TERMINATED
    if ended.error:
        _say(f"mnist-bench: {ended.error}")
    return ended.exit_status


def _end_with_parent() -> None:
    """Where the command was killed, its members must not train on, beside whoever comes next."""
    # Not through sys.stdin: a thread that holds its lock would break the interpreter's end.
    while os.read(sys.stdin.fileno(), 1024):
        pass
    deliver(signal.SIGTERM)  # puts the trial away


if __name__ == "__main__":
    sys.exit(main())
