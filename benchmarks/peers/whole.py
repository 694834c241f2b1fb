"""All of Table I from process start to end: the paper's program compared with the suite.

    python benchmarks/peers/whole.py --data DIR

Ours runs before and after the program, to reveal a drift of the machine. Writes `whole.json` after
each run, and `whole.md`; `--from FILE` makes the page from such a JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import hardware
from hardware import Hardware
from measured import Curves, CurveTask, answer

from mnist_bench.core import formatting
from mnist_bench.core.records import Record
from mnist_bench.data import mnist
from mnist_bench.data.dataset import Source
from mnist_bench.measurement import system
from mnist_bench.scenarios import paper

FOLDER = Path(__file__).parent
PROGRAM = "program"


@dataclass(frozen=True)
class Way:
    """One way to train all of Table I.

    Attributes:
        title: In the table.
        options: Of `mnist-bench run`; None to train with `curve.py`.
        contender: Contender of `curve.py`.
        shared: Whether `curve.py` trains only the longest step count, which includes the others.
        bound: Target share of the program's time; None for none.
    """

    title: str
    options: tuple[str, ...] | None = None
    contender: str = "ours"
    shared: bool = False
    bound: float | None = None


WAYS: Mapping[str, Way] = {
    "ours": Way("`mnist-bench run`, float32", (), bound=0.45),
    "ours-bfloat16": Way(
        "`mnist-bench run --precision bfloat16`", ("--precision", "bfloat16"), bound=0.25
    ),
    "independent": Way("`mnist-bench run --independent`, float32", ("--independent",)),
    "test-only": Way("our trainer, test images alone, one training", shared=True),
    "test-only-independent": Way("our trainer, test images alone, four trainings"),
    PROGRAM: Way("the paper's program", contender=PROGRAM),
}


class Whole(Record):
    """One run of all step counts.

    Attributes:
        way: Key in `WAYS`.
        seconds: Wall-clock time from process start to end.
        row_seconds: Of each training; None for the suite's command.
        peak_rss_bytes: Largest of the training processes.
    """

    way: str
    seconds: float
    row_seconds: tuple[float, ...] | None
    peak_rss_bytes: int | None


class WholeSession(Record):
    """What one command measured.

    Attributes:
        command: Command line.
        date: Date of the start, in UTC.
        versions: By distribution name.
        dataset: Name of the images.
        rows: Step count of each training.
        runs: In order of measurement.
    """

    command: str
    date: str
    hardware: Hardware
    versions: dict[str, str]
    dataset: str
    rows: tuple[int, ...]
    runs: tuple[Whole, ...]

    def seconds(self, way: str) -> list[float]:
        """Seconds of all runs of one way."""
        return [run.seconds for run in self.runs if run.way == way]


def measured(name: str, source: Source, images: Path | None, step_counts: tuple[int, ...]) -> Whole:
    """Measure one run in new processes."""
    way = WAYS[name]
    begin = time.perf_counter()
    if way.options is not None:
        peak_bytes = _run_command(way.options, images, step_counts)
        return Whole(
            way=name,
            seconds=time.perf_counter() - begin,
            row_seconds=None,
            peak_rss_bytes=peak_bytes,
        )
    task = CurveTask(
        name=way.contender,
        source=source,
        threads=system.usable_threads(),
        rows=step_counts[-1:] if way.shared else step_counts,
    )
    text = answer("curve.py", task)
    seconds = time.perf_counter() - begin
    curves = Curves.model_validate_json(text)
    return Whole(
        way=name,
        seconds=seconds,
        row_seconds=curves.row_seconds,
        peak_rss_bytes=curves.peak_rss_bytes,
    )


def _run_command(
    options: Sequence[str], images: Path | None, step_counts: tuple[int, ...]
) -> int | None:
    """Run the suite in an empty folder; return the largest peak of its trainings."""
    command = [sys.executable, "-m", "mnist_bench", "run", "table-1", "--no-report", "--json"]
    if images:
        command += ["--data", str(images.resolve())]
    if step_counts != paper.PROTOCOL.steps:
        command += ["--steps", ",".join(map(str, step_counts))]
    removed = {"MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"}
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [*command, *options],
            cwd=folder,
            env={name: value for name, value in os.environ.items() if name not in removed},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            check=True,
        )
    peaks = [run["peak_rss_bytes"] for run in json.loads(done.stdout)["runs"]]
    return max((peak for peak in peaks if peak is not None), default=None)


def page(session: WholeSession) -> str:
    """The page in Markdown."""
    versions = hardware.in_words(session.versions)
    rows = ", ".join(formatting.count(steps) for steps in session.rows)
    lines = [
        "# All of Table I",
        "",
        f"Trainings of {rows} steps, scored after 1, 101, 201, ... updates; wall clock from the",
        "start of a process to its end.",
        "",
        f"Machine: {session.hardware.sentences}",
        f"Versions: {versions}.",
        f"Made by `{session.command}` on {session.date}; images: {session.dataset}.",
        "",
        "| way | seconds of each run | by the program's | largest asked for | met | peak RSS |",
        "|---|---|---:|---:|---|---:|",
        *(_line(session, name) for name in WAYS if session.seconds(name)),
        "",
        *_program(session),
        "The suite scores test and validation at each grid step, the program the test images",
        "alone; the suite's rows are cut from one training unless `--independent` is given.",
        "",
    ]
    return "\n".join(lines)


def _line(session: WholeSession, name: str) -> str:
    way, seconds = WAYS[name], session.seconds(name)
    share, bound, met = "–", "–", "–"
    if (program := session.seconds(PROGRAM)) and name != PROGRAM:
        ratio = statistics.median(seconds) / statistics.median(program)
        share = f"{ratio:.3f}"
        if way.bound is not None:
            bound, met = f"{way.bound:.2f}", "yes" if ratio <= way.bound else "**no**"
    peaks = [run.peak_rss_bytes for run in session.runs if run.way == name and run.peak_rss_bytes]
    shown = ", ".join(f"{value:.1f}" for value in seconds)
    peak = formatting.mebibytes(max(peaks, default=None))
    return f"| {way.title} | {shown} | {share} | {bound} | {met} | {peak} |"


def _program(session: WholeSession) -> list[str]:
    """Seconds of each training of the program."""
    row_seconds = [
        run.row_seconds for run in session.runs if run.way == PROGRAM and run.row_seconds
    ]
    if not row_seconds:
        return []
    each = ", ".join(f"{seconds:.1f}" for seconds in row_seconds[0])
    return [
        f"The program trains in one process, each training with a graph of its own: {each} s.",
        "Every evaluation adds nodes to that graph, as it did there.",
    ]


def measure(options: argparse.Namespace) -> WholeSession:
    """Measure ours, the program, and ours again; write after each run."""
    source = mnist.find("auto", options.data, log=print)
    ours = [name for name in options.only if name != PROGRAM]
    after = options.ours_rounds // 2
    program = [PROGRAM] * (PROGRAM in options.only)
    order = ours * (options.ours_rounds - after) + program + ours * after
    session = WholeSession(
        command=_command(options),
        date=datetime.now(UTC).date().isoformat(),
        hardware=hardware.describe(),
        versions=hardware.versions("tensorflow", "numpy", "mlflow", "mnist-bench"),
        dataset=source.name,
        rows=options.steps,
        runs=(),
    )
    for name in order:
        run = measured(name, source, options.data, options.steps)
        session = session.model_copy(update={"runs": (*session.runs, run)})
        text = session.model_dump_json(indent=1) + "\n"
        (options.out / "whole.json").write_text(text, encoding="utf-8", newline="\n")
        print(f"{name}: {run.seconds:.1f} s", flush=True)
    return session


def _command(options: argparse.Namespace) -> str:
    """Command line without local paths."""
    words = ["python benchmarks/peers/whole.py"]
    words += ["--data DIR"] if options.data else []
    words += [f"--ours-rounds {options.ours_rounds}"]
    if options.steps != paper.PROTOCOL.steps:
        words += ["--steps " + ",".join(map(str, options.steps))]
    words += [f"--only {','.join(options.only)}"] if options.only != list(WAYS) else []
    return " ".join(words)


def main() -> None:
    """Measure, or read earlier measurements; write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder with MNIST's IDX files")
    parser.add_argument("--ours-rounds", type=int, default=2, help="runs of each of ours (2)")
    parser.add_argument("--steps", type=lambda text: tuple(map(int, text.split(","))),
                        default=paper.PROTOCOL.steps, help="other step counts")  # fmt: skip
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(WAYS),
                        help=f"some of {', '.join(WAYS)}")  # fmt: skip
    parser.add_argument("--from", dest="file", type=Path, metavar="FILE",
                        help="make the page from this JSON without measuring")  # fmt: skip
    parser.add_argument("--out", type=Path, default=FOLDER, help="output folder")
    options = parser.parse_args()
    if options.file:
        session = WholeSession.model_validate_json(options.file.read_text(encoding="utf-8"))
    else:
        session = measure(options)
    (options.out / "whole.md").write_text(page(session), encoding="utf-8", newline="\n")
    print(page(session))


if __name__ == "__main__":
    main()
