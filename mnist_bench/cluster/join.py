"""Orchestration of `mnist-bench join`: this machine trains for a cluster until it is stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_bench.cluster.connect import CONNECT_SECONDS, answering, connected, needed_images
from mnist_bench.core import signals
from mnist_bench.core.errors import EXIT_FAILURE, EXIT_USAGE, BenchError
from mnist_bench.core.formatting import counted
from mnist_bench.data.dataset import Source
from mnist_bench.measurement import machine, system

if TYPE_CHECKING:
    from mnist_bench.cluster.worker_setup import Site

_LEAVE_SECONDS = 5.0
"""How long the scheduler may take to give this machine's work to others."""


@dataclass(frozen=True)
class JoinOptions:
    """Options of `mnist-bench join`.

    Attributes:
        address: Of the scheduler.
        data_folder: Folder with MNIST's IDX files; None looks for them, or downloads them.
        insecure: Whether an address without encryption may be used in a network.
        exclusive: Whether other benchmarks of this user are locked out.
    """

    address: str
    data_folder: Path | None
    insecure: bool
    exclusive: bool


def join(options: JoinOptions, log: Callable[[str], None], *, show_progress: bool = False) -> int:
    """Train for the cluster; returns the exit status of the interruption that ended it.

    A scheduler that gave this machine up, e.g. because it slept, is joined again.

    Args:
        options: The options.
        log: Gets a line as the machine joins, and as each training begins and ends.
        show_progress: Whether a download shows a progress bar on standard error.

    Raises:
        BenchError: The address can't be used, nobody answers there, it is used by other versions
            or for other images, or the scheduler went away.
    """
    needed = _needed_images(options)
    from mnist_bench.cluster.worker_setup import Site, find_sources  # loads Dask

    sources = find_sources(options.data_folder, log, show_progress=show_progress)
    _check_images(options.address, needed, sources)
    site = Site(
        machine=machine.describe(),
        sources=sources,
        exclusive=options.exclusive,
        log=log,
        threads=system.usable_threads(),
    )
    names = ", ".join(sorted(source.name for source in sources.values()))
    cores = counted(site.threads, "core")
    joined = f"joined {options.address} with {cores} and the images of {names}; Ctrl-C leaves"
    while True:
        status = asyncio.run(_serve(options.address, site, lambda: log(joined)))  # noqa: B023
        if status:
            return status
        try:
            _check_images(options.address, _needed_images(options), sources)
        except BenchError as error:
            if error.exit_status == EXIT_USAGE:
                raise
            raise BenchError(
                f"the scheduler at {options.address} went away",
                "join again when it is back",
                exit_status=EXIT_FAILURE,
            ) from error
        joined = f"{options.address} had given this machine up: joined again"


def _needed_images(options: JoinOptions) -> list[dict[str, str]]:
    with (
        connected(options.address, insecure=options.insecure) as client,
        answering(options.address),
    ):
        return needed_images(client)


def _check_images(address: str, needed: list[dict[str, str]], sources: dict[str, Source]) -> None:
    missing = next((images for images in needed if images["digest"] not in sources), None)
    if missing:
        raise BenchError(
            f"{address} trains on {missing['name']} now, and this machine has other images",
            "set --data DIR or MNIST_BENCH_DATA to a folder with the same images",
        )


async def _serve(address: str, site: Site, joined: Callable[[], None]) -> int:
    """Train until interrupted, or until the scheduler ends it; returns the exit status, or 0.

    Raises:
        BenchError: The scheduler does not answer.
    """
    from distributed import Worker

    from mnist_bench.cluster.worker_setup import worker_options

    loop, stopped, status = asyncio.get_running_loop(), asyncio.Event(), 0

    def stop(exit_status: int) -> None:
        nonlocal status
        status = exit_status
        loop.call_soon_threadsafe(stopped.set)

    with signals.on_interrupt(stop):
        worker = Worker(address, death_timeout=CONNECT_SECONDS, **worker_options(site))
        with answering(address):
            await worker
        joined()
        ends = [asyncio.create_task(each) for each in (stopped.wait(), worker.finished())]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if status:
            # First its work goes to others, then the training process is killed; the other way
            # round it would count as failed.
            with suppress(Exception):  # the scheduler may be gone
                await asyncio.wait_for(worker.close_gracefully(), _LEAVE_SECONDS)
        await worker.close()
        for each in ends:
            each.cancel()
    return status
