"""A training as a Dask task: a plain function with JSON in and out, run by a worker's thread."""

from __future__ import annotations

import platform
import tempfile
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ConfigDict

from mnist_bench.core.errors import BenchError
from mnist_bench.core.limits import DeviceChoice
from mnist_bench.core.records import Record
from mnist_bench.measurement.machine import Machine
from mnist_bench.results import protocol
from mnist_bench.runner.process import WorkerProcess
from mnist_bench.scenarios.execution import Execution
from mnist_bench.tracking.recorder import now_ms
from mnist_bench.tracking.spool import MessageEntry

if TYPE_CHECKING:  # imports distributed
    from mnist_bench.cluster.worker_setup import TrainingPlugin

PLUGIN = "mnist-bench"
"""Name of the plugin of a worker that trains, and of what it announces to the scheduler."""
ATTEMPTS = 3
"""Failed attempts that make a training fail."""


class Job(Record):
    """One training, for whichever machine takes it.

    Attributes:
        title: For people, such as `table-1, seed 3`.
        request: What to train; the machine fills in the location of the images, the execution, and
            the folder.
        threads: None takes what the machine has.
        device: Where to train.
        topic: Dask's topic of the events of the attempts.
    """

    title: str
    request: protocol.Request
    threads: int | None
    device: DeviceChoice
    topic: str


class Attempt(Record):
    """One attempt at a job.

    Attributes:
        id: Random.
        worker: Dask's address of the worker.
        host: Name of the machine in its network; shown, never recorded.
        at_ms: Begin, Unix time in milliseconds of that machine.
        exclusive: Whether other benchmarks of its user were locked out.
    """

    id: str
    worker: str
    host: str
    at_ms: int
    machine: Machine
    execution: Execution
    exclusive: bool


class JobResult(Record):
    """A finished training.

    Attributes:
        messages: Of its process, with the time of the machine that trained.
        files: The files of the worker's folder, by relative path with slashes.
    """

    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    attempt: Attempt
    messages: tuple[MessageEntry, ...]
    files: dict[str, bytes]


class TrainingFailedError(Exception):
    """An attempt failed.

    Args:
        reason: In one line.
        log_tail: The last lines of the worker's log.
    """

    def __init__(self, reason: str, log_tail: str = "") -> None:
        super().__init__(reason, log_tail)
        self.reason, self.log_tail = reason, log_tail

    def __str__(self) -> str:
        return self.reason


def images_resource(digest: str) -> str:
    """Dask's name of the resource that stands for images with this digest."""
    return f"images-{digest[:16]}"


def train(job_json: str) -> str:
    """Run a `Job` in a process of its own, and return its `JobResult`.

    The attempt and each message are also events of the job's topic.

    Raises:
        TrainingFailedError: The training failed.
        distributed.Reschedule: The leader or this machine has ended it.
    """
    try:
        return _train(Job.model_validate_json(job_json)).model_dump_json()
    except BenchError as error:
        raise TrainingFailedError(str(error)) from error
    except OSError as error:
        raise TrainingFailedError(f"no training process could be started: {error}") from error


def _train(job: Job) -> JobResult:
    from distributed import Reschedule, get_worker

    worker = get_worker()
    key = worker.get_current_task()
    plugin: TrainingPlugin = worker.plugins[PLUGIN]
    site, stop = plugin.site, plugin.stop_of(key)
    unfit: BenchError | None = None
    try:
        execution = site.execution(job)
    except BenchError as error:
        unfit, execution = error, job.request.execution
    attempt = Attempt(
        id=uuid.uuid4().hex,
        worker=worker.address,
        host=platform.node(),
        at_ms=now_ms(),
        machine=site.machine,
        execution=execution,
        exclusive=site.exclusive,
    )
    worker.log_event(job.topic, {"key": key, "attempt": attempt.model_dump_json()})
    if unfit:  # after the attempt, so that it is recorded as a failed one of this machine
        raise unfit
    site.log(f"{job.title}: training")
    messages: list[MessageEntry] = []
    with tempfile.TemporaryDirectory(prefix="mnist-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        fields: dict[str, Any] = {
            "source": site.sources[job.request.source.digest],
            "execution": execution,
            "folder": name,
            "started_at": time.time(),
        }
        with WorkerProcess(job.request.model_copy(update=fields), folder / "worker.log") as process:
            stop.add(process.stop)
            process.go()
            for message in process.messages():
                messages.append(MessageEntry(at_ms=now_ms(), message=message))
                event = {"key": key, "of": attempt.id, "message": messages[-1].model_dump_json()}
                worker.log_event(job.topic, event)
            failure = process.end()
            if stop.exit_status:
                site.log(f"{job.title}: ended early, on request")
                raise Reschedule
            if failure:
                site.log(f"{job.title}: failed: {failure}")
                raise TrainingFailedError(failure, process.log_tail())
        paths = [path for path in folder.rglob("*") if path.is_file()]
        files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
    site.log(f"{job.title}: trained")
    return JobResult(attempt=attempt, messages=tuple(messages), files=files)
