"""Capacity of a cluster: jobs per second, and processor time of the scheduler and the leader.

    python benchmarks/scale/workers.py

runs the jobs of a plan on 1, 4, 16 and 64 Dask workers that train nothing, and writes
`workers.json` and `workers.md`. Each number of workers is measured twice: with the leader recording
every job in MLflow's database, and recording nothing. The plan is long enough for a few seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from unittest import mock

import psutil

FOLDER = Path(__file__).resolve().parent
sys.path.extend([str(FOLDER.parent), str(FOLDER.parents[1] / "tests")])

import common
from common import Document
from fakes import TrialWorker
from program import free_port
from rich.console import Console

from mnist_bench.cluster import connect, tasks
from mnist_bench.cluster.leader import Leader, Trainings, run_plan
from mnist_bench.cluster.progress import ClusterProgress
from mnist_bench.data import mnist
from mnist_bench.data.dataset import Source
from mnist_bench.runner.plan import TrainingPlan, make_plan
from mnist_bench.scenarios import paper
from mnist_bench.scenarios.execution import Execution
from mnist_bench.tracking import recovery
from mnist_bench.tracking.spool import Address

STEPS = 1_000
_MOST_PROCESSES = 8
"""Each hosts several workers, which a machine with few cores could not run one by one."""


async def serve(address: str, workers: int) -> None:
    """Host workers until the scheduler ends."""
    from distributed import Worker

    from mnist_bench.cluster.worker_setup import Site, worker_options

    source = mnist.find("mnist-5k", None, log=print)
    site = Site({source.digest: source}, exclusive=True, log=lambda _line: None, threads=1)
    setattr(tasks, "WorkerProcess", TrialWorker)  # noqa: B010  # mypy: it is another class
    started = [await Worker(address, **worker_options(site)) for _ in range(workers)]
    for worker in started:
        await worker.finished()


def _cpu_seconds(processes: Sequence[psutil.Process]) -> float:
    return float(sum(sum(process.cpu_times()[:2]) for process in processes))


@contextlib.contextmanager
def _cluster(workers: int) -> Iterator[tuple[str, psutil.Process, list[psutil.Process]]]:
    """A scheduler and workers: address, and their processes."""
    port = free_port()
    address = f"tcp://127.0.0.1:{port}"
    scheduler = ("-m", "dask", "scheduler", "--host", "127.0.0.1", "--port", str(port))
    processes = min(workers, _MOST_PROCESSES)
    with contextlib.ExitStack() as stack:

        def start(*arguments: str) -> psutil.Process:
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            started = stack.enter_context(subprocess.Popen([sys.executable, *arguments], **quiet))
            stack.callback(started.kill)
            return psutil.Process(started.pid)

        first = start(*scheduler, "--no-dashboard")
        own = [workers // processes + (index < workers % processes) for index in range(processes)]
        yield address, first, [start(__file__, "--serve", address, str(number)) for number in own]


def load(workers: int, jobs: int, source: Source, *, records: bool) -> Document:
    """Run a plan on some number of workers; seconds, and processor times of all processes."""
    scenario = paper.PROTOCOL.model_copy(update={"steps": (STEPS,)})
    executions = [Execution(threads=1)]
    plan = make_plan("table-1", scenario, source, seeds=range(jobs), executions=executions)
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.chdir(folder),
        _cluster(workers) as (address, scheduler, others),
        connect.open_cluster(address, [source]) as cluster,
    ):
        while len(cluster.workers()) < workers:
            time.sleep(0.2)
        uri = f"sqlite:///{(Path(folder) / 'mlflow.db').as_posix()}"
        store = recovery.open_store(uri, "mnist-bench", print) if records else mock.MagicMock()
        leader = Leader(cluster, Address.of(uri, "mnist-bench"), lambda: store)
        parties = ([scheduler], [psutil.Process()], others)
        before, begin = [_cpu_seconds(each) for each in parties], time.monotonic()
        (_record if records else _receive)(leader, plan)
        seconds = time.monotonic() - begin
        spent = [_cpu_seconds(each) - early for each, early in zip(parties, before, strict=True)]
    names = ("scheduler_cpu_seconds", "leader_cpu_seconds", "workers_cpu_seconds")
    return {"workers": workers, "records": records, "jobs": jobs, "seconds": seconds,
            **dict(zip(names, spent, strict=True))}  # fmt: skip


def _record(leader: Leader, plan: TrainingPlan) -> None:
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        outcome = run_plan(leader, plan, ClusterProgress(plan, Console(file=nowhere)))
    if outcome.exit_status or len(outcome.results) != len(plan.jobs):
        raise RuntimeError(f"not everything was recorded: {outcome.error}")


def _receive(leader: Leader, plan: TrainingPlan) -> None:
    with Trainings(leader, plan) as trainings:
        failures = {each.failure for each, _ in trainings if each.state == "ended"}
    if failures != {""}:
        raise RuntimeError(f"not everything finished: {failures}")


def measure(options: argparse.Namespace) -> Document:
    """Measure each number of workers, without and with records."""
    source = mnist.find("mnist-5k", None, log=print)
    loads = []
    for workers in options.workers:
        for records in (False, True):
            loads.append(load(workers, options.jobs, source, records=records))
            rate = options.jobs / loads[-1]["seconds"]
            print(f"{workers} workers: {rate:.1f} jobs a second", flush=True)
    return common.session("distributed", "mlflow", "mnist-bench", loads=loads)


def page(document: Document) -> str:
    """The table in Markdown."""
    head = ("workers", "recorded", "jobs", "jobs a second", "scheduler, ms", "leader, ms",
            "workers, ms")  # fmt: skip
    rows = [
        (
            *(str(each["workers"]), "in MLflow" if each["records"] else "no", str(each["jobs"])),
            f"{each['jobs'] / each['seconds']:.1f}",
            *(
                f"{1_000 * each[f'{party}_cpu_seconds'] / each['jobs']:.1f}"
                for party in ("scheduler", "leader", "workers")
            ),
        )
        for each in document["loads"]
    ]
    return common.blocks(common.origin(document), common.table(head, rows, left=(1,)))


if __name__ == "__main__":
    arguments = common.parser(__doc__, jobs=(400, "jobs of each plan"))
    arguments.add_argument("--workers", type=int, nargs="+", default=(1, 4, 16, 64))
    arguments.add_argument("--serve", nargs=2, metavar=("ADDRESS", "N"), help=argparse.SUPPRESS)
    given, _ = arguments.parse_known_args()
    connect.require_dask()
    if given.serve:
        asyncio.run(serve(given.serve[0], int(given.serve[1])))
    else:
        common.run(arguments, ("workers.json", "workers.md"), measure, page)
