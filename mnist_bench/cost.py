"""What training costs here: remembered from the runs before, in the user's cache folder."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from mnist_bench import data
from mnist_bench.result import PhaseName, RunResult
from mnist_bench.scenario import Hyperparameters, Record, Scenario

_FILE = "costs.json"


class Cost(Record):
    """Speeds of one network on this machine.

    Attributes:
        train_images_per_second: Of training alone.
        score_images_per_second: Of scoring alone.
        start_seconds: From the start of a process to its first step.
    """

    train_images_per_second: float
    score_images_per_second: float
    start_seconds: float


_COSTS: TypeAdapter[dict[str, Cost]] = TypeAdapter(dict[str, Cost])


@dataclass(frozen=True)
class Work:
    """How much there is to do.

    Attributes:
        train_images: Images to train on, over all steps.
        score_images: Images to score, over all evaluations.
        processes: Workers to start.
    """

    train_images: int
    score_images: int
    processes: int

    def seconds(self, cost: Cost) -> float:
        """Wall-clock seconds that it takes at a cost."""
        return (
            self.train_images / cost.train_images_per_second
            + self.score_images / cost.score_images_per_second
            + self.processes * cost.start_seconds
        )


def work_of(scenario: Scenario, rows: tuple[int, ...], scored_at_once: int) -> Work:
    """The work of one trajectory.

    Args:
        scenario: What is asked.
        rows: Step counts of the trajectory.
        scored_at_once: Images of one evaluation: test and validation together.
    """
    evaluations = len({*scenario.grid.points(rows[-1]), *rows})
    return Work(
        rows[-1] * scenario.hyperparameters.batch_size, evaluations * scored_at_once, processes=1
    )


def recall(model: str, hyperparameters: Hyperparameters, threads: int) -> Cost | None:
    """What such a training cost here last; None where none was measured."""
    return _read().get(_key(model, hyperparameters, threads))


def remember(runs: Sequence[RunResult], scored_at_once: int) -> None:
    """Keep what the longest finished run cost; a cache that can't be written is no fault."""
    finished = [run for run in runs if run.status == "finished"]
    run = max(finished, key=lambda run: run.steps, default=None)
    if run is None or not run.images_per_second or not run.seconds.get("evaluate"):
        return
    start: tuple[PhaseName, ...] = ("import", "data", "trace")
    cost = Cost(
        train_images_per_second=run.images_per_second,
        score_images_per_second=len(run.evaluations) * scored_at_once / run.seconds["evaluate"],
        start_seconds=sum(run.seconds.get(name, 0.0) for name in start),
    )
    costs = {**_read(), _key(run.model, run.hyperparameters, run.threads): cost}
    path = data.cache_folder() / _FILE
    beside = path.with_name(f"{_FILE}.{os.getpid()}")
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(_COSTS.dump_json(costs, indent=2))
        beside.replace(path)


def _read() -> dict[str, Cost]:
    path = data.cache_folder() / _FILE
    try:
        return _COSTS.validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return {}


def _key(model: str, hyperparameters: Hyperparameters, threads: int) -> str:
    values = " ".join(f"{name}={value}" for name, value in hyperparameters)
    return f"{model} {values} threads={threads}"
