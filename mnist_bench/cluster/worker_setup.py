"""The Dask worker of a machine that trains: what it announces, and what ends its training."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distributed import Security, Worker, WorkerPlugin

from mnist_bench.cluster.tasks import PLUGIN, Job, images_resource
from mnist_bench.core import locks
from mnist_bench.core.errors import EXIT_TERMINATED, BenchError
from mnist_bench.data import mnist
from mnist_bench.data.dataset import Source
from mnist_bench.measurement import system
from mnist_bench.measurement.machine import Machine, describe
from mnist_bench.runner.executor import Stop
from mnist_bench.runner.options import base_execution
from mnist_bench.scenarios.execution import Execution

_logger = logging.getLogger(__name__)
_held = ExitStack()
"""The lock of a worker that Dask started, until its process ends."""


@dataclass(frozen=True)
class Site:
    """What a worker knows of its machine.

    Attributes:
        sources: The images of this machine, by digest.
        exclusive: Whether other benchmarks of this user are locked out.
        log: Gets a line as each training begins and ends.
        threads: Threads of a training that asks for no number.
    """

    sources: Mapping[str, Source]
    exclusive: bool
    log: Callable[[str], None]
    threads: int = field(default_factory=system.usable_threads)
    machine: Machine = field(default_factory=describe)

    def execution(self, job: Job) -> Execution:
        """Execution settings of a job here.

        Raises:
            BenchError: There is no GPU, or it could not be determined.
        """
        threads, requested = job.threads or self.threads, job.request.execution
        if job.request.hyperparameters.is_fitted_at_once:
            execution = Execution(threads=threads)
        else:
            execution = _probed(threads, requested.precision, job.device)
        # The leader's variables hold on every machine, so that all compute in the same way.
        return execution.model_copy(update={"environment": requested.environment})


_probed = functools.cache(base_execution)


class TrainingPlugin(WorkerPlugin):  # type: ignore[misc]  # Dask's types are not checked
    """Ends the training of a key that this worker has to give up.

    Dask only forgets such a task: a thread can't be ended from outside. It asks for that when a
    leader cancels a training, and when the leader itself is gone.
    """

    name = PLUGIN

    def __init__(self, site: Site) -> None:
        self.site = site
        self._stops: dict[str, Stop] = {}

    def transition(self, key: Any, start: str, finish: str, **_: Any) -> None:
        """Note the start of a training; end it if the key leaves `executing`."""
        if finish == "executing":
            self._stops[key] = Stop()
        elif start == "executing" and key in self._stops:
            self._stops.pop(key)(EXIT_TERMINATED)

    def teardown(self, worker: object) -> None:  # noqa: ARG002  # Dask's signature
        """End the training: the worker closes."""
        for stop in self._stops.values():
            stop(EXIT_TERMINATED)

    def stop_of(self, key: str) -> Stop:
        """What ends the training of a key that is executing."""
        if (stop := self._stops.get(key)) is None:  # given up before its thread came here
            stop = Stop()
            stop(EXIT_TERMINATED)
        return stop


def worker_options(site: Site) -> dict[str, Any]:
    """Arguments of `distributed.Worker` for one training at a time."""
    announced = {
        "machine": site.machine.model_dump(mode="json"),
        "images": sorted(site.sources),
    }
    return {
        "nthreads": 1,
        "memory_limit": 0,
        "resources": {images_resource(digest): 1 for digest in site.sources},
        "plugins": (TrainingPlugin(site),),
        "startup_information": {PLUGIN: lambda _worker: announced},
        "security": Security(),
        # A worker always has a HTTP server; no other machine may reach it.
        "dashboard": False,
        "dashboard_address": "127.0.0.1:0",
    }


async def dask_setup(worker: Worker) -> None:
    """Prepare a worker that Dask starts: `dask worker --preload mnist_bench.cluster.worker_setup`.

    So dask-jobqueue and dask-kubernetes start workers. `MNIST_BENCH_DATA` names the images.
    """
    exclusive, folder = False, os.environ.get("MNIST_BENCH_DATA")
    try:
        exclusive = _held.enter_context(locks.benchmark_lock(exclusive=True, warn=_logger.warning))
    except BenchError as error:
        _logger.warning("%s", error)
    sources = find_sources(Path(folder) if folder else None, _logger.warning)
    options = worker_options(Site(sources, exclusive, _logger.warning))
    worker.startup_information |= options["startup_information"]
    worker.state.total_resources |= options["resources"]
    worker.state.available_resources |= options["resources"]
    for plugin in options["plugins"]:
        await worker.plugin_add(plugin)


def find_sources(
    folder: Path | None, log: Callable[[str], None], *, show_progress: bool = False
) -> dict[str, Source]:
    """The images of this machine by digest: the user's, else MNIST; and the embedded sample.

    Args:
        folder: The user's folder.
        log: Gets a line about a download or unexpected images.
        show_progress: Whether a download shows a progress bar on standard error.

    Raises:
        BenchError: The user's folder has no images.
    """
    found = (
        mnist.find("auto", folder, log=log, show_progress=show_progress),
        mnist.find("mnist-5k", None, log=log),
    )
    return {source.digest: source for source in found}
