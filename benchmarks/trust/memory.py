"""Peak RSS as the suite tells it, against `/usr/bin/time -v`, in turn without and with phase peaks.

    python benchmarks/trust/memory.py --data DIR -n 5

prints the table; with `--write FILE` it is kept as well. Linux with GNU time.
"""

from __future__ import annotations

import argparse
import re
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path

from runs import request

from mnist_bench import data, machine, process
from mnist_bench.data import Source
from mnist_bench.protocol import RowEnd

TIME = "/usr/bin/time"
_EVERY_STEPS = 50
"""Scored often, as in Table I: the peak of a process that scores once is another each time."""
_MAX_RSS = re.compile(r"Maximum resident set size \(kbytes\): (\d+)")


@dataclass(frozen=True)
class Peak:
    """One training's peak.

    Attributes:
        phase_peaks: Whether the mark was reset at each phase; that lowers what time tells.
        told_bytes: By the suite.
        largest_phase_bytes: The largest of its phase peaks; None without them.
        time_bytes: By GNU time.
    """

    phase_peaks: bool
    told_bytes: int
    largest_phase_bytes: int | None
    time_bytes: int


def measure(source: Source, *, phase_peaks: bool) -> Peak:
    """Train once under GNU time: itself small, and the parent of the process that it times."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "time.txt"
        process.COMMAND = (TIME, "-v", "-o", str(report), *_WORKER)
        asked = request(source, folder, phase_peaks=phase_peaks, every=_EVERY_STEPS)
        with process.WorkerProcess(asked, Path(folder) / "worker.log") as worker:
            worker.go()
            row = next(m for m in list(worker.messages()) if isinstance(m, RowEnd))
            if failure := worker.end():
                raise RuntimeError(failure)
        told = _MAX_RSS.search(report.read_text(encoding="utf-8"))
    if told is None or row.peak_rss_bytes is None:
        raise RuntimeError("no peak was told")
    phases = row.phase_peak_rss_bytes.values()
    return Peak(phase_peaks, row.peak_rss_bytes, max(phases, default=None), int(told[1]) * 1024)


_WORKER = process.COMMAND


def page(peaks: list[Peak]) -> str:
    """The table: each way's figures by the mean of what time tells where no mark is reset."""
    without = [peak for peak in peaks if not peak.phase_peaks]
    with_ = [peak for peak in peaks if peak.phase_peaks]
    time_mean = statistics.mean(peak.time_bytes for peak in without)
    lines = [
        "# Peak RSS against `/usr/bin/time -v`",
        "",
        f"Machine: {machine.describe().name}.",
        f"Made by `python benchmarks/trust/memory.py --data DIR -n {len(without)}`.",
        "",
        "| phase peaks | n | figure | against | smallest | largest |",
        "|---|---|---|---|---|---|",
        _line("off", "peak RSS", "time's, same run",
              [p.told_bytes / p.time_bytes for p in without]),
        _line("on", "largest phase peak", "mean of time's without phase peaks",
              [(p.largest_phase_bytes or 0) / time_mean for p in with_]),
        _line("on", "peak RSS", "mean of time's without phase peaks",
              [p.told_bytes / time_mean for p in with_]),
        "",
        f"GNU time's mean without phase peaks: {time_mean / 2**20:,.1f} MiB.",
        "",
    ]  # fmt: skip
    return "\n".join(lines)


def _line(way: str, figure: str, against: str, ratios: list[float]) -> str:
    low, high = min(ratios) - 1, max(ratios) - 1
    return f"| {way} | {len(ratios)} | {figure} | {against} | {low:+.2%} | {high:+.2%} |"


def main() -> None:
    """Measure, print, and keep what was asked to be kept."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with MNIST's IDX files")
    parser.add_argument("-n", type=int, default=5, help="trainings of each kind (5)")
    parser.add_argument("--write", type=Path, metavar="FILE", help="keep the table there")
    options = parser.parse_args()
    source = data.find("mnist", options.data, say=print)
    peaks = [
        measure(source, phase_peaks=phase_peaks)
        for _ in range(options.n)
        for phase_peaks in (False, True)
    ]
    text = page(peaks)
    print(text)
    if options.write:
        options.write.write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
