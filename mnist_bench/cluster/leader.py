"""Trainings of a plan on the machines of a cluster, recorded here as they end."""

from __future__ import annotations

import dataclasses
import itertools
import queue
import re
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from mnist_bench.cluster.connect import Cluster
from mnist_bench.cluster.tasks import (
    ATTEMPTS,
    Attempt,
    Job,
    JobResult,
    TrainingFailedError,
    images_resource,
    train,
)
from mnist_bench.core import signals
from mnist_bench.core.errors import EXIT_FAILURE, BenchError
from mnist_bench.core.escaping import one_line
from mnist_bench.core.formatting import counted
from mnist_bench.core.limits import DeviceChoice
from mnist_bench.core.signals import Terminated
from mnist_bench.results.protocol import Message
from mnist_bench.results.run import RunResult, Status
from mnist_bench.runner import executor
from mnist_bench.runner.executor import Outcome, Stop, Watcher, never_pruned
from mnist_bench.runner.plan import TrainingJob, TrainingPlan, planned_runs
from mnist_bench.tracking.mlflow_store import MlflowStore
from mnist_bench.tracking.recorder import (
    LOG,
    WORKER_FILES,
    Recorder,
    Recorders,
    WarnOnce,
    process_owner,
)
from mnist_bench.tracking.spool import Address, Header, MessageEntry

if TYPE_CHECKING:
    from distributed import Future

    from mnist_bench.cluster.progress import ClusterProgress

_POLL_SECONDS = 0.5
"""Longest wait for an event: on Windows, Ctrl-C does not interrupt a wait."""
_MOST_VANISHED = 6
"""Attempts at a training whose machines keep vanishing, which may be its fault."""

_FILE = re.compile(rf"{re.escape(LOG)}|[0-9]{{1,7}}/({'|'.join(map(re.escape, WORKER_FILES))})")
"""Names of a worker's files."""
_AGAIN = "`--resume` trains again what is not recorded"


@dataclass
class Training:
    """A job on the cluster.

    Attributes:
        order: The job as a machine gets it, in JSON.
        state: `in work` while a machine trains it, as far as is known.
        attempt: The attempt that is going on, or the last one; None before the first.
        attempts: Number of attempts so far.
        messages: Messages of the attempt so far.
        files: The files of the worker's folder, once it has finished.
        failure: Why it failed; empty if it did not.
        log_tail: The last lines of the log of a training that failed.
    """

    job: TrainingJob
    order: str
    state: Literal["waiting", "in work", "ended"] = "waiting"
    attempt: Attempt | None = None
    attempts: int = 0
    messages: list[MessageEntry] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    failure: str = ""
    log_tail: str = ""

    @property
    def host(self) -> str:
        """Name of the machine of the attempt; empty before the first."""
        return self.attempt.host if self.attempt else ""


@dataclass(frozen=True)
class Leader:
    """What all trainings of a command on a cluster share.

    Attributes:
        address: Where the runs are recorded.
        open_store: Returns the store.
        device: Where to train.
        every_core: Whether each training takes every core of its machine; else as many threads as
            its job says.
    """

    cluster: Cluster
    address: Address
    open_store: Callable[[], MlflowStore]
    device: DeviceChoice = "cpu"
    every_core: bool = True

    def order(self, plan: TrainingPlan, job: TrainingJob) -> str:
        """A job of a plan as a machine gets it, in JSON."""
        request = executor.request_of(plan, job, Path())
        source = request.source.model_copy(update={"location": ""})  # a folder of this machine
        what = f"trial {plan.trial.number} of {plan.trial.study}" if plan.trial else plan.name
        return Job(
            title=f"{what}, seed {job.seed}",
            request=request.model_copy(update={"source": source}),
            threads=None if self.every_core else job.execution.threads,
            device=self.device,
            topic=self.cluster.topic,
        ).model_dump_json()

    def record(
        self,
        plan: TrainingPlan,
        training: Training,
        recorders: Recorders,
        warn: WarnOnce,
        *,
        status: Status = "failed",
        reason: str | None = None,
    ) -> tuple[RunResult, ...]:
        """Record the last attempt at a training, and upload what earlier ones left.

        Args:
            status: Of the runs that did not finish.
            reason: Why they did not, unless the training itself failed.

        Raises:
            BenchError: No machine began it, or the store can't be opened.
        """
        attempt, reason = training.attempt, training.failure or reason
        if attempt is None:
            raise BenchError(
                f"no machine could begin a training: {reason}",
                "see what `mnist-bench join` printed there",
                exit_status=EXIT_FAILURE,
            )
        job = dataclasses.replace(training.job, execution=attempt.execution)
        header = Header(
            at_ms=attempt.at_ms,
            owner=process_owner(),
            address=self.address,
            machine=attempt.machine,
            scenario=plan.scenario,
            runs=planned_runs(plan, job, attempt.machine),
            exclusive=attempt.exclusive,
            tags=dict(plan.tags),
        )
        with signals.defer_signals():
            store = self.open_store()
            recorder = Recorder(header, warn)
            recorders.add(recorder)
            log = {LOG: training.log_tail.encode()} if training.log_tail else {}
            write_files(log | training.files, recorder.folder)
            recorder.start(store)
            recorder.add(*training.messages)
            recorder.close(status, reason or "it reported its end too early")
            recorders.upload_pending()
        return recorder.runs


