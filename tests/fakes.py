"""Fakes of the worker, MLflow and MNIST."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import numpy as np
from program import Running

from mnist_bench.data.dataset import Images
from mnist_bench.measurement.machine import Machine
from mnist_bench.results.run import RunResult
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


_TRIAL_WORKER = """
import json, math, pathlib, sys, time
import numpy as np

def send(kind, **fields):
    print(json.dumps({"kind": kind, **fields}), flush=True)

line = sys.stdin.readline()
request = json.loads(line)
send("ready")
if sys.stdin.readline().strip() != "go":
    sys.exit("no go message")
with pathlib.Path("requests.jsonl").open("a") as file:
    file.write(json.dumps(request) + "\\n")
send("calibration", step=0, seconds=0.125, surroundings={"logical_cores": 2})
(row,) = request["step_counts"]
hyperparameters, grid, done = request["hyperparameters"], request["grid"], 0
FAULT
# The best rate is 0.01, and a larger batch takes longer.
best = 0.98 - 0.05 * abs(math.log10(hyperparameters["learning_rate"]) + 2)
noise = 0.0004 * (request["training_seed"] % 3)
labels = np.arange(500) % 10
for step in range(grid["first"], row + 1, grid["every"]):
    seconds = step * 0.001 * hyperparameters["batch_size"]
    counters = {"wall_seconds": 0.1, "own_cpu_seconds": 0.1}
    stretch = {"step": step, "steps": step - done, "train_seconds": 0.1, "rss_bytes": 400_000_000}
    send("sample", train_seconds=seconds, stretch=stretch | {"seen": counters}, surroundings=None)
    accuracy = round((best + noise) * (0.5 + 0.5 * step / row), 4)
    test = round(accuracy - 0.002, 4) if request["with_test"] else None
    scores = {"test_accuracy": test, "validation_accuracy": accuracy, "train_loss": 0.25}
    send("evaluation", evaluation={"step": step, "train_seconds": seconds, **scores})
    done = step
if request["with_test"]:
    folder = pathlib.Path(request["folder"], str(row))
    folder.mkdir()
    wrong = np.where(np.arange(500) < round(500 * (1 - test)), (labels + 1) % 10, labels)
    np.savez(folder / "predictions.npz", final_label=wrong.astype(np.uint8),
             final_probability=np.ones(len(wrong), np.float16))  # fmt: skip
memory = {"peak_rss_bytes": 500_000_000, "memory_method": "VmHWM"}
send("row", steps=row, seconds={"train": seconds}, phase_peak_rss_bytes={}, **memory)
send("done")
"""


def trial_worker(fault: str) -> tuple[str, ...]:
    """Command of a fake worker for trials, whose accuracies depend on the hyperparameters.

    Args:
        fault: One line of Python, run before training, with `request` in scope.
    """
    return (sys.executable, "-c", _TRIAL_WORKER.replace("FAULT", fault))


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
    """

    fault: Callable[[str, str], None] = _no_fault
    calls: list[tuple[str, str, object]] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)
    received_at_ms: list[int] = field(default_factory=list)
    rss_bytes: dict[int, int] = field(default_factory=dict)
    finished: list[Finished] = field(default_factory=list)

    def start(
        self,
        run: RunResult,
        note: str,
        owner: str,
        machine: Machine,
        *,
        at_ms: int,
        may_exist: bool = False,
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
