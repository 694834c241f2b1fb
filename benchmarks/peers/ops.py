"""Time of a training step by operation, its lower bounds, and those of the ratios in `peers.json`.

    python benchmarks/peers/ops.py --data DIR

Profiles our trainer on one thread with TensorFlow's profiler, in a new process for each precision,
and writes `ops.json` and `ops.md`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import common
from common import Document
from peers import TARGETS, frame_of, ratio

from mnist_bench.core import formatting
from mnist_bench.core.limits import PRECISIONS
from mnist_bench.data import mnist
from mnist_bench.data.dataset import Source
from mnist_bench.scenarios import paper
from mnist_bench.scenarios.execution import Execution
from mnist_bench.worker import tensorflow_setup

_STEPS = 100
_COPIED_BYTES = 64 * 2**20
_CONVOLUTIONS = (784 * 25 * 32, 196 * 800 * 64)
"""Multiplications of each convolution, for one image."""
_PRODUCTS = 3136 * 1024 + 1024 * 10
STEP_MFLOP: Mapping[str, float] = {
    "Conv2D": 2 * 50 * sum(_CONVOLUTIONS) / 1e6,
    "Conv2DBackpropFilter": 2 * 50 * sum(_CONVOLUTIONS) / 1e6,
    "Conv2DBackpropInput": 2 * 50 * _CONVOLUTIONS[1] / 1e6,
    "MatMul": 3 * 2 * 50 * _PRODUCTS / 1e6,
}
"""Multiplications and additions of a step by kind of operation; the others are negligible."""
STEP_BYTES: Mapping[str, int] = {"ResourceApplyAdam": 7 * 4 * paper.PARAMETER_COUNT}
"""Adam reads weights, both moments and gradients, and writes all but the gradients."""
_EVALUATION_GFLOP = 10_000 * 2 * (sum(_CONVOLUTIONS) + _PRODUCTS) / 1e9


def measure(options: argparse.Namespace) -> Document:
    """Profile each precision in a new process."""
    source = mnist.find("auto", options.data, log=print)
    task = source.model_dump_json()
    profiles = [common.answer(Path(__file__), task, "--one", of) for of in PRECISIONS]
    return common.session("tensorflow", profiles=profiles)


def profile(source: Source, precision: str) -> Document:
    """Profile a training on one thread."""
    tensorflow_setup.start(Execution(threads=1))
    import tensorflow as tf

    from mnist_bench.worker.trainer import Trainer

    trainer = Trainer(mnist.load(source), paper.HYPERPARAMETERS, 0, precision=precision)  # type: ignore[arg-type]  # a choice
    trainer.advance(_STEPS)
    begin = time.perf_counter()
    trainer.advance(_STEPS)
    seconds = time.perf_counter() - begin
    copies = _seconds_of(tf.function(lambda x: x + 1), tf.zeros(_COPIED_BYTES // 4))
    return {
        "precision": precision,
        "step_milliseconds": seconds / _STEPS * 1000,
        "operation_milliseconds": _operations(tf, trainer),
        "product_gflops": max(_gflops(tf, precision, side) for side in (512, 1024, 2048)),
        "copied_bytes_per_second": 2 * _COPIED_BYTES / min(copies),
    }


def _operations(tf: Any, trainer: Any) -> dict[str, float]:
    """Milliseconds of a step by kind of operation."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2  # there is no public reader

    options = tf.profiler.experimental.ProfilerOptions(python_tracer_level=0)
    with tempfile.TemporaryDirectory() as folder:
        with tf.profiler.experimental.Profile(folder, options=options):
            trainer.advance(_STEPS)
        (file,) = Path(folder).rglob("*.xplane.pb")
        space = xplane_pb2.XSpace.FromString(file.read_bytes())
    picoseconds: Counter[str] = Counter()
    for plane in space.planes:
        names = {key: value.name for key, value in plane.event_metadata.items()}
        for line in plane.lines:
            for event in line.events:
                picoseconds[kind_of(names[event.metadata_id])] += event.duration_ps
    del picoseconds[""]
    return {kind: total / 1e9 / _STEPS for kind, total in picoseconds.most_common()}


