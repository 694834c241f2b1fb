"""Trains the same 500 steps repeatedly, alternating quiet and disturbed, and records the runs.

    python benchmarks/trust/runs.py NAME --data DIR --pairs 63

writes `benchmarks/trust/NAME.jsonl`, one line per run. An existing file is continued.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from disturb import KINDS, Disturbance, draw
from record import Outside, TrustRun, append, read

from mnist_bench.data import mnist
from mnist_bench.measurement import system
from mnist_bench.measurement.conditions import Conditions, Counters, Surroundings, between
from mnist_bench.results import protocol
from mnist_bench.results.protocol import (
    CalibrationMessage,
    EvaluationMessage,
    Request,
    SampleMessage,
    StepCountDone,
)
from mnist_bench.runner.process import WorkerProcess
from mnist_bench.scenarios.execution import Execution
from mnist_bench.scenarios.hyperparameters import PaperCnnHyperparameters
from mnist_bench.scenarios.scenario import Grid

if TYPE_CHECKING:
    from mnist_bench.data.dataset import Source

FOLDER = Path(__file__).parent
STEPS = 500
_QUIET_SECONDS = 8.0
"""Approximate duration of the training, for the durations of disturbances."""


def request(
    source: Source, folder: str, *, phase_peaks: bool = True, every: int = STEPS
) -> Request:
    """Request of every run: the paper's network, one seed, evaluated every `every` steps."""
    return Request(
        model="paper-cnn",
        hyperparameters=PaperCnnHyperparameters(),
        training_seed=0,
        step_counts=(STEPS,),
        grid=Grid(first=every, every=every),
        source=source,
        execution=Execution(threads=psutil.cpu_count() or 1),
        folder=folder,
        started_at=time.time(),
        phase_peaks=phase_peaks,
    )


class _Monitor:
    """Monitors one worker, disturbs it, and collects its messages."""

    def __init__(self, source: Source, disturbance: Disturbance | None) -> None:
        self._source = source
        self._disturbance = disturbance
        self._sensors = system.Sensors()
        self._messages: list[protocol.Message] = []

    def run(self) -> TrustRun:
        """Train once."""
        with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
            task = request(self._source, folder)
            begin = time.perf_counter()
            worker = stack.enter_context(WorkerProcess(task, Path(folder) / "worker.log"))
            if self._disturbance and self._disturbance.from_start:
                stack.enter_context(self._disturbance.applied_to(worker.pid))
            worker.go()
            outside = self._follow(worker, stack)
            life_seconds = time.perf_counter() - begin
            if failure := worker.end():
                raise RuntimeError(failure)
        return self._record(outside, life_seconds)

    def _follow(self, worker: WorkerProcess, stack: contextlib.ExitStack) -> Outside:
        due = None if self._disturbance and self._disturbance.from_start else self._disturbance
        process = psutil.Process(worker.pid)
        readings: list[tuple[Counters, float]] = []
        for message in worker.messages():
            self._messages.append(message)
            traced = isinstance(message, protocol.Phase) and message.name == "trace"
            step = message.step if isinstance(message, SampleMessage) else 0 if traced else -1
            if traced or step == STEPS:
                readings.append((self._sensors.counters(), sum(process.cpu_times()[:2])))
            if due and step >= due.begin * STEPS:
                stack.enter_context(due.applied_to(worker.pid))
                due = None
        (start, own_start), (end, own_end) = readings
        return Outside.of(between(start, end), own_end - own_start, psutil.cpu_count() or 1)

    def _record(self, outside: Outside, life_seconds: float) -> TrustRun:
        messages = self._messages
        row = next(message for message in messages if isinstance(message, StepCountDone))
        scored = (
            message.evaluation for message in messages if isinstance(message, EvaluationMessage)
        )
        accuracy = next(e.test_accuracy for e in scored if e.test_accuracy is not None)
        return TrustRun(
            kind=self._disturbance.kind if self._disturbance else "quiet",
            begin=self._disturbance.begin if self._disturbance else None,
            seconds=self._disturbance.seconds if self._disturbance else None,
            train_seconds=row.seconds["train"],
            test_accuracy=accuracy,
            phase_seconds=row.seconds,
            outside_life_seconds=life_seconds,
            peak_rss_bytes=row.peak_rss_bytes,
            outside=outside,
            conditions=Conditions(
                surroundings=tuple(_surroundings(messages)),
                calibration_seconds=tuple(
                    m.seconds for m in messages if isinstance(m, CalibrationMessage)
                ),
                stretches=tuple(m.stretch for m in messages if isinstance(m, SampleMessage)),
            ),
        )


def _surroundings(messages: list[protocol.Message]) -> Iterator[Surroundings]:
    for message in messages:
        if isinstance(message, CalibrationMessage | SampleMessage) and message.surroundings:
            yield message.surroundings


def main() -> None:
    """Train and write one line per run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name", help="name of the set of runs")
    parser.add_argument("--data", type=Path, required=True, help="folder with MNIST's IDX files")
    parser.add_argument("--pairs", type=int, default=63, help="quiet and disturbed runs, each")
    parser.add_argument("--chance", type=int, default=0, help="random seed of the disturbances")
    options = parser.parse_args()
    source = mnist.find("mnist", options.data, log=print)
    path = FOLDER / f"{options.name}.jsonl"
    rng = random.Random(options.chance)  # noqa: S311  # not used for security
    disturbances = [draw(KINDS[i % len(KINDS)], rng, _QUIET_SECONDS) for i in range(options.pairs)]
    order = [d for disturbance in disturbances for d in (None, disturbance)] + [None]
    for index, disturbance in enumerate(order):
        if index < len(read(path)):
            continue
        run = _Monitor(source, disturbance).run()
        append(path, run)
        load = f"others {run.outside.other_share:.1%}"
        print(
            f"{index + 1}/{len(order)} {run.kind:10} {run.train_seconds:6.2f} s  {load}",
            flush=True,
        )


if __name__ == "__main__":
    main()
