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
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import psutil

FOLDER = Path(__file__).resolve().parent
sys.path[:0] = [str(FOLDER), str(FOLDER.parents[1] / "tests"), str(FOLDER.parent / "peers")]

import hardware  # noqa: E402
from hardware import Hardware  # noqa: E402
from program import free_port  # noqa: E402
from rich.console import Console  # noqa: E402

from mnist_bench.cluster import connect, tasks  # noqa: E402
from mnist_bench.cluster.leader import Leader, Trainings, run_plan  # noqa: E402
from mnist_bench.cluster.progress import ClusterProgress  # noqa: E402
from mnist_bench.core.records import Record  # noqa: E402
from mnist_bench.data import mnist  # noqa: E402
from mnist_bench.data.dataset import Source  # noqa: E402
from mnist_bench.measurement.conditions import Stretch, Surroundings, TrainingStretch  # noqa: E402
from mnist_bench.results import protocol  # noqa: E402
from mnist_bench.results.run import Evaluation  # noqa: E402
from mnist_bench.runner.plan import TrainingPlan, make_plan  # noqa: E402
from mnist_bench.scenarios import paper  # noqa: E402
from mnist_bench.scenarios.execution import Execution  # noqa: E402
from mnist_bench.tracking import recovery  # noqa: E402
from mnist_bench.tracking.spool import Address  # noqa: E402

WORKERS = (1, 4, 16, 64)
STEPS = 1_000
_MOST_PROCESSES = 8
"""Each hosts several workers, which a machine with few cores could not run one by one."""
_WHAT = """\
Jobs that train nothing, with the messages of a training of 1,000 steps. The scheduler, the leader
and all workers share one machine. Processor time is in milliseconds a job."""
_SCENARIO = paper.PROTOCOL.model_copy(update={"steps": (STEPS,)})


class Load(Record):
    """One plan on some number of workers.

    Attributes:
        records: Whether the leader recorded the jobs.
        seconds: From the submission of all jobs to the end of the last.
        scheduler_cpu_seconds: Processor time of the scheduler in that time, as the others.
    """

    workers: int
    records: bool
    jobs: int
    seconds: float
    scheduler_cpu_seconds: float
    leader_cpu_seconds: float
    workers_cpu_seconds: float

    @property
    def jobs_per_second(self) -> float:
        """Rate of the plan."""
        return self.jobs / self.seconds


class WorkersSession(Record):
    """A measurement."""

    command: str
    date: str
    hardware: Hardware
    loads: tuple[Load, ...]


