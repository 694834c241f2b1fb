"""Fakes of the worker, MLflow and MNIST."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Self, TypeVar

import factories
import numpy as np
from program import Running
from trial_worker import messages as trial_worker_messages

from mnist_bench.core import locks
from mnist_bench.data.dataset import Images
from mnist_bench.measurement.machine import Machine
from mnist_bench.results import protocol
from mnist_bench.results.protocol import Message, Request
from mnist_bench.results.run import RunResult
from mnist_bench.tracking import spool
from mnist_bench.tracking.mlflow_store import Started, Unfinished
from mnist_bench.tracking.schema import Point

Given, Answer = TypeVar("Given"), TypeVar("Answer")


_HOLDER = """
import pathlib, sys
from mnist_bench.core import locks
for folder in sys.argv[1:]:
    locks.hold(pathlib.Path(folder))
print(locks.process_name(), flush=True)
sys.stdin.readline()
"""


@contextlib.contextmanager
def running_process(*folders: Path) -> Iterator[str]:
    """Name of a live process that holds its lock files in folders; killed on exit."""
    command = [sys.executable, "-c", _HOLDER, *map(str, folders)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:
        yield process.stdout.readline().strip()
        process.kill()


@contextlib.contextmanager
def live_owner(*folders: Path) -> Iterator[str]:
    """Name of a process that holds its lock files in these folders, though it is this one."""
    name = factories.dead_owner(*folders)
    with contextlib.ExitStack() as held:
        for each in folders or (spool.FOLDER, *locks.live_folders()):
            held.enter_context(locks.lock_file(each / f"{name}.lock", 0))
        yield name


def run_in_processes(work: Callable[[Given], Answer], *each: Given) -> list[Answer]:
    """Apply a function to each item in two processes."""
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        return list(pool.map(work, each))


def random_images(count: int, seed: int) -> Images:
    """Random pixels with random labels."""
    random = np.random.default_rng(seed)
    return Images(
        pixels=random.integers(0, 256, (count, 28, 28), np.uint8),
        labels=random.integers(0, 10, count, np.uint8),
    )


# Field names are written out, so that tests fail if the protocol's are renamed. It imports nothing
# heavy, so that it starts quickly.
_WORKER = """
import json, pathlib, sys

def send(kind, **fields):
    print(json.dumps({"kind": kind, **fields}), flush=True)

def calibrate(step):
    send("calibration", step=step, seconds=0.125, surroundings={"logical_cores": 2})

request = json.loads(sys.stdin.readline())
send("phase", name="import", seconds=3.0)
send("phase", name="data", seconds=0.5)
send("ready")
if sys.stdin.readline().strip() != "go":
    sys.exit("no go message")
print("words for the log", file=sys.stderr, flush=True)
calibrate(0)
send("phase", name="trace", seconds=1.5)
grid, done = request["grid"], 0
for row in request["step_counts"]:
    points = range(grid["first"], row + 1, grid["every"])
    for step in sorted({point for point in points if point > done} | {row}):
        seconds = step * 0.5
        stretch = {"step": step, "steps": step - done, "train_seconds": (step - done) * 0.5}
        counters = {"wall_seconds": stretch["train_seconds"], "own_cpu_seconds": 0.25}
        stretch |= {"rss_bytes": 400_000_000 + step, "seen": counters}
        send("sample", train_seconds=seconds, stretch=stretch, surroundings=None)
        scores = {"test_accuracy": 0.75, "validation_accuracy": 0.5, "train_loss": 0.25}
        send("evaluation", evaluation={"step": step, "train_seconds": seconds, **scores})
        FAULT
        done = step
    folder = pathlib.Path(request["folder"], str(row))
    folder.mkdir()
    (folder / "predictions.npz").write_bytes(b"predictions")
    seconds = {"import": 3.0, "train": row * 0.5}
    peaks = {"import": 300_000_000, "train": 500_000_000}
    memory = {"peak_rss_bytes": 500_000_000, "memory_method": "VmHWM"}
    calibrate(row)
    send("row", steps=row, seconds=seconds, phase_peak_rss_bytes=peaks, **memory)
