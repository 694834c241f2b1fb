"""Speed and memory of other implementations of the same training, in rounds.

    python benchmarks/peers/peers.py --data DIR

Writes `README.md` and `peers.json`.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1]))

import common
from common import Document
from contenders import CHUNK_STEPS, CONTENDERS, Task

from mnist_bench.analysis.statistics import Estimate
from mnist_bench.core import formatting
from mnist_bench.data import mnist
from mnist_bench.measurement import system

PROGRAM = Path(__file__).with_name("contender.py")
_WARM_UP_STEPS = 25


class Target(NamedTuple):
    """A ratio and its target: theirs by ours at least for times, ours by theirs at most else."""

    figure: str
    ours: str
    peer: str
    bound: float | None

    @property
    def is_time(self) -> bool:
        """Whether it is a ratio of times."""
        return self.figure != "peak memory"

    @property
    def names(self) -> str:
        """Numerator and denominator."""
        peer, ours = CONTENDERS[self.peer].title, CONTENDERS[self.ours].title
        return f"{peer} / {ours}" if self.is_time else f"{ours} / {peer}"


TARGETS = (
    Target("step", "ours", "keras", 1.7),
    Target("step", "ours", "program", 1.25),
    Target("step", "ours", "torch", 1.15),
    Target("step", "ours", "torch-compile", None),
    Target("evaluation", "ours", "keras", 1.2),
    Target("evaluation", "ours", "program", None),
    Target("evaluation", "ours", "torch", 1.8),
    Target("evaluation", "ours", "torch-compile", None),
    Target("step", "ours-bfloat16", "keras", 2.7),
    Target("step", "ours-bfloat16", "torch-bfloat16", 1.0),
    Target("evaluation", "ours-bfloat16", "torch-bfloat16", None),
    Target("peak memory", "ours", "keras", 0.8),
    Target("peak memory", "ours", "program", 0.35),
    Target("peak memory", "ours", "torch", None),
)


def measure(options: argparse.Namespace) -> Document:
    """Run all rounds after a discarded one."""
    source = mnist.find("auto", options.data, log=print)
    threads, missing = system.usable_threads(), dict[str, str]()

    def measured(name: str, steps: int) -> Document | None:
        task = Task(name=name, source=source, threads=threads, steps=steps,
                    warm_up_steps=_WARM_UP_STEPS, started_at=time.time())  # fmt: skip
        try:
            return None if name in missing else common.answer(PROGRAM, task.model_dump_json())
        except common.ProgramError as error:
            missing[name] = f"it failed: {error}"
            return None

    for name in options.only:
        if not common.version_of(CONTENDERS[name].needs):
            missing[name] = f"{CONTENDERS[name].needs} is not installed"
        measured(name, CHUNK_STEPS)  # fills file and compiler caches
    rounds: list[Document] = [{"timed": {}} for _ in range(options.repeats)]
    present = [name for name in options.only if name not in missing]
    for turn, name in common.in_turn(present, options.repeats):
        if run := measured(name, options.steps):
            rounds[turn]["timed"][name] = run
            print(f"round {turn + 1}: {name}", flush=True)
    return common.session(
        *("tensorflow", "keras", "torch", "numpy", "mnist-bench"),
        dataset=source.name,
        threads=threads,
        steps=options.steps,
        warm_up_steps=_WARM_UP_STEPS,
        missing=missing,
        rounds=rounds,
    )


def frame_of(document: Document) -> pd.DataFrame:
    """One row a run, with its figures: milliseconds, seconds, bytes."""
    rows = []
    for turn, one in enumerate(document["rounds"]):
        for run in one["timed"].values():
            step = statistics.median(run["chunk_milliseconds"])
            seconds = {way: statistics.median(of) for way, of in run["evaluation_seconds"].items()}
            way = min(seconds, key=seconds.__getitem__)
            figures = {
                "step": step,
                "evaluation": seconds[way],
                "peak memory": run["peak_rss_bytes"],
            }
            rows.append({"round": turn, "way": way, **figures, **run})
    return pd.DataFrame(rows)


def ratio(runs: pd.DataFrame, target: Target) -> Estimate | None:
    """Ratio over the rounds in which both ran; None if there were none."""
    if not {target.ours, target.peer} <= set(runs["name"]):
        return None
    of = runs.pivot_table(index="round", columns="name", values=target.figure)
    ratios = of[target.peer] / of[target.ours]
    return common.ratio_of(ratios if target.is_time else 1 / ratios)


def page(document: Document) -> str:
    """Tables in Markdown."""
    runs = frame_of(document)
    rounds = formatting.counted(len(document["rounds"]), "round")
    head = ("figure", "ratio", "median", "95% interval", "n", "target", "met")
    return common.blocks(
        f"{common.origin(document)}\n{rounds}, {document['steps']} timed steps a run, images: "
        f"{document['dataset']}, {formatting.threads(document['threads'])}.",
        _table(runs),
        "\n".join(_missing(document, runs)),
        "## Ours by theirs",
        common.table(head, _ratios(runs), left=(0, 1, 6)),
        "## Settings",
        "\n".join(_settings(runs)),
    )


def _table(runs: pd.DataFrame) -> str:
    head = ("contender", "ms a step", "test evaluation, s", "peak RSS, MiB",
            "of it the imports, MiB", "start to first step, s", "test accuracy")  # fmt: skip
    rows = [
        (
            contender.title,
            common.spread(of["step"], ".1f"),
            common.spread(of["evaluation"], ".2f"),
            common.spread(of["peak memory"] / 2**20, ",.0f"),
            common.spread(of["import_peak_rss_bytes"] / 2**20, ",.0f"),
            common.spread(of["first_step_seconds"], ".1f"),
            formatting.accuracy(of["test_accuracy"].median()),
        )
        for name, contender in CONTENDERS.items()
        if len(of := runs[runs["name"] == name])
    ]
    return common.table(head, rows)


def _missing(document: Document, runs: pd.DataFrame) -> Iterator[str]:
    for name, reason in document["missing"].items():
        ran = int((runs["name"] == name).sum())
        left_out = f"in {ran} of {len(document['rounds'])} rounds alone" if ran else "left out"
        yield f"{CONTENDERS[name].title}: {left_out}, {reason}."


def _ratios(runs: pd.DataFrame) -> Iterator[tuple[str, ...]]:
    for target in TARGETS:
        if found := ratio(runs, target):
            bound = met = formatting.UNKNOWN
            if target.bound is not None:
                reached = found.value - target.bound
                bound = f"{'≥' if target.is_time else '≤'} {target.bound:.2f}"
                is_met = reached >= 0 if target.is_time else reached <= 0
                met = "met" if is_met else "**not met**"
            yield (
                *(target.figure, target.names, f"{found.value:.2f}", common.interval(found)),
                *(str(found.n), bound, met),
            )


def _settings(runs: pd.DataFrame) -> Iterator[str]:
    for name, contender in CONTENDERS.items():
        if len(of := runs[runs["name"] == name]):
            ways = of["way"].value_counts().items()
            scored = ", ".join(f"{way} ({n} of {len(of)} runs)" for way, n in ways)
            yield f"- {contender.title}: {of['settings'].iloc[0]}. Fastest scored: {scored}."


if __name__ == "__main__":
    arguments = common.parser(
        __doc__, repeats=(5, "rounds"), steps=(150, "timed steps of each run")
    )
    arguments.add_argument("--only", choices=CONTENDERS, nargs="+", default=list(CONTENDERS))
    common.run(arguments, ("peers.json", "README.md"), measure, page)
