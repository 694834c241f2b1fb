"""All of Table I from process start to end: the paper's program compared with the suite.

    python benchmarks/peers/whole.py --data DIR

Ours runs before and after the program, to reveal a drift of the machine. Writes `whole.json` after
each run, and `whole.md`.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1]))

import common
from common import Document
from contenders import Task

from mnist_bench.core import formatting
from mnist_bench.data import mnist
from mnist_bench.data.dataset import Source
from mnist_bench.measurement import system
from mnist_bench.scenarios import paper

PROGRAM = "program"
WAYS: Mapping[str, tuple[str, tuple[str, ...] | None]] = {
    "ours": ("`mnist-bench run`, float32", ()),
    "ours-bfloat16": ("`mnist-bench run --precision bfloat16`", ("--precision", "bfloat16")),
    "independent": ("`mnist-bench run --independent`, float32", ("--independent",)),
    "test-only": ("our trainer, test images alone, one training", None),
    PROGRAM: ("the paper's program", None),
}
"""Title of each, and options of `mnist-bench run`; None to train with `contender.py`."""


def measure(options: argparse.Namespace) -> Document:
    """Measure ours, the program, and ours again; write after each run."""
    source = mnist.find("auto", options.data, log=print)
    ours = [name for name in options.only if name != PROGRAM]
    after = options.repeats // 2
    program = [PROGRAM] * (PROGRAM in options.only)
    document = common.session(
        *("tensorflow", "numpy", "mlflow", "mnist-bench"),
        dataset=source.name,
        rows=options.steps,
        runs=[],
    )
    for name in ours * (options.repeats - after) + program + ours * after:
        begin = time.perf_counter()
        measured = _run(name, source, options)
        run = {"way": name, "seconds": time.perf_counter() - begin, **measured}
        document["runs"].append(run)
        common.save(options.out / "whole.json", document)
        print(f"{name}: {run['seconds']:.1f} s", flush=True)
    return document


def _run(name: str, source: Source, options: argparse.Namespace) -> Document:
    """Train all step counts; seconds of each training, and the largest peak."""
    _, own_options = WAYS[name]
    if own_options is None:
        contender, steps = (
            (PROGRAM, options.steps) if name == PROGRAM else ("ours", options.steps[-1:])
        )
        threads = system.usable_threads()
        task = Task(name=contender, source=source, threads=threads, step_counts=tuple(steps))
        answer = common.answer(Path(__file__).with_name("contender.py"), task.model_dump_json())
        return {key: answer[key] for key in ("row_seconds", "peak_rss_bytes")}
    words = ("run", "table-1", "--steps", ",".join(map(str, options.steps)), "--no-report")
    with tempfile.TemporaryDirectory() as folder:
        document = common.suite(Path(folder), *words, "--json", *own_options, images=options.data)
    peaks = [run["peak_rss_bytes"] for run in document["runs"] if run["peak_rss_bytes"]]
    return {"row_seconds": None, "peak_rss_bytes": max(peaks, default=None)}


def page(document: Document) -> str:
    """The table in Markdown."""
    runs = pd.DataFrame(document["runs"])
    program, rows = runs.loc[runs["way"] == PROGRAM, "seconds"].median(), []
    for name, (title, _) in WAYS.items():
        of = runs[runs["way"] == name]
        if len(of):
            share = of["seconds"].median() / program
            has_share = name != PROGRAM and not math.isnan(share)
            seconds = ", ".join(f"{value:.1f}" for value in of["seconds"])
            shown = f"{share:.3f}" if has_share else formatting.UNKNOWN
            rows.append(
                (title, seconds, shown, common.spread(of["peak_rss_bytes"] / 2**20, ",.0f"))
            )
    steps = ", ".join(f"{steps:,}" for steps in document["rows"])
    return common.blocks(
        f"{common.origin(document)}\nImages: {document['dataset']}; {steps} steps.",
        common.table(
            ("way", "seconds of each run", "by the program's", "peak RSS, MiB"), rows, left=(0, 1)
        ),
        *(
            f"Seconds of the program's trainings: {', '.join(f'{of:.1f}' for of in run)}."
            for run in runs.loc[runs["way"] == PROGRAM, "row_seconds"]
        ),
    )


if __name__ == "__main__":
    arguments = common.parser(__doc__, repeats=(2, "runs of each of ours"))
    arguments.add_argument("--steps", type=int, nargs="+", default=paper.PROTOCOL.steps)
    arguments.add_argument("--only", choices=WAYS, nargs="+", default=list(WAYS))
    common.run(arguments, ("whole.json", "whole.md"), measure, page)
