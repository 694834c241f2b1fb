"""Peak RSS as the suite tells it, against `/usr/bin/time -v`, in turn without and with phase peaks.

    python benchmarks/trust/memory.py --data DIR -n 5

prints the table; with `--write FILE` it is kept as well. Linux with GNU time. The peak of the same
training is another each time; so it is tried with every core, and with one thread and one heap.
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
"""Scored often, as in Table I: the peak of a process that scores once is another each time."""
_MAX_RSS = re.compile(r"Maximum resident set size \(kbytes\): (\d+)")


@dataclass(frozen=True)
class Peak:
    """One training's peak.

    Attributes:
        steady: Whether one thread and one heap were used.
        phase_peaks: Whether the mark was reset at each phase; that lowers what time tells.
        told_bytes: By the suite.
        largest_phase_bytes: The largest of its phase peaks; None without them.
        time_bytes: By GNU time.
    """

    steady: bool
    phase_peaks: bool
    told_bytes: int
    largest_phase_bytes: int | None
    time_bytes: int


def measure(source: Source, *, steady: bool, phase_peaks: bool) -> Peak:
    """Train once under GNU time: itself small, and the parent of the process that it times."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "time.txt"
        process.COMMAND = (TIME, "-v", "-o", str(report), *_WORKER)
        asked = request(source, folder, phase_peaks=phase_peaks, every=_EVERY_STEPS)
        if steady:
            asked = asked.model_copy(update={"execution": Execution(threads=1)})
        with (
            mock.patch.dict(os.environ, {"MALLOC_ARENA_MAX": "1"} if steady else {}),
            process.WorkerProcess(asked, Path(folder) / "worker.log") as worker,
        ):
            worker.go()
            row = next(m for m in list(worker.messages()) if isinstance(m, StepCountDone))
            if failure := worker.end():
                raise RuntimeError(failure)
        told = _MAX_RSS.search(report.read_text(encoding="utf-8"))
    if told is None or row.peak_rss_bytes is None:
        raise RuntimeError("no peak was told")
    phases = row.phase_peak_rss_bytes.values()
    return Peak(
        steady, phase_peaks, row.peak_rss_bytes, max(phases, default=None), int(told[1]) * 1024
    )


_WORKER = process.COMMAND


def page(peaks: list[Peak], command: str) -> str:
    """The table."""
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
    """What time tells where no mark is reset: a reset lowers it."""
    return [p.time_bytes for p in peaks if p.steady is steady and not p.phase_peaks]


def _lines(threads: str, peaks: list[Peak]) -> list[str]:
    without = [peak for peak in peaks if not peak.phase_peaks]
    with_ = [peak for peak in peaks if peak.phase_peaks]
    mean = statistics.mean(peak.time_bytes for peak in without)
    largest = [(peak.largest_phase_bytes or 0) / mean for peak in with_]
    rows = (
        ("off", "peak RSS", "time's, same run", [p.told_bytes / p.time_bytes for p in without]),
        ("off", "time's", "its own mean", [p.time_bytes / mean for p in without]),
        ("on", "largest phase peak", "the same mean", largest),
        ("on", "peak RSS", "the same mean", [p.told_bytes / mean for p in with_]),
    )
    return [f"| {threads} " + _line(*row) for row in rows]


def _line(way: str, figure: str, against: str, ratios: list[float]) -> str:
    spread = (min(ratios) - 1, max(ratios) - 1, statistics.mean(ratios) - 1)
    shown = " | ".join(f"{off:+.2%}" for off in spread)
    return f"| {way} | {len(ratios)} | {figure} | {against} | {shown} |"


def main() -> None:
    """Measure, print, and keep what was asked to be kept."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with MNIST's IDX files")
    parser.add_argument("-n", type=int, default=5, help="trainings of each kind (5)")
    parser.add_argument("--write", type=Path, metavar="FILE", help="keep the table there")
    options = parser.parse_args()
    source = mnist.find("mnist", options.data, say=print)
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
