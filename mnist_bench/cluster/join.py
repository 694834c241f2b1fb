"""Orchestration of `mnist-bench join`: this machine trains for a cluster until it is stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_bench.cluster.connect import CONNECT_SECONDS, answering, connected, needed_images
from mnist_bench.core import signals
from mnist_bench.core.errors import EXIT_FAILURE, EXIT_USAGE, BenchError
from mnist_bench.core.formatting import counted
from mnist_bench.runner.executor import Stop

if TYPE_CHECKING:
    from mnist_bench.cluster.worker_setup import Site

_LEAVE_SECONDS = 5.0
"""How long the scheduler may take to give this machine's work to others."""


def join(
    address: str,
    data_folder: Path | None,
    log: Callable[[str], None],
    *,
    insecure: bool,
    exclusive: bool,
    show_progress: bool = False,
) -> int:
    """Train for the cluster; returns the exit status of the interruption that ended it.

    A scheduler that gave this machine up, e.g. because it slept, is joined again.

    Args:
        address: Of the scheduler.
        data_folder: Folder with MNIST's IDX files; None looks for them, or downloads them.
        log: Gets a line as the machine joins, and as each training begins and ends.
        insecure: Whether an address without encryption may be used in a network.
        exclusive: Whether other benchmarks of this user are locked out.
        show_progress: Whether a download shows a progress bar on standard error.

    Raises:
        BenchError: The address can't be used, nobody answers there, it is used by other versions
            or for other images, or the scheduler went away.
    """
    with connected(address, insecure=insecure):  # who is refused need not download MNIST
        pass
    from mnist_bench.cluster.worker_setup import Site, find_sources  # loads Dask

    sources = find_sources(data_folder, log, show_progress=show_progress)
    site = Site(sources, exclusive, log)
    names = ", ".join(sorted(source.name for source in sources.values()))
    cores = counted(site.threads, "core")
    joined = f"joined {address} with {cores} and the images of {names}; Ctrl-C leaves"
    while True:
        try:
            with connected(address, insecure=insecure) as client, answering(address):
                needed = needed_images(client)
        except BenchError as error:
            if error.exit_status == EXIT_USAGE:
                raise
            raise BenchError(
                f"the scheduler at {address} went away",
                "join again when it is back",
                exit_status=EXIT_FAILURE,
            ) from error
        if missing := [images["name"] for images in needed if images["digest"] not in sources]:
            raise BenchError(
                f"{address} trains on {missing[0]} now, and this machine has other images",
                "set --data DIR or MNIST_BENCH_DATA to a folder with the same images",
            )
        if status := asyncio.run(_serve(address, site, joined)):
            return status
        joined = f"{address} had given this machine up: joined again"


async def _serve(address: str, site: Site, joined: str) -> int:
    """Train until interrupted, or until the scheduler ends it; returns the exit status, or 0.

    Raises:
        BenchError: The scheduler does not answer.
    """
    from distributed import Worker

    from mnist_bench.cluster.worker_setup import worker_options

    loop, stopped, stop = asyncio.get_running_loop(), asyncio.Event(), Stop()

    def end() -> None:
        loop.call_soon_threadsafe(stopped.set)

    stop.add(end)
    with signals.on_interrupt(stop):
        worker = Worker(address, death_timeout=CONNECT_SECONDS, **worker_options(site))
        with answering(address):
            await worker
        site.log(joined)
        ends = [asyncio.create_task(each) for each in (stopped.wait(), worker.finished())]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if stop.exit_status:
            # First its work goes to others, then the training process is killed; the other way
            # round it would count as failed.
            with suppress(Exception):  # the scheduler may be gone
                await asyncio.wait_for(worker.close_gracefully(), _LEAVE_SECONDS)
        await worker.close()
        for each in ends:
            each.cancel()
    return stop.exit_status