class NoTraining:
    """Stands in for `WorkerProcess`: says at once what a training of 1,000 steps says."""

    def __init__(self, request: protocol.Request, log: Path) -> None:
        self._request = request
        log.write_text("no training\n", encoding="utf-8")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is left."""

    def go(self) -> None:
        """Nothing waits."""

    def stop(self) -> None:
        """Nothing runs."""

    def messages(self) -> Iterator[protocol.Message]:
        """The messages, without a wait between them."""
        yield protocol.Ready()
        done = 0
        for step in self._request.grid.points(STEPS):
            stretch = TrainingStretch(
                step=step,
                steps=step - done,
                train_seconds=0.1,
                rss_bytes=4 * 10**8,
                seen=Stretch(wall_seconds=0.1, own_cpu_seconds=0.1),
            )
            yield protocol.SampleMessage(train_seconds=step / 50, stretch=stretch)
            yield protocol.EvaluationMessage(
                evaluation=Evaluation(
                    step=step,
                    test_accuracy=0.9,
                    validation_accuracy=0.9,
                    train_loss=0.1,
                    train_seconds=step / 50,
                )
            )
            done = step
        yield protocol.CalibrationMessage(step=STEPS, seconds=0.1, surroundings=Surroundings())
        yield protocol.StepCountDone(
            steps=STEPS, seconds={"train": 20.0}, peak_rss_bytes=None, memory_method=None
        )
        yield protocol.Done()

    def end(self) -> None:
        """It did not fail."""


async def _serve(address: str, workers: int) -> None:
    """Host workers until the scheduler ends."""
    from distributed import Worker

    from mnist_bench.cluster.worker_setup import Site, worker_options

    source = mnist.find("mnist-5k", None, log=print)
    site = Site({source.digest: source}, exclusive=True, log=lambda _line: None, threads=1)
    setattr(tasks, "WorkerProcess", NoTraining)  # noqa: B010  # mypy: it is another class
    started = [await Worker(address, **worker_options(site)) for _ in range(workers)]
    for worker in started:
        await worker.finished()


class NoStore:
    """Stands in for a store, and records nothing."""

    def __getattr__(self, _name: str) -> Any:
        return lambda *_arguments, **_options: None


def _cpu_seconds(processes: Sequence[psutil.Process]) -> float:
    times = [process.cpu_times() for process in processes]
    return sum(each.user + each.system for each in times)


@contextlib.contextmanager
def _cluster(workers: int) -> Iterator[tuple[str, psutil.Process, list[psutil.Process]]]:
    """A scheduler and workers: address, and their processes."""
    port = free_port()
    address = f"tcp://127.0.0.1:{port}"
    scheduler = (sys.executable, "-m", "dask", "scheduler", "--host", "127.0.0.1")
    processes = min(workers, _MOST_PROCESSES)
    with contextlib.ExitStack() as stack:

        def start(*command: str) -> psutil.Process:
            started = stack.enter_context(
                subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            )
            stack.callback(started.kill)
            return psutil.Process(started.pid)

        first = start(*scheduler, "--port", str(port), "--no-dashboard")
        own = [workers // processes + (index < workers % processes) for index in range(processes)]
        others = [
            start(sys.executable, str(FOLDER / "workers.py"), "--serve", address, str(number))
            for number in own
        ]
        yield address, first, others


def measure(workers: int, jobs: int, source: Source, *, records: bool) -> Load:
    """Run a plan on some number of workers."""
    plan = make_plan(
        "table-1", _SCENARIO, source, seeds=range(jobs), executions=[Execution(threads=1)]
    )
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.chdir(folder),
        _cluster(workers) as (address, scheduler, others),
        connect.open_cluster(address, [source]) as cluster,
    ):
        while len(cluster.workers()) < workers:
            time.sleep(0.2)
        uri = f"sqlite:///{(Path(folder) / 'mlflow.db').as_posix()}"
        store: Any = recovery.open_store(uri, "mnist-bench", print) if records else NoStore()
        leader = Leader(cluster, Address.of(uri, "mnist-bench"), lambda: store)
        leads = [psutil.Process()]
        before = [_cpu_seconds(each) for each in ([scheduler], leads, others)]
        begun = time.monotonic()
        (_record if records else _receive)(leader, plan)
        seconds = time.monotonic() - begun
        after = [_cpu_seconds(each) for each in ([scheduler], leads, others)]
    spent = [late - early for early, late in zip(before, after, strict=True)]
    return Load(
        workers=workers,
        records=records,
        jobs=jobs,
        seconds=seconds,
        scheduler_cpu_seconds=spent[0],
        leader_cpu_seconds=spent[1],
        workers_cpu_seconds=spent[2],
    )


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


def page(session: WorkersSession) -> str:
    """The page of a measurement."""
    lines = [
        "# Capacity of a cluster",
        "",
        _WHAT,
        "",
        f"Machine: {session.hardware.sentences}",
        "",
        f"Made by `{session.command}` on {session.date}.",
        "",
        "| workers | recorded | jobs | jobs a second | scheduler, ms | leader, ms | workers, ms |",
        "|--:|---|--:|--:|--:|--:|--:|",
    ]
    for load in session.loads:
        spent = (load.scheduler_cpu_seconds, load.leader_cpu_seconds, load.workers_cpu_seconds)
        figures = " | ".join(f"{1_000 * each / load.jobs:.1f}" for each in spent)
        recorded = "in MLflow" if load.records else "no"
        lines.append(
            f"| {load.workers} | {recorded} | {load.jobs} | {load.jobs_per_second:.1f} "
            f"| {figures} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, nargs="+", default=WORKERS)
    parser.add_argument("--jobs", type=int, default=400, help="jobs of each plan")
    parser.add_argument("--serve", nargs=2, metavar=("ADDRESS", "N"), help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of the page")
    options = parser.parse_args()
    connect.require_dask()
    if options.serve:
        asyncio.run(_serve(options.serve[0], int(options.serve[1])))
        return
    source = mnist.find("mnist-5k", None, log=print)
    loads = []
    for workers in options.workers:
        for records in (False, True):
            loads.append(measure(workers, options.jobs, source, records=records))
            print(f"{workers} workers: {loads[-1].jobs_per_second:.1f} jobs a second", flush=True)
    session = WorkersSession(
        command=" ".join(["python", "benchmarks/scale/workers.py", *sys.argv[1:]]),
        date=datetime.now(UTC).date().isoformat(),
        hardware=hardware.describe(),
        loads=tuple(loads),
    )
    (options.out / "workers.json").write_text(
        session.model_dump_json(indent=2) + "\n", encoding="utf-8"
    )
    (options.out / "workers.md").write_text(page(session), encoding="utf-8")


if __name__ == "__main__":
    main()
