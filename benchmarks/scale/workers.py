"""Capacity of a shared store: trials per second by the number of workers, and cost per trial.

    python benchmarks/scale/workers.py

starts PostgreSQL and MLflow's server, runs 1, 4, 16 and 64 simulated workers on a shared study, and
writes `workers.json`, `workers.md` and `workers.png`.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import psutil

FOLDER = Path(__file__).resolve().parent
sys.path[:0] = [str(FOLDER), str(FOLDER.parents[1] / "tests"), str(FOLDER.parent / "peers")]

import hardware  # noqa: E402
from program import Bench, free_port  # noqa: E402
from servers import postgresql, tracking_server  # noqa: E402
from simulated import Done, Orders  # noqa: E402
from worked import Load, WorkersSession, draw, page  # noqa: E402

_MOST_PROCESSES = 8


class Servers:
    """PostgreSQL and MLflow's server on it.

    Args:
        tracking_uri: MLflow's URI.
        storage: Optuna's URL.
        processes: Ids of PostgreSQL's and MLflow's main processes.
    """

    def __init__(self, tracking_uri: str, storage: str, processes: tuple[int, int]) -> None:
        self.tracking_uri, self.storage = tracking_uri, storage
        self._roots = processes

    def cpu_seconds(self) -> tuple[float, float]:
        """Processor time of PostgreSQL and of MLflow's server so far, with all their processes."""
        database, server = (_cpu_seconds(root) for root in self._roots)
        return database, server


def _cpu_seconds(root: int) -> float:
    """Processor time of a process and its descendants, including ended ones."""
    total = 0.0
    process = psutil.Process(root)
    for each in (process, *process.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = each.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


@contextlib.contextmanager
def run_servers(folder: Path, server_workers: int) -> Iterator[Servers]:
    """Run both servers."""
    with postgresql("optuna", "mlflow") as server, contextlib.ExitStack() as stack:
        port = free_port()
        running = stack.enter_context(
            tracking_server(Bench(folder), port, server.url("mlflow"), server_workers)
        )
        roots = (server.pid, running.process.pid)
        yield Servers(f"http://127.0.0.1:{port}", server.url("optuna"), roots)


def load(servers: Servers, workers: int, seconds: float, turn: int) -> Load:
    """Run some number of workers on a new study."""
    processes = min(workers, _MOST_PROCESSES)
    each = [workers // processes + (index < workers % processes) for index in range(processes)]
    study = f"simulated-{workers}-{turn}"
    # One after the other, since the first one creates the study.
    started = [
        _start(
            Orders(
                storage=servers.storage,
                tracking_uri=servers.tracking_uri,
                study=study,
                workers=number,
                first=sum(each[:index]),
                seconds=seconds,
            )
        )
        for index, number in enumerate(each)
    ]
    before = servers.cpu_seconds()
    done = _answers(started)
    after = servers.cpu_seconds()
    return Load(
        workers=workers,
        took=tuple(each for one in done for each in one.took),
        refused=sum(one.refused for one in done),
        seconds=max(one.seconds for one in done),
        client_cpu_seconds=sum(one.cpu_seconds for one in done),
        database_cpu_seconds=after[0] - before[0],
        server_cpu_seconds=after[1] - before[1],
    )


def _start(orders: Orders) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, str(FOLDER / "simulated.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    _send(process, orders.model_dump_json())
    if _read_line(process) != "ready\n":
        raise RuntimeError("a worker did not start")
    return process


def _answers(started: Sequence[subprocess.Popen[str]]) -> list[Done]:
    for process in started:
        _send(process, "go")
    answers = [Done.model_validate_json(_read_line(process)) for process in started]
    for process in started:
        process.wait()
    return answers


def _send(process: subprocess.Popen[str], line: str) -> None:
    if process.stdin is None:
        raise RuntimeError("a worker has no standard input")
    process.stdin.write(f"{line}\n")
    process.stdin.flush()


def _read_line(process: subprocess.Popen[str]) -> str:
    if process.stdout is None:
        raise RuntimeError("a worker has no standard output")
    return process.stdout.readline()


def measure(options: argparse.Namespace) -> WorkersSession:
    """Measure every number of workers in turn."""
    loads: list[Load] = []
    with tempfile.TemporaryDirectory() as name, run_servers(Path(name), options.servers) as servers:
        load(servers, 1, 5.0, 0)  # warms up connections and caches
        for turn in range(1, options.times + 1):
            for workers in options.workers:
                loads.append(load(servers, workers, options.seconds, turn))
                print(loads[-1].in_words, flush=True)
    counts = ",".join(map(str, options.workers))
    return WorkersSession(
        command=f"python benchmarks/scale/workers.py --times {options.times} --workers {counts} "
        f"--seconds {options.seconds:g} --servers {options.servers}",
        date=datetime.now(UTC).date().isoformat(),
        hardware=hardware.describe(),
        versions=hardware.versions("mlflow", "optuna", "psycopg", "mnist-bench"),
        server_processes=options.servers,
        loads=tuple(loads),
    )


def main() -> None:
    """Measure, or read what was measured; write the page and its picture."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--times", type=int, default=3, help="repeats of each number (3)")
    parser.add_argument("--workers", type=lambda text: [int(count) for count in text.split(",")],
                        default=[1, 4, 16, 64], help="numbers of workers (1,4,16,64)")  # fmt: skip
    parser.add_argument(
        "--seconds", type=float, default=30.0, help="seconds of each measurement (30)"
    )
    parser.add_argument("--servers", type=int, default=2, help="processes of MLflow's server (2)")
    parser.add_argument("--from", dest="file", type=Path, metavar="FILE",
                        help="make the page from this JSON without measuring")  # fmt: skip
    parser.add_argument("--out", type=Path, default=FOLDER, help="output folder")
    options = parser.parse_args()
    options.out = options.out.absolute()
    if options.file:
        session = WorkersSession.model_validate_json(options.file.read_text(encoding="utf-8"))
    else:
        session = measure(options)
        text = session.model_dump_json(indent=1) + "\n"
        (options.out / "workers.json").write_text(text, encoding="utf-8", newline="\n")
    (options.out / "workers.md").write_text(page(session), encoding="utf-8", newline="\n")
    draw(session, options.out / "workers.png")
    print(page(session))


if __name__ == "__main__":
    main()
