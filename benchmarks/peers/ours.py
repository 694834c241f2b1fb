"""Our trainer in either precision, with the worker's settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from measured import Task

from mnist_bench.core.limits import Precision
from mnist_bench.data.dataset import Dataset
from mnist_bench.scenarios import paper
from mnist_bench.scenarios.execution import Execution
from mnist_bench.worker import tensorflow_setup

if TYPE_CHECKING:
    from mnist_bench.worker.trainer import Trainer

_STEPS_PER_CALL = 100
"""Steps per call: the interval of evaluations in Table I."""


class Ours:
    """The trainer as a contender.

    Args:
        trainer: At step 0.
        settings: Description of its settings.
    """

    def __init__(self, trainer: Trainer, settings: str) -> None:
        self.settings = settings
        self._trainer = trainer

    def train(self, stops: Sequence[int], reached: Callable[[], None]) -> None:
        """Train to the last stop."""
        for stop in stops:
            while (remaining := stop - self._trainer.step) > 0:
                self._trainer.advance(min(_STEPS_PER_CALL, remaining))
            reached()

    @property
    def ways(self) -> Mapping[str, Callable[[], float]]:
        """Its only evaluation method."""
        return {"its own": lambda: self._trainer.evaluate("test").accuracy}


def prepare(threads: int) -> None:
    """Import TensorFlow as the suite's worker does."""
    tensorflow_setup.start(Execution(threads=threads))


def make(task: Task, dataset: Dataset) -> Ours:
    """Create the trainer with traced graphs."""
    from mnist_bench.worker.trainer import Trainer

    precision: Precision = "bfloat16" if task.name == "ours-bfloat16" else "float32"
    trainer = Trainer(
        dataset,
        paper.HYPERPARAMETERS,
        task.seed,
        precision=precision,
        shards=task.threads,
    )
    return Ours(trainer, f"{precision}, {task.threads} threads, each with operations of its own")
