"""Recorded peak RSS compared with `/usr/bin/time -v`, without and with phase peaks.

    python benchmarks/trust/memory.py --data DIR --repeats 3

writes `memory.md`. Linux with GNU time. The peak of a training varies from run to run, so it is
measured with all cores, and with one thread and one heap.
"""

from __future__ import annotations

import argparse
import itertools
import os
import re
import sys
import tempfile
from pathlib import Path
from unittest import mock

import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1]))

import common
from common import Document
from runs import request

from mnist_bench.data import mnist
from mnist_bench.data.dataset import Source
from mnist_bench.results.protocol import StepCountDone
from mnist_bench.runner import process

_WORKER = process.COMMAND
_EVERY_STEPS = 50
"""Evaluated often, as in Table I: with a single evaluation the peak varies more."""


def measure(options: argparse.Namespace) -> Document:
    """Train with each setting in turn."""
    source = mnist.find("auto", options.data, log=print)
    kinds = list(itertools.product((False, True), (False, True)))
    peaks = [
        peak(source, is_steady=is_steady, phase_peaks=phase_peaks)
        for _, (is_steady, phase_peaks) in common.in_turn(kinds, options.repeats)
    ]
    return common.session(peaks=peaks)


def peak(source: Source, *, is_steady: bool, phase_peaks: bool) -> Document:
    """Peak memory in bytes of a training under GNU time, which is the worker's small parent.

    Args:
        is_steady: Whether to use one thread and one heap.
        phase_peaks: Whether the peak is reset at each phase; that lowers GNU time's value.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "time.txt"
        process.COMMAND = ("/usr/bin/time", "-v", "-o", str(report), *_WORKER)
        threads = 1 if is_steady else 0
        task = request(source, folder, phase_peaks=phase_peaks, every=_EVERY_STEPS, threads=threads)
        with (
            mock.patch.dict(os.environ, {"MALLOC_ARENA_MAX": "1"} if is_steady else {}),
            process.WorkerProcess(task, Path(folder) / "worker.log") as worker,
        ):
            worker.go()
            done = next(m for m in list(worker.messages()) if isinstance(m, StepCountDone))
            if failure := worker.end():
                raise RuntimeError(failure)
        kilobytes = re.findall(r"Maximum resident set size \(kbytes\): (\d+)",
                               report.read_text(encoding="utf-8"))  # fmt: skip
    return {
        "steady": is_steady,
        "phase_peaks": phase_peaks,
        "recorded": done.peak_rss_bytes,
        "largest_phase": max(done.phase_peak_rss_bytes.values(), default=None),
        "time": int(kilobytes[0]) * 1024,
    }


def page(document: Document) -> str:
    """The table in Markdown."""
    rows, means = [], []
    for is_steady, of in pd.DataFrame(document["peaks"]).groupby("steady"):
        off, on = of[~of["phase_peaks"]], of[of["phase_peaks"]]
        means.append(off["time"].mean())
        for way, figure, against, ratios in (
            ("off", "peak RSS", "time's, same run", off["recorded"] / off["time"]),
            ("off", "time's", "its own mean", off["time"] / means[-1]),
            ("on", "largest phase peak", "the same mean", on["largest_phase"] / means[-1]),
            ("on", "peak RSS", "the same mean", on["recorded"] / means[-1]),
        ):
            spread = (f"{f(ratios) - 1:+.2%}" for f in (min, max, pd.Series.mean))
            threads = "1, one heap" if is_steady else "every core"
            rows.append((threads, way, str(len(ratios)), figure, against, *spread))
    head = ("threads", "phase peaks", "n", "figure", "against", "smallest", "largest", "mean")
    return common.blocks(
        common.origin(document),
        common.table(head, rows, left=(0, 1, 3, 4)),
        f"GNU time's mean without phase peaks: {means[0] / 2**20:,.1f} MiB; with one "
        f"thread and one heap: {means[1] / 2**20:,.1f} MiB.",
    )


if __name__ == "__main__":
    arguments = common.parser(__doc__, repeats=(5, "trainings of each kind"))
    common.run(arguments, ("memory.json", "memory.md"), measure, page)