send("done")
"""


def worker(fault: str = "pass") -> tuple[str, ...]:
    """Command of a fake worker: it trains nothing and reports half a second per step.

    Args:
        fault: One line of Python, run after each evaluation, with `request` and `step` in scope.
    """
    return (sys.executable, "-c", _WORKER.replace("FAULT", fault))


def trial_worker(fault: str = "pass") -> tuple[str, ...]:
    """Command of `trial_worker.py`, a fake worker for trials.

    Args:
        fault: One line of Python, run before training, with `request` in scope.
    """
    return (sys.executable, str(Path(__file__).with_name("trial_worker.py")), fault)


class TrialWorker:
    """`trial_worker.py` in place of `executor.WorkerProcess`, without a process.

    Args:
        fault: As of `trial_worker`.
    """

    def __init__(self, request: Request, log: Path, *, fault: str = "pass") -> None:
        self._request, self._log, self._fault = json.loads(request.model_dump_json()), log, fault
        self._failure: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is left."""

    def go(self) -> None:
        """It has imported nothing."""

    def messages(self) -> Iterator[Message]:
        try:
            for message in trial_worker_messages(self._request, self._fault):
                if self._failure:
                    return
                yield protocol.parse(json.dumps(message).encode())
        except SystemExit as error:
            self._failure, text = "the training process ended early with exit status 1", error.code
            self._log.write_text(f"{text}\n", encoding="utf-8")

    def end(self) -> str | None:
        return self._failure

    def stop(self) -> None:
        self._failure = "the training process was ended by SIGKILL"

    kill = stop

    def log_tail(self) -> str:
        return self._log.read_text(encoding="utf-8").strip()


@dataclass(frozen=True)
class Finished:
    """Arguments of a call of `Store.finish`.

    Attributes:
        note: Run description.
        files: Contents by name, in upload order.
        at_ms: Time of the end.
    """

    run: RunResult
    note: str
    files: dict[str, bytes]
    at_ms: int


def _no_fault(call: str, run_id: str) -> None:
    """Accept every call."""


@dataclass
class Store:
    """Records calls instead of sending them to MLflow.

    Attributes:
        fault: Called before each call with its name and run id; raises the store's errors.
        calls: Calls in order: name, run id, details.
        notes: Run descriptions by run id.
        received_at_ms: Times of evaluations, in order of delivery.
        rss_bytes: By step.
        gone: Ids of runs that the user deleted.
    """

    fault: Callable[[str, str], None] = _no_fault
    calls: list[tuple[str, str, object]] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)
    received_at_ms: list[int] = field(default_factory=list)
    rss_bytes: dict[int, int] = field(default_factory=dict)
    finished: list[Finished] = field(default_factory=list)
    gone: set[str] = field(default_factory=set)

    def is_gone(self, run_id: str) -> bool:
        return run_id in self.gone

    def start(
        self,
        run: RunResult,
        note: str,
        owner: str,
        machine: Machine,
        *,
        at_ms: int,
        may_exist: bool = False,
        tags: Mapping[str, str] | None = None,
    ) -> Started:
        run_id = f"id-{run.seed}-{run.steps}"
        self.fault("start", run_id)
        self.calls.append(("find" if may_exist else "start", run_id, run.status))
        self.notes[run_id] = note
        return Started(run_id)

    def log(self, run_id: str, points: Sequence[Point]) -> None:
        self.fault("log", run_id)
        evaluated = [point for point in points if point.evaluation]
        self.calls.append(("log", run_id, [point.step for point in evaluated]))
        self.received_at_ms += [point.at_ms for point in evaluated]
        self.rss_bytes |= {point.step: point.rss_bytes for point in points if point.rss_bytes}

    def finish(
        self,
        run: RunResult,
        note: str,
        files: Callable[[], Sequence[Path]],
        *,
        at_ms: int,
        points: Sequence[Point] = (),
    ) -> None:
        self.fault("finish", run.run_id or "")
        if points:
            self.log(run.run_id or "", points)
        self.calls.append(("finish", run.run_id or "", run.status))
        contents = {path.name: path.read_bytes() for path in files()}
        self.finished.append(Finished(run, note, contents, at_ms))

    def unfinished(self) -> list[Unfinished]:
        self.fault("unfinished", "")
        return []


def wait_for_file(mark: Path, go: Path) -> str:
    """Expression for a worker's `fault`: create the file `mark`, then wait until `go` exists."""
    reached, allowed = (f"__import__('pathlib').Path({str(path)!r})" for path in (mark, go))
    sleep = "__import__('time').sleep(0.05)"
    return f"({reached}.touch(), any({sleep} for _ in iter({allowed}.exists, True)))"


def kill(running: Running) -> None:
    """Kill a program with all its children at once, as a power failure would."""
    children = running.descendants()
    running.process.kill()
    running.process.wait()
    for each in children:
        each.kill()
