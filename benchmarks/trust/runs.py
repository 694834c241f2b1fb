"""Trains the same 500 steps repeatedly, alternating quiet and disturbed, and records the runs.

    python benchmarks/trust/runs.py judged --data DIR --pairs 70 --chance 2

writes `judged.jsonl`, one line per run. An existing file is continued.
"""

from __future__ import annotations

import contextlib
import random
import sys
import tempfile
import time
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

import common
from disturb import KINDS, Disturbance, draw

from mnist_bench.core.records import Record
from mnist_bench.data import mnist
from mnist_bench.data.dataset import Source
from mnist_bench.measurement import system
from mnist_bench.measurement.conditions import Conditions, Counters, between
from mnist_bench.results import protocol
from mnist_bench.results.protocol import CalibrationMessage, EvaluationMessage, SampleMessage
from mnist_bench.results.run import PhaseName
from mnist_bench.runner.process import WorkerProcess
from mnist_bench.scenarios.execution import Execution
from mnist_bench.scenarios.hyperparameters import PaperCnnHyperparameters
from mnist_bench.scenarios.scenario import Grid

STEPS = 500
_QUIET_SECONDS = 8.0
"""Approximate duration of the training, for the durations of disturbances."""


class Outside(Record):
    """The training as observed by the monitoring process, independently of the verdict.

    Attributes:
        wall_seconds: From the end of tracing to the end of training.
        other_share: Processor time of other processes, as a share of all available.
        steal_share: Processor time taken by the virtual machine's host, as the same share.
    """

    wall_seconds: float
    other_share: float
    steal_share: float


class TrustRun(Record):
    """One training of 500 steps.

    Attributes:
        kind: `quiet`, or the kind of disturbance.
        begin: Share of the steps after which the disturbance started.
        seconds: Duration of the disturbance; None until the end.
        test_accuracy: After the last step; disturbances don't change it.
        outside_life_seconds: From the start of the process to its last message, measured outside.
        conditions: Input of the verdict.
    """

    kind: str
    begin: float | None = None
    seconds: float | None = None
    train_seconds: float
    test_accuracy: float
    phase_seconds: dict[PhaseName, float]
    outside_life_seconds: float
    peak_rss_bytes: int | None = None
    outside: Outside
    conditions: Conditions


def read(path: Path) -> list[TrustRun]:
    """Runs of a file, in order; empty if there is no file."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [TrustRun.model_validate_json(line) for line in lines]


def request(
    source: Source, folder: str, *, phase_peaks: bool = True, every: int = STEPS, threads: int = 0
) -> protocol.Request:
    """Request of every run: the paper's network, one seed, evaluated every `every` steps."""
    return protocol.Request(
        model="paper-cnn",
        hyperparameters=PaperCnnHyperparameters(),
        training_seed=0,
        step_counts=(STEPS,),
        grid=Grid(first=every, every=every),
        source=source,
        execution=Execution(threads=threads or psutil.cpu_count() or 1),
        folder=folder,
        started_at=time.time(),
        phase_peaks=phase_peaks,
    )


def train(source: Source, disturbance: Disturbance | None) -> TrustRun:
    """Train once, disturbed or not."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        begin = time.perf_counter()
        process = WorkerProcess(request(source, folder), Path(folder) / "worker.log")
        worker = stack.enter_context(process)
        due = disturbance
        if due and due.from_start:
            stack.enter_context(due.applied_to(worker.pid))
            due = None
        worker.go()
        messages, outside = _follow(worker, due, stack)
        life_seconds = time.perf_counter() - begin
        if failure := worker.end():
            raise RuntimeError(failure)
    row = next(m for m in messages if isinstance(m, protocol.StepCountDone))
    scored = (m.evaluation for m in messages if isinstance(m, EvaluationMessage))
    seen = [m for m in messages if isinstance(m, CalibrationMessage | SampleMessage)]
    return TrustRun(
        **(disturbance.recorded if disturbance else {"kind": "quiet"}),
        train_seconds=row.seconds["train"],
        test_accuracy=next(e.test_accuracy for e in scored if e.test_accuracy is not None),
        phase_seconds=row.seconds,
        outside_life_seconds=life_seconds,
        peak_rss_bytes=row.peak_rss_bytes,
        outside=outside,
        conditions=Conditions(
            surroundings=tuple(m.surroundings for m in seen if m.surroundings),
            calibration_seconds=tuple(m.seconds for m in seen if isinstance(m, CalibrationMessage)),
            stretches=tuple(m.stretch for m in seen if isinstance(m, SampleMessage)),
        ),
    )


def _follow(
    worker: WorkerProcess, due: Disturbance | None, stack: contextlib.ExitStack
) -> tuple[list[protocol.Message], Outside]:
    """Collect messages, disturb when it is due, and observe the machine from outside."""
    sensors, process = system.Sensors(), psutil.Process(worker.pid)
    messages: list[protocol.Message] = []
    readings: list[tuple[Counters, float]] = []
    for message in worker.messages():
        messages.append(message)
        traced = isinstance(message, protocol.Phase) and message.name == "trace"
        step = message.step if isinstance(message, SampleMessage) else 0 if traced else -1
        if traced or step == STEPS:
            readings.append((sensors.counters(), sum(process.cpu_times()[:2])))
        if due and step >= due.begin * STEPS:
            stack.enter_context(due.applied_to(worker.pid))
            due = None
    (start, own_start), (end, own_end) = readings
    stretch = between(start, end)
    available = stretch.wall_seconds * (psutil.cpu_count() or 1)
    others = (stretch.other_cpu_seconds or 0.0) + (stretch.family_cpu_seconds or 0.0)
    return messages, Outside(
        wall_seconds=stretch.wall_seconds,
        other_share=(others - (own_end - own_start)) / available,
        steal_share=(stretch.steal_seconds or 0.0) / available,
    )


if __name__ == "__main__":
    parser = common.parser(
        __doc__,
        pairs=(63, "quiet and disturbed runs, each"),
        chance=(0, "random seed of the disturbances"),
    )
    parser.add_argument("name", help="name of the set of runs")
    options = parser.parse_args()
    images = mnist.find("auto", options.data, log=print)
    path = options.out / f"{options.name}.jsonl"
    rng = random.Random(options.chance)  # noqa: S311  # not used for security
    disturbances = [draw(KINDS[i % len(KINDS)], rng, _QUIET_SECONDS) for i in range(options.pairs)]
    order = [each for one in disturbances for each in (None, one)] + [None]
    for index in range(len(read(path)), len(order)):
        run = train(images, order[index])
        with path.open("a", encoding="utf-8", newline="\n") as file:
            file.write(run.model_dump_json(exclude_none=True) + "\n")
        print(f"{index + 1}/{len(order)} {run.kind:10} {run.train_seconds:6.2f} s, others "
              f"{run.outside.other_share:.1%}", flush=True)  # fmt: skip
