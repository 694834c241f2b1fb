"""The list of packaged scenarios with their expected time."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mnist_bench.core import formatting
from mnist_bench.data import mnist, sample
from mnist_bench.measurement import system
from mnist_bench.runner import time_estimates
from mnist_bench.scenarios.execution import Execution, thread_counts
from mnist_bench.scenarios.scenario import Scenario, find, packaged_names, read

CLAIMS = "claims: tests of the paper's claims; see `run claims --dry-run`"
"""Line below the table."""


@dataclass(frozen=True)
class Item:
    """One packaged scenario.

    Attributes:
        train_images: Training images of one seed, over all steps and thread counts.
        score_images: Evaluated images of one seed.
        expected_seconds: Expected time of one seed here; None if no similar run was measured.
    """

    name: str
    title: str
    steps: tuple[int, ...]
    train_images: int
    score_images: int
    expected_seconds: float | None


def packaged() -> list[Item]:
    """The packaged scenarios by name."""
    return [_item(name, read(find(name))) for name in packaged_names()]


def show(items: list[Item], console: Console) -> None:
    """Print the scenarios as a table."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for header in ("scenario", "steps", "one seed takes", "title"):
        table.add_column(header, overflow="fold")
    for item in items:
        steps = ", ".join(formatting.count(steps) for steps in item.steps)
        table.add_row(item.name, steps, _cost(item), item.title)
    console.print(table)
    console.print(Text(CLAIMS), soft_wrap=True)


def to_json(items: list[Item]) -> str:
    """The scenarios as one JSON document."""
    return json.dumps({"schema": 1, "scenarios": [asdict(item) for item in items]}, indent=2)


def _cost(item: Item) -> str:
    if item.expected_seconds is not None:
        return f"about {formatting.duration(item.expected_seconds)}"
    images = formatting.count(item.train_images), formatting.count(item.score_images)
    return f"{images[0]} images to train on, {images[1]} to evaluate"


def _item(name: str, scenario: Scenario) -> Item:
    if scenario.dataset == sample.NAME:
        scored_images = sum(sample.SPLIT_SIZES[1:])
    else:  # for `auto`, the images of the full MNIST
        scored_images = mnist.MNIST.validation_images + mnist.MNIST.files[2].count
    work = time_estimates.work_of(scenario, scenario.steps, scored_images)
    usable = system.usable_threads()
    counts = thread_counts(scenario.threads, usable) if scenario.threads else (usable,)
    costs = [
        time_estimates.load_cost(scenario.model, scenario.hyperparameters, Execution(threads=count))
        for count in counts
    ]
    seconds = [work.seconds(cost) for cost in costs if cost]
    return Item(
        name,
        scenario.title,
        scenario.steps,
        work.train_images * len(counts),
        work.score_images * len(counts),
        sum(seconds) if len(seconds) == len(counts) else None,
    )