def kind_of(event: str) -> str:
    """The kind of operation of a profiler event; empty if it is none.

    oneDNN's kernels are mapped to their operation: `_MklNativeFusedMatMul` is a MatMul.
    """
    name, _, kind = event.rpartition(":")
    if "/" not in name:
        return ""
    for prefix in ("_Mkl", "Native", "_", "Fused"):
        kind = kind.removeprefix(prefix)
    return kind


def _gflops(tf: Any, precision: str, side: int) -> float:
    """Speed of the median product of two square matrices."""
    a, b = (tf.cast(tf.random.normal((side, side)), precision) for _ in "ab")
    return 2e-9 * side**3 / statistics.median(_seconds_of(tf.function(tf.linalg.matmul), a, b))


def _seconds_of(function: Callable[..., Any], *values: Any) -> list[float]:
    function(*values)
    seconds = []
    for _ in range(20):
        begin = time.perf_counter()
        function(*values)
        seconds.append(time.perf_counter() - begin)
    return seconds


def floors_of(measured: Document) -> dict[str, float]:
    """Least milliseconds of a step by kind of operation, on one thread."""
    products = {kind: mflop / measured["product_gflops"] for kind, mflop in STEP_MFLOP.items()}
    speed = measured["copied_bytes_per_second"] / 1000
    return products | {kind: size / speed for kind, size in STEP_BYTES.items()}


def bounds(document: Document, measured: Document) -> str:
    """The table of docs/speed.md: each peer's time divided by the least time, beside its target.

    Args:
        document: Content of `peers.json`.
        measured: Content of `ops.json`.
    """
    runs, rows = frame_of(document), []
    profiles = {each["precision"]: each for each in measured["profiles"]}
    for target in TARGETS:
        reached = ratio(runs, target)
        if target.is_time and target.bound is not None and reached:
            profile = profiles["bfloat16" if target.ours == "ours-bfloat16" else "float32"]
            peer = runs[runs["name"] == target.peer][target.figure].median()
            least = sum(floors_of(profile).values()) / document["threads"]
            if target.figure == "evaluation":  # in seconds, of 10,000 images
                least = _EVALUATION_GFLOP / profile["product_gflops"] / document["threads"]
            figures = (reached.value, target.bound, peer / least)
            rows.append((target.figure, target.names, *(f"{value:.2f}" for value in figures)))
    head = ("figure", "ratio", "reached", "target", "at the least that is needed here")
    return common.table(head, rows, left=(0, 1)) + "\n"


def page(document: Document) -> str:
    """Tables in Markdown."""
    sections = [part for each in document["profiles"] for part in _section(each)]
    return common.blocks(common.origin(document), *sections)


def _section(measured: Document) -> Iterator[str]:
    operations = measured["operation_milliseconds"]
    total = sum(operations.values())
    floors = floors_of(measured)
    shown = {kind: ms for kind, ms in operations.items() if ms >= 0.01 * total}
    rows = [(kind, ms, floors.get(kind)) for kind, ms in shown.items()]
    rows += [("all others", total - sum(shown.values()), None)]
    rows += [("together", total, sum(floor for _, _, floor in rows if floor))]
    yield f"## {measured['precision']}"
    yield (
        f"A step took {measured['step_milliseconds']:.1f} ms without the profiler. Products: "
        f"{measured['product_gflops']:,.0f} GFLOP/s; copies: "
        f"{measured['copied_bytes_per_second'] / 1e9:.1f} GB/s."
    )
    yield common.table(
        ("operation", "ms a step", "at least, ms", "more than that, ms"),
        [
            (kind, f"{ms:.2f}", formatting.UNKNOWN if least is None else f"{least:.2f}",
             f"{ms - (least or 0):.2f}")
            for kind, ms, least in rows
        ],
    )  # fmt: skip


if __name__ == "__main__":
    arguments = common.parser(__doc__)
    arguments.add_argument("--one", choices=PRECISIONS, help=argparse.SUPPRESS)
    given, _ = arguments.parse_known_args()
    if given.one:
        found = profile(Source.model_validate_json(sys.stdin.readline()), given.one)
        print(json.dumps(found))
    else:
        common.run(arguments, ("ops.json", "ops.md"), measure, page)
