"""Time of a training step by operation, and its lower bounds.

    python benchmarks/peers/ops.py --data DIR

Profiles our trainer on one thread with TensorFlow's profiler, in a new process for each precision,
and writes `ops.json` and `ops.md`. `--from FILE` makes the page from such a JSON.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hardware
from hardware import Hardware
from measured import answer
from products import gflops

from mnist_bench.core import formatting
from mnist_bench.core.limits import PRECISIONS, Precision
from mnist_bench.core.records import Record
from mnist_bench.data import mnist
from mnist_bench.data.dataset import Source
from mnist_bench.scenarios import paper
from mnist_bench.scenarios.execution import Execution
from mnist_bench.worker import tensorflow_setup

if TYPE_CHECKING:
    from mnist_bench.worker.trainer import Trainer

FOLDER = Path(__file__).parent
_STEPS = 100
_COPIED_BYTES = 64 * 2**20

STEP_MFLOP: Mapping[str, float] = {
    "Conv2D": 2 * 50 * (784 * 25 * 32 + 196 * 800 * 64) / 1e6,
    "Conv2DBackpropFilter": 2 * 50 * (784 * 25 * 32 + 196 * 800 * 64) / 1e6,
    "Conv2DBackpropInput": 2 * 50 * 196 * 800 * 64 / 1e6,
    "MatMul": 3 * 2 * 50 * (3136 * 1024 + 1024 * 10) / 1e6,
}
"""Multiplications and additions of a step by kind of operation; the others are negligible."""
STEP_BYTES: Mapping[str, int] = {"ResourceApplyAdam": 7 * 4 * paper.PARAMETER_COUNT}
"""Adam reads weights, both moments and gradients, and writes all but the gradients."""


class OpsTask(Record):
    """Task of the profiled process."""

    source: Source
    precision: Precision


class Profile(Record):
    """One training on one thread.

    Attributes:
        precision: Of the arithmetic.
        step_milliseconds: Without the profiler.
        operation_milliseconds: With the profiler, by kind of operation, largest first.
        product_gflops: Speed of matrix products on one thread, the best of some sizes.
        copied_bytes_per_second: Bytes read and written by a copy of 64 MiB, on one thread.
    """

    precision: Precision
    step_milliseconds: float
    operation_milliseconds: dict[str, float]
    product_gflops: float
    copied_bytes_per_second: float

    def floor_milliseconds(self, kind: str) -> float | None:
        """Least time of a kind of operation; None if unknown."""
        if kind in STEP_MFLOP:
            return STEP_MFLOP[kind] / self.product_gflops
        if kind in STEP_BYTES:
            return STEP_BYTES[kind] / self.copied_bytes_per_second * 1000
        return None


class OpsSession(Record):
    """What one command measured.

    Attributes:
        command: Command line.
        date: In UTC.
        tensorflow: Version.
        profiles: One for each precision.
    """

    command: str
    date: str
    hardware: Hardware
    tensorflow: str
    profiles: tuple[Profile, ...]


def profiled(task: OpsTask) -> Profile:
    """Profile a training on one thread."""
    tensorflow_setup.start(Execution(threads=1))
    import tensorflow as tf

    from mnist_bench.worker.trainer import Trainer

    trainer = Trainer(mnist.load(task.source), paper.HYPERPARAMETERS, 0, precision=task.precision)
    trainer.advance(_STEPS)
    begin = time.perf_counter()
    trainer.advance(_STEPS)
    seconds = time.perf_counter() - begin
    return Profile(
        precision=task.precision,
        step_milliseconds=seconds / _STEPS * 1000,
        operation_milliseconds=_operations(tf, trainer),
        product_gflops=max(gflops(tf, task.precision, side) for side in (512, 1024, 2048)),
        copied_bytes_per_second=_copy_speed(tf),
    )


def _operations(tf: Any, trainer: Trainer) -> dict[str, float]:
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


def _copy_speed(tf: Any) -> float:
    """Bytes read and written per second by the fastest of some copies."""
    values = tf.zeros(_COPIED_BYTES // 4)
    copy: Callable[[Any], Any] = tf.function(lambda x: x + 1)
    copy(values)
    seconds = []
    for _ in range(20):
        begin = time.perf_counter()
        copy(values)
        seconds.append(time.perf_counter() - begin)
    return 2 * _COPIED_BYTES / min(seconds)


def page(session: OpsSession) -> str:
    """The page in Markdown."""
    lines = [
        "# Where a step's time goes",
        "",
        "Our trainer on **one** thread, at batch 50: what each kind of operation takes of a step,",
        "by TensorFlow's own profiler, beside the least that it could take. That is for products",
        "and convolutions their arithmetic at the speed of this machine's best matrix product, for",
        "Adam its traffic at the speed of a copy of 64 MiB, both on one thread too.",
        "",
        f"Machine: {session.hardware.sentences}",
        f"TensorFlow {session.tensorflow}. Made by `{session.command}` on {session.date}.",
    ]
    for profile in session.profiles:
        lines += ["", *_table(profile)]
    return "\n".join((*lines, ""))


def _table(profile: Profile) -> list[str]:
    operations = profile.operation_milliseconds
    shown = {kind: ms for kind, ms in operations.items() if ms >= 0.01 * sum(operations.values())}
    floors = [profile.floor_milliseconds(kind) for kind in shown]
    rest = sum(operations.values()) - sum(shown.values())
    known = sum(floor for floor in floors if floor is not None)
    speeds = (
        f"Products: {profile.product_gflops:,.0f} GFLOP/s; copies: "
        f"{profile.copied_bytes_per_second / 1e9:.1f} GB/s."
    )
    return [
        f"## {profile.precision}",
        "",
        f"A step took {profile.step_milliseconds:.1f} ms without the profiler. {speeds}",
        "",
        "| operation | ms a step | at least, ms | more than that, ms |",
        "|---|---:|---:|---:|",
        *(_line(kind, ms, floor) for (kind, ms), floor in zip(shown.items(), floors, strict=True)),
        _line("all others", rest, None),
        _line("together", sum(operations.values()), known),
    ]


def _line(kind: str, milliseconds: float, floor: float | None) -> str:
    least, more = formatting.UNKNOWN, f"{milliseconds:.2f}"
    if floor is not None:
        least, more = f"{floor:.2f}", f"{milliseconds - floor:.2f}"
    return f"| {kind} | {milliseconds:.2f} | {least} | {more} |"


def main() -> None:
    """Profile in new processes, or read earlier measurements; write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder with MNIST's IDX files")
    parser.add_argument("--from", dest="file", type=Path, metavar="FILE",
                        help="make the page from this JSON without measuring")  # fmt: skip
    parser.add_argument("--out", type=Path, default=FOLDER, help="output folder")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(profiled(OpsTask.model_validate_json(sys.stdin.readline())).model_dump_json())
        return
    if options.file:
        session = OpsSession.model_validate_json(options.file.read_text(encoding="utf-8"))
    else:
        session = _measured(mnist.find("auto", options.data, log=print), bool(options.data))
        text = session.model_dump_json(indent=1) + "\n"
        (options.out / "ops.json").write_text(text, encoding="utf-8", newline="\n")
    (options.out / "ops.md").write_text(page(session), encoding="utf-8", newline="\n")
    print(page(session))


def _measured(source: Source, images_named: bool) -> OpsSession:  # noqa: FBT001
    profiles = (
        answer("ops.py", OpsTask(source=source, precision=precision), "--one")
        for precision in PRECISIONS
    )
    return OpsSession(
        command="python benchmarks/peers/ops.py" + (" --data DIR" if images_named else ""),
        date=datetime.now(UTC).date().isoformat(),
        hardware=hardware.describe(),
        tensorflow=hardware.version_of("tensorflow") or formatting.UNKNOWN,
        profiles=tuple(map(Profile.model_validate_json, profiles)),
    )


if __name__ == "__main__":
    main()
