"""Recorded peak RSS compared with `/usr/bin/time -v`, without and with phase peaks.

    python benchmarks/trust/memory.py --data DIR -n 5

prints the table; `--write FILE` also writes it to a file. Linux with GNU time. The peak of a
training varies from run to run, so it is measured with all cores, and with one thread and one heap.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from runs import request

from mnist_bench.data import mnist
from mnist_bench.data.dataset import Source
from mnist_bench.measurement import machine
from mnist_bench.results.protocol import StepCountDone
from mnist_bench.runner import process
from mnist_bench.scenarios.execution import Execution

TIME = "/usr/bin/time"
_EVERY_STEPS = 50
"""Evaluated often, as in Table I: with a single evaluation the peak varies more."""
_MAX_RSS = re.compile(r"Maximum resident set size \(kbytes\): (\d+)")


@dataclass(frozen=True)
class Peak:
    """Peak memory of one training.

    Attributes:
        steady: Whether one thread and one heap were used.
        phase_peaks: Whether the peak was reset at each phase; that lowers GNU time's value.
        recorded_bytes: Recorded by the worker.
        largest_phase_bytes: Largest phase peak; None without them.
        time_bytes: Reported by GNU time.
    """

    steady: bool
    phase_peaks: bool
    recorded_bytes: int
    largest_phase_bytes: int | None
    time_bytes: int


def measure(source: Source, *, steady: bool, phase_peaks: bool) -> Peak:
    """Train once under GNU time, which is the small parent of the worker."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "time.txt"
        process.COMMAND = (TIME, "-v", "-o", str(report), *_WORKER)
        task = request(source, folder, phase_peaks=phase_peaks, every=_EVERY_STEPS)
        if steady:
            task = task.model_copy(update={"execution": Execution(threads=1)})
        with (
            mock.patch.dict(os.environ, {"MALLOC_ARENA_MAX": "1"} if steady else {}),
            process.WorkerProcess(task, Path(folder) / "worker.log") as worker,
        ):
            worker.go()
            done = next(m for m in list(worker.messages()) if isinstance(m, StepCountDone))
            if failure := worker.end():
                raise RuntimeError(failure)
        match = _MAX_RSS.search(report.read_text(encoding="utf-8"))
    if match is None or done.peak_rss_bytes is None:
        raise RuntimeError("no peak was reported")
    phases = done.phase_peak_rss_bytes.values()
    return Peak(
        steady, phase_peaks, done.peak_rss_bytes, max(phases, default=None), int(match[1]) * 1024
    )


_WORKER = process.COMMAND


def page(peaks: list[Peak], command: str) -> str:
    """The page in Markdown."""
    lines = [
        "# Peak RSS against `/usr/bin/time -v`",
        "",
        f"Machine: {machine.describe().name}.",
        f"Made by `{command}`.",
        "",
        "| threads | phase peaks | n | figure | against | smallest | largest | mean |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for steady in (False, True):
        of = [peak for peak in peaks if peak.steady is steady]
        lines += _lines("1, one heap" if steady else "every core", of)
    means = [
        f"{statistics.mean(_times(peaks, steady=steady)) / 2**20:,.1f} MiB"
        for steady in (False, True)
    ]
    return "\n".join(
        (*lines, "", f"GNU time's mean without phase peaks: {means[0]}; steady: {means[1]}.", "")
    )


def _times(peaks: list[Peak], *, steady: bool) -> list[float]:
    """Values of GNU time without phase peaks, which would lower them."""
    return [p.time_bytes for p in peaks if p.steady is steady and not p.phase_peaks]


def _lines(threads: str, peaks: list[Peak]) -> list[str]:
    without = [peak for peak in peaks if not peak.phase_peaks]
    with_ = [peak for peak in peaks if peak.phase_peaks]
    mean = statistics.mean(peak.time_bytes for peak in without)
    largest = [(peak.largest_phase_bytes or 0) / mean for peak in with_]
    rows = (
        ("off", "peak RSS", "time's, same run", [p.recorded_bytes / p.time_bytes for p in without]),
        ("off", "time's", "its own mean", [p.time_bytes / mean for p in without]),
        ("on", "largest phase peak", "the same mean", largest),
        ("on", "peak RSS", "the same mean", [p.recorded_bytes / mean for p in with_]),
    )
    return [f"| {threads} " + _line(*row) for row in rows]


def _line(way: str, figure: str, against: str, ratios: list[float]) -> str:
    spread = (min(ratios) - 1, max(ratios) - 1, statistics.mean(ratios) - 1)
    shown = " | ".join(f"{off:+.2%}" for off in spread)
    return f"| {way} | {len(ratios)} | {figure} | {against} | {shown} |"


def main() -> None:
    """Measure, print, and write with `--write`."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with MNIST's IDX files")
    parser.add_argument("-n", type=int, default=5, help="trainings of each kind (5)")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the table to this file")
    options = parser.parse_args()
    source = mnist.find("mnist", options.data, log=print)
    peaks = [
        measure(source, steady=steady, phase_peaks=phase_peaks)
        for _ in range(options.n)
        for steady in (False, True)
        for phase_peaks in (False, True)
    ]
    text = page(peaks, f"python benchmarks/trust/memory.py --data DIR -n {options.n}")
    print(text)
    if options.write:
        options.write.write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
