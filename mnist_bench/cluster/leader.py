"""Trainings of a plan on the machines of a cluster, recorded here as they end."""

from __future__ import annotations

import base64
import dataclasses
import itertools
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from mnist_bench.cluster.connect import Cluster
from mnist_bench.cluster.progress import ClusterProgress
from mnist_bench.cluster.tasks import (
    ATTEMPTS,
    Attempt,
    Job,
    JobResult,
    TimedMessage,
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
from mnist_bench.measurement.machine import Machine
from mnist_bench.results import protocol
from mnist_bench.results.run import RunResult, Status
from mnist_bench.runner import executor
from mnist_bench.runner.executor import Outcome, Stop, Watcher, never_pruned
from mnist_bench.runner.plan import TrainingJob, TrainingPlan, planned_runs
from mnist_bench.tracking.mlflow_store import MlflowStore
from mnist_bench.tracking.recorder import Recorder, Recorders, WarnOnce, process_owner
from mnist_bench.tracking.spool import Address, Header

if TYPE_CHECKING:
    from distributed import Future

_POLL_SECONDS = 0.5
"""Longest wait for an event: on Windows, Ctrl-C does not interrupt a wait."""
_MOST_VANISHED = 6
"""Attempts at a training whose machines keep vanishing, which may be its fault."""

_AGAIN = "`--resume` trains again what is not recorded"

State = Literal["waiting", "training", "finished", "failed", "cancelled", "lost"]


class RemoteTraining:
    """A job on the cluster, from its submission to its end.

    Attributes:
        job: The training job.
        state: `lost`: the scheduler is gone.
        attempt: The attempt that is going on, or the last one; None before the first.
        messages: Messages of that attempt so far.
        result: Once it is finished.
        failure: Why it failed.
        log_tail: The last lines of the log of a training that failed.

    Args:
        notify: Gets each change, from Dask's thread: an attempt, a message, or None at the end.
    """

    def __init__(
        self,
        cluster: Cluster,
        job: TrainingJob,
        order: Job,
        notify: Callable[[RemoteTraining, Attempt | TimedMessage | None], None],
    ) -> None:
        self.job = job
        self.state: State = "waiting"
        self.attempt: Attempt | None = None
        self.messages: list[TimedMessage] = []
        self.result: JobResult | None = None
        self.failure = ""
        self.log_tail = ""
        self._cluster, self._order, self._notify = cluster, order, notify
        self._attempts = 0
        self._cancelled = threading.Event()
        self._future: Future | None = None
        cluster.client.loop.add_callback(self._follow)

    def cancel(self) -> None:
        """End it, from any thread: its worker is free within seconds."""
        self._cancelled.set()
        self._cluster.client.loop.add_callback(self._cancel)

    async def _cancel(self) -> None:
        if self._future is not None:
            await self._future.cancel()

    async def _follow(self) -> None:
        """Submit the job until it is finished, has failed often enough, or is given up."""
        for submission in itertools.count():
            key = f"{self.job.id}-{submission}"
            self._cluster.handlers[key] = self._receive
            try:
                self.state = await self._submit(key)
            finally:
                del self._cluster.handlers[key]
            if self.state != "waiting":
                break
        self._notify(self, None)

    async def _submit(self, key: str) -> State:
        """Submit the job once and wait; `waiting` if it has to be submitted again."""
        from distributed import KilledWorker

        if self._cancelled.is_set():
            return "cancelled"
        if self._cluster.client.status != "running":  # it would wait for the scheduler's return
            return "lost"
        self._future = future = self._cluster.client.submit(
            train,
            self._order.model_dump_json(),
            key=key,
            pure=False,
            retries=ATTEMPTS - 1,
            fifo_timeout=0,  # in the order of the plan
            resources={images_resource(self._order.request.source.digest): 1},
        )
        state: State
        try:
            self.result = JobResult.model_validate_json(await future)
            self.attempt, self.messages = self.result.attempt, list(self.result.messages)
            state = "finished"
        except (CancelledError, OSError):  # the scheduler may go while it hands over the result
            state = "cancelled" if self._cancelled.is_set() else "lost"
        except KilledWorker:
            # Dask blames jobs too that only waited for a worker that vanished.
            state = "waiting"
            if self._attempts >= _MOST_VANISHED:
                state = "failed"
                self.failure = f"{self._attempts} machines vanished while they trained it"
        except TrainingFailedError as error:
            state, self.failure, self.log_tail = "failed", one_line(error.reason), error.log_tail
        except Exception as error:  # noqa: BLE001  # of the worker, which may lack anything
            state, self.failure = "failed", one_line(f"{type(error).__name__}: {error}")
        finally:
            # A result that a worker keeps is computed again if the worker vanishes.
            self._future = None
            future.release()
        return state

    def _receive(self, event: dict[str, Any]) -> None:
        """Take an event of the current attempt; those of a machine given up are dropped."""
        if event["kind"] == "attempt":
            self.attempt = Attempt.model_validate_json(event["json"])
            self.messages = []
            self._attempts += 1
            self.state = "training"
            self._notify(self, self.attempt)
        elif self.attempt and event["attempt"] == self.attempt.id:
            message = TimedMessage.model_validate_json(event["json"])
            self.messages.append(message)
            self._notify(self, message)


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

    def submit(
        self,
        plan: TrainingPlan,
        job: TrainingJob,
        notify: Callable[[RemoteTraining, Attempt | TimedMessage | None], None],
    ) -> RemoteTraining:
        """Submit a job of a plan."""
        request = executor.request_of(plan, job, Path())
        source = request.source.model_copy(update={"location": ""})  # a folder of this machine
        what = f"trial {plan.trial.number} of {plan.trial.study}" if plan.trial else plan.name
        order = Job(
            title=f"{what}, seed {job.seed}",
            request=request.model_copy(update={"source": source}),
            threads=None if self.every_core else job.execution.threads,
            device=self.device,
            topic=self.cluster.topic,
        )
        return RemoteTraining(self.cluster, job, order, notify)

    def record(
        self,
        plan: TrainingPlan,
        training: RemoteTraining,
        attempt: Attempt,
        messages: Sequence[TimedMessage],
        warn: WarnOnce,
        *,
        status: Status = "failed",
        reason: str = "",
    ) -> Recorder:
        """Record an attempt at a training.

        Args:
            messages: Of that attempt, as far as they count.
            status: Of the runs that did not finish.
            reason: Why they did not.

        Raises:
            BenchError: The store can't be opened.
        """
        job = dataclasses.replace(training.job, execution=attempt.execution)
        header = Header(
            at_ms=attempt.at_ms,
            owner=process_owner(),
            address=self.address,
            machine=attempt.machine,
            scenario=plan.scenario,
            runs=planned_runs(plan, job, attempt.machine),
            exclusive=attempt.exclusive,
        )
        with signals.defer_signals():
            store = self.open_store()
            recorder = Recorder(header, warn)
            _write_files(training, recorder.folder)
            recorder.start(store)
            for each in messages:
                recorder.add_message(each.message, each.at_ms)
            recorder.close(status, reason or "it reported its end too early")
            recorder.upload_pending()
        return recorder


def _write_files(training: RemoteTraining, folder: Path) -> None:
    """Write the files of the worker; with a full disk they are lost, but not the metrics."""
    contents = {"worker.log": training.log_tail.encode()} if training.log_tail else {}
    if training.result:
        texts = training.result.files.items()
        contents |= {name: base64.b64decode(text) for name, text in texts}
    for name, content in contents.items():
        path = (folder / name).resolve()
        if not path.is_relative_to(folder.resolve()):
            raise ValueError(f"{name} lies outside the worker's folder")
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


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
    events: queue.SimpleQueue[Attempt | TimedMessage | None] = queue.SimpleQueue()
    training = leader.submit(plan, job, lambda _training, event: events.put(event))
    follower = _Follower(training, events, watcher, prune)
    stop.add(training.cancel)
    try:
        pruned = follower.follow()
    except (KeyboardInterrupt, Terminated) as interruption:
        training.cancel()
        stop.exit_status, pruned = executor.status_of(interruption), None
    finally:
        stop.remove(training.cancel)
    end = _end_of(training, pruned, stop, leader.cluster.address)
    machine: Machine | None = None
    runs: tuple[RunResult, ...] = ()
    error = end.error
    if follower.attempt:
        machine = follower.attempt.machine
        try:
            recorder = leader.record(
                *(plan, training, follower.attempt, follower.messages, WarnOnce(watcher.warned)),
                status=end.status,
                reason=end.reason,
            )
        except BenchError as store_error:
            watcher.ended(job, None, "")  # the command prints the error at its end
            return Outcome((), store_error.exit_status, store_error, machine)
        runs, error = recorder.runs, error or recorder.upload_error
    elif not end.exit_status:
        error = never_begun(training)
    watcher.ended(job, None if pruned else end.reason or None, training.log_tail)
    exit_status = end.exit_status or (0 if runs or error is None else error.exit_status)
    return Outcome(runs, exit_status, error, machine)


@dataclass(frozen=True)
class _End:
    """How a training ended.

    Attributes:
        status: Of the runs that did not finish.
        reason: Why they did not; empty if all did.
        exit_status: 0, or why no other training may begin.
        error: The error for that.
    """

    status: Status
    reason: str
    exit_status: int = 0
    error: BenchError | None = None


def _end_of(training: RemoteTraining, pruned: str | None, stop: Stop, address: str) -> _End:
    if pruned:
        return _End("pruned", pruned)
    if training.state in {"finished", "failed"}:
        return _End("failed", training.failure)
    if stop.exit_status:
        return _End("killed", executor.reason_of(stop.exit_status), stop.exit_status)
    error = scheduler_gone(address, 1)
    return _End("killed", "the scheduler went away", error.exit_status, error)


class _Follower:
    """Follows one training.

    Attributes:
        attempt: The last attempt that was told.
        messages: Those of that attempt that were told.
    """

    def __init__(
        self,
        training: RemoteTraining,
        events: queue.SimpleQueue[Attempt | TimedMessage | None],
        watcher: Watcher,
        prune: Callable[[], str | None],
    ) -> None:
        self.attempt: Attempt | None = None
        self.messages: list[TimedMessage] = []
        self._training, self._events = training, events
        self._watcher, self._prune = watcher, prune

    def follow(self) -> str | None:
        """Tell the watcher until the end; why the training was pruned, None if it was not."""
        while True:
            try:
                event = self._events.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                continue
            if event is None:
                self._take_result()
                return None
            self._tell(event)
            if reason := self._prune():
                self._training.cancel()
                return reason

    def _tell(self, event: Attempt | TimedMessage) -> None:
        if isinstance(event, Attempt):
            self.attempt, self.messages = event, []
            self._watcher.begun(self._training.job)
            return
        self.messages.append(event)
        if isinstance(event.message, protocol.SampleMessage):
            self._watcher.sampled(event.message)
        elif isinstance(event.message, protocol.EvaluationMessage):
            self._watcher.scored(event.message.evaluation)

    def _take_result(self) -> None:
        """Let the result replace the events, some of which may be missing."""
        result = self._training.result
        if result:
            self.attempt, self.messages = result.attempt, list(result.messages)


def never_begun(training: RemoteTraining) -> BenchError:
    """The error for a training that failed before any machine began it."""
    return BenchError(
        f"no machine could begin a training: {training.failure}",
        "see what `mnist-bench join` printed there",
        exit_status=EXIT_FAILURE,
    )


def scheduler_gone(address: str, trainings: int) -> BenchError:
    """The error for a scheduler that went away while trainings were in work."""
    message = f"the scheduler at {address} went away: {_lost(trainings)}"
    return BenchError(message, _AGAIN, exit_status=EXIT_FAILURE)


def _lost(trainings: int) -> str:
    return f"{counted(trainings, 'training')} in work {'is' if trainings == 1 else 'are'} lost"


def run_plan(leader: Leader, plan: TrainingPlan, progress: ClusterProgress) -> Outcome:
    """Train every job of a plan on the machines of the cluster; record each as it ends.

    Ctrl-C, SIGTERM and a scheduler that goes away end the plan: what is not recorded is lost. So
    does a cluster whose machines lack the images, before anything is trained.
    """
    run = _PlanRun(leader, plan, progress)
    if not plan.jobs:
        return Outcome(())
    try:
        leader.open_store()
        leader.cluster.wait_for_workers(plan.source, progress.warned)
        run.submit()
        error = run.follow()
    except (KeyboardInterrupt, Terminated) as interruption:
        status = executor.status_of(interruption)
        run.cancel(executor.reason_of(status))
        return Outcome(run.results, status, run.error)
    except BenchError as refused:
        run.cancel("")
        return Outcome(run.results, refused.exit_status, refused)
    return Outcome(run.results, error.exit_status if error else 0, error or run.error)


@dataclass(frozen=True)
class _WorkerLeft:
    """A worker is gone; its address."""

    address: str


_Event: TypeAlias = tuple[RemoteTraining, Attempt | TimedMessage | None]


class _PlanRun:
    """A plan that is being trained on a cluster."""

    def __init__(self, leader: Leader, plan: TrainingPlan, progress: ClusterProgress) -> None:
        self._leader, self._plan, self._progress = leader, plan, progress
        self._warn = WarnOnce(progress.warned)
        self._recorders = Recorders()
        self._trainings: list[RemoteTraining] = []
        self._left = 0
        self._unrecorded: BenchError | None = None
        self._in_work: dict[str, tuple[TrainingJob, Attempt]] = {}
        self._events: queue.SimpleQueue[_WorkerLeft | _Event] = queue.SimpleQueue()

    @property
    def results(self) -> tuple[RunResult, ...]:
        """The recorded runs, in the plan's order."""
        order = {job.id: number for number, job in enumerate(self._plan.jobs)}
        runs = sorted(self._recorders.runs, key=lambda run: (order[run.trajectory], run.steps))
        return tuple(runs)

    @property
    def error(self) -> BenchError | None:
        """Why results are not uploaded yet, or why a training never began."""
        return self._recorders.upload_error or self._unrecorded

    def submit(self) -> None:
        """Submit every job."""
        self._leader.cluster.on_worker_left = lambda each: self._events.put(_WorkerLeft(each))

        def notify(training: RemoteTraining, event: Attempt | TimedMessage | None) -> None:
            self._events.put((training, event))

        for job in self._plan.jobs:
            self._trainings.append(self._leader.submit(self._plan, job, notify))
            self._left += 1

    def follow(self) -> BenchError | None:
        """Record what ends until nothing is left; the error if the scheduler went away."""
        while self._left:
            try:
                event = self._events.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                continue
            if isinstance(event, _WorkerLeft):
                self._report_left(event.address)
                continue
            training, news = event
            if isinstance(news, Attempt):
                self._in_work[training.job.id] = training.job, news
                self._progress.begun(training.job, news)
            elif isinstance(news, TimedMessage):
                self._progress.received(training.job, news.message)
            elif training.state == "lost":
                return scheduler_gone(self._leader.cluster.address, len(self._in_work))
            else:
                self._in_work.pop(training.job.id, None)
                self._left -= 1
                self._record(training)
        return None

    def cancel(self, reason: str) -> None:
        """Cancel what has not ended, and say why if trainings are lost by it."""
        self._leader.cluster.on_worker_left = None
        for training in self._trainings:
            training.cancel()
        if reason:
            lost = f": {_lost(len(self._in_work))}; {_AGAIN}" if self._in_work else ""
            self._progress.warned(f"{reason}{lost}")

    def _record(self, training: RemoteTraining) -> None:
        attempt = training.attempt
        runs: tuple[RunResult, ...] = ()
        if attempt:
            recorder = self._leader.record(
                *(self._plan, training, attempt, training.messages, self._warn),
                reason=training.failure,
            )
            with signals.defer_signals():
                self._recorders.add(recorder)
                self._recorders.upload_pending()
            runs = recorder.runs
        else:
            self._unrecorded = self._unrecorded or never_begun(training)
        host = attempt.host if attempt else ""
        self._progress.ended(training.job, host, runs, training.failure, training.log_tail)

    def _report_left(self, worker: str) -> None:
        """Say whose machine is gone, and whether nobody is left."""
        for job, attempt in tuple(self._in_work.values()):
            if attempt.worker == worker:
                del self._in_work[job.id]
                self._progress.vanished(job, attempt)
        if not self._leader.cluster.workers():
            self._progress.warned(self._leader.cluster.nobody)
