"""What can be run, and what each costs here."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mnist_bench.core import formatting
from mnist_bench.core.limits import DatasetChoice
from mnist_bench.data import mnist, sample
from mnist_bench.measurement import system
from mnist_bench.runner import time_estimates
from mnist_bench.scenarios import scenario
from mnist_bench.scenarios.execution import Execution, thread_counts
from mnist_bench.scenarios.scenario import Scenario

CLAIMS = "claims: what the paper says, put to the test; `run claims --dry-run` tells how"
"""Under the table."""


@dataclass(frozen=True)
class Item:
    """One packaged scenario.

    Attributes:
        name: What `run` takes.
        title: One line for people.
        steps: Its step counts.
        train_images: Images that one seed trains on, over all steps and thread counts.
        score_images: Images that it scores.
        expected_seconds: What one seed takes here; None where nothing like it was measured.
    """

    name: str
    title: str
    steps: tuple[int, ...]
    train_images: int
    score_images: int
    expected_seconds: float | None


def packaged() -> list[Item]:
    """Every scenario that comes with the package, by name."""
    items = ((name, scenario.read(scenario.find(name))) for name in scenario.packaged_names())
    return [_item(name, question) for name, question in items]


def show(items: list[Item], console: Console) -> None:
    """Print them as a table."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for header in ("scenario", "steps", "one seed takes", "what it asks"):
        table.add_column(header, overflow="fold")
    for item in items:
        steps = ", ".join(formatting.count(steps) for steps in item.steps)
        table.add_row(item.name, steps, _price(item), item.title)
    console.print(table)
    console.print(Text(CLAIMS), soft_wrap=True)


def as_json(items: list[Item]) -> str:
    """Them as one JSON document."""
    return json.dumps({"schema": 1, "scenarios": [asdict(item) for item in items]}, indent=2)


def _price(item: Item) -> str:
    if item.expected_seconds is not None:
        return f"about {formatting.duration(item.expected_seconds)}"
    images = formatting.count(item.train_images), formatting.count(item.score_images)
    return f"{images[0]} images to train on, {images[1]} to score"


def _item(name: str, question: Scenario) -> Item:
    work = time_estimates.work_of(question, question.steps, _scored_at_once(question.dataset))
    usable = system.usable_threads()
    counts = thread_counts(question.threads, usable) if question.threads else (usable,)
    costs = [
        time_estimates.load_cost(question.model, question.hyperparameters, Execution(threads=count))
        for count in counts
    ]
    seconds = [work.seconds(known) for known in costs if known]
    return Item(
        name,
        question.title,
        question.steps,
        work.train_images * len(counts),
        work.score_images * len(counts),
        sum(seconds) if len(seconds) == len(counts) else None,
    )


def _scored_at_once(choice: DatasetChoice) -> int:
    """Test and validation images of a choice; where it is open, those of the full MNIST."""
    if choice == sample.NAME:
        return sum(sample.SPLIT_SIZES[1:])
    return mnist.MNIST.validation_images + mnist.MNIST.files[2].count