def write_files(files: dict[str, bytes], folder: Path) -> None:
    """Write the files of a worker; with a full disk they are lost, but not the metrics.

    Raises:
        ValueError: A worker writes no file of that name.
    """
    for name, content in files.items():
        if not _FILE.fullmatch(name):
            raise ValueError(f"{name[:100]!r} is no file of a worker")
        path = folder / name
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


class Trainings:
    """The trainings of a plan on a cluster: iterating yields each with a message of its attempt.

    None instead of a message says that its state has changed: a machine has begun it (`in work`),
    the machine is gone (`waiting`), or it has `ended`.

    The iteration ends when all have ended or `stop` was called. The end of the context cancels
    those that have not ended: their machines are free within seconds.

    Args:
        stop: Ends the iteration from another thread.
        warn: Gets a line when the last machine has left.

    Attributes:
        unsubmitted: Trainings that Dask does not have yet, at first all, in the plan's order.
    """

    def __init__(
        self,
        leader: Leader,
        plan: TrainingPlan,
        stop: Stop | None = None,
        warn: Callable[[str], None] = lambda _line: None,
    ) -> None:
        self._cluster, self._stop, self._warn = leader.cluster, stop or Stop(), warn
        self._resources = {images_resource(plan.source.digest): 1}
        self.unsubmitted = deque(Training(job, leader.order(plan, job)) for job in plan.jobs)
        self._submitted: dict[str, tuple[Training, Future]] = {}
        self._numbers = itertools.count()
        self._events: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()

    @property
    def in_work(self) -> list[Training]:
        """Those that machines train, as far as is known."""
        return [each for each, _ in self._submitted.values() if each.state == "in work"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for key, (_training, future) in self._submitted.items():
            del self._cluster.receivers[key]
            future.release()

    def __iter__(self) -> Iterator[tuple[Training, Message | None]]:
        """Submit the trainings and follow them.

        Raises:
            BenchError: The scheduler went away.
        """
        while (self.unsubmitted or self._submitted) and not self._stop.exit_status:
            while self.unsubmitted:
                self._submit(self.unsubmitted.popleft())
            with suppress(queue.Empty):
                yield from self._take(self._events.get(timeout=_POLL_SECONDS))

    def _submit(self, training: Training) -> None:
        if self._cluster.client.status != "running":  # it would wait for the scheduler's return
            raise self._scheduler_gone()
        key = f"{training.job.id}-{next(self._numbers)}"
        self._cluster.receivers[key] = self._events.put
        future = self._cluster.client.submit(
            train,
            training.order,
            key=key,
            pure=False,
            retries=ATTEMPTS - 1,
            fifo_timeout=0,  # in the order of the plan
            resources=self._resources,
        )
        self._submitted[key] = training, future
        self._cluster.client.loop.add_callback(self._wait, key, future)

    async def _wait(self, key: str, future: Future) -> None:
        """Wait in Dask's thread for the end of a submission."""
        try:
            end = await future
        except Exception as error:  # noqa: BLE001  # of the worker, which may lack anything
            end = error
        # A result that a worker keeps is computed again if the worker vanishes.
        future.release()
        self._events.put({"key": key, "end": end})

    def _take(self, event: dict[str, Any]) -> Iterator[tuple[Training, Message | None]]:
        if event.get("action") == "remove-worker":
            for training in self.in_work:
                if training.attempt and training.attempt.worker == event["worker"]:
                    training.state = "waiting"
                    yield training, None
            if not self._cluster.workers():
                self._warn(self._cluster.nobody)
        elif event["key"] in self._submitted:
            training, _ = self._submitted[event["key"]]
            if "attempt" in event:
                training.attempt = Attempt.model_validate_json(event["attempt"])
                training.attempts += 1
                training.messages, training.state = [], "in work"
                yield training, None
            elif "end" in event:
                self._end(training, event["end"])
                del self._submitted[event["key"]], self._cluster.receivers[event["key"]]
                if training.state == "ended":
                    yield training, None
                else:
                    self.unsubmitted.append(training)
            elif training.attempt and event["of"] == training.attempt.id:  # not of one given up
                training.messages.append(MessageEntry.model_validate_json(event["message"]))
                yield training, training.messages[-1].message

    def _end(self, training: Training, end: str | Exception) -> None:
        """Note how a submission ended; the training may have to be submitted again."""
        from distributed import KilledWorker

        # The scheduler may go while it hands over a result.
        if isinstance(end, CancelledError | OSError):
            raise self._scheduler_gone()
        training.state = "ended"
        match end:
            case str():  # some of its events may be missing
                result = JobResult.model_validate_json(end)
                training.attempt, training.messages = result.attempt, list(result.messages)
                training.files = result.files
            case KilledWorker() if training.attempts < _MOST_VANISHED:
                # Dask blames jobs too that only waited for a worker that vanished.
                training.state = "waiting"
            case KilledWorker():
                training.failure = f"{training.attempts} machines vanished while they trained it"
            case TrainingFailedError():
                training.failure, training.log_tail = one_line(end.reason), end.log_tail
            case _:
                training.failure = one_line(f"{type(end).__name__}: {end}")

    def _scheduler_gone(self) -> BenchError:
        message = f"the scheduler at {self._cluster.address} went away: {_lost(self.in_work)}"
        return BenchError(message, _AGAIN, exit_status=EXIT_FAILURE)


def _lost(in_work: list[Training]) -> str:
    number = len(in_work)
    return f"{counted(number, 'training')} in work {'is' if number == 1 else 'are'} lost"


def train_one(
    leader: Leader,
    plan: TrainingPlan,
    watcher: Watcher,
    *,
    prune: Callable[[], str | None] = never_pruned,
    stop: Stop | None = None,
) -> Outcome:
    """Train the one job of a plan on some machine of the cluster, and record its runs.

    As `executor.execute`, and may be called from several threads. `Watcher.begun` is called as a
    machine begins: again, if the training begins anew because its machine vanished.

    Args:
        watcher: Receives progress.
        prune: Called after each message and after the watcher got it; returns why to end the
            training now, or None.
        stop: Ends the training from another thread; its runs are then killed.

    Raises:
        ValueError: The plan has not exactly one job.
    """
    (job,) = plan.jobs
    stop = stop or Stop()
    trainings = Trainings(leader, plan, stop)
    (training,) = trainings.unsubmitted
    status: Status = "failed"
    exit_status, reason = 0, None
    error: BenchError | None = None
    try:
        with trainings:
            for _, message in trainings:
                if message:
                    executor.notify(watcher, message)
                elif training.state == "in work":
                    watcher.begun(job)
                if training.state != "ended" and (reason := prune()):
                    status = "pruned"
                    break
    except BenchError as gone:
        status, reason = "killed", "the scheduler went away"
        exit_status, error = gone.exit_status, gone
    if status == "failed" and training.state != "ended":
        exit_status = stop.exit_status
        status, reason = "killed", executor.reason_of(exit_status)
    recorders, warn = Recorders(), WarnOnce(watcher.warned)
    runs: tuple[RunResult, ...] = ()
    if training.attempt or not exit_status:
        try:
            runs = leader.record(plan, training, recorders, warn, status=status, reason=reason)
        except BenchError as refused:
            exit_status, error = refused.exit_status, refused
    failure = None if status == "pruned" else training.failure or reason
    watcher.ended(job, failure, training.log_tail)
    machine = training.attempt.machine if training.attempt else None
    return Outcome(runs, exit_status, error or recorders.upload_error, machine)


def run_plan(leader: Leader, plan: TrainingPlan, progress: ClusterProgress) -> Outcome:
    """Train every job of a plan on the machines of the cluster; record each as it ends.

    Ctrl-C, SIGTERM and a scheduler that goes away end the plan: what is not recorded is lost. So
    does a cluster whose machines lack the images, before anything is trained.
    """
    if not plan.jobs:
        return Outcome(())
    trainings = Trainings(leader, plan, warn=progress.warned)
    recorders, warn = Recorders(), WarnOnce(progress.warned)
    exit_status = 0
    error: BenchError | None = None
    never_begun: BenchError | None = None
    try:
        leader.open_store()
        leader.cluster.wait_for_workers(plan.source, progress.warned)
        with trainings:
            for training, message in trainings:
                if message:
                    progress.received(training, message)
                elif training.state == "in work":
                    progress.begun(training)
                elif training.state == "waiting":
                    progress.vanished(training)
                else:
                    runs: tuple[RunResult, ...] = ()
                    try:
                        runs = leader.record(plan, training, recorders, warn)
                    except BenchError as refused:
                        never_begun = never_begun or refused
                    progress.ended(training, runs)
    except (KeyboardInterrupt, Terminated) as interruption:
        exit_status = executor.status_of(interruption)
        lost = f": {_lost(trainings.in_work)}; {_AGAIN}" if trainings.in_work else ""
        progress.warned(f"{executor.reason_of(exit_status)}{lost}")
    except BenchError as refused:
        exit_status, error = refused.exit_status, refused
    order = {job.id: number for number, job in enumerate(plan.jobs)}
    results = sorted(recorders.runs, key=lambda run: (order[run.trajectory], run.steps))
    return Outcome(tuple(results), exit_status, error or recorders.upload_error or never_begun)
