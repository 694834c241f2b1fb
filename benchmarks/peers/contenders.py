"""What trains the paper's network in these programs: ours and others'."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from mnist_bench.core.records import Record
from mnist_bench.data.dataset import Images, Source
from mnist_bench.scenarios.execution import Execution
from mnist_bench.scenarios.paper import HYPERPARAMETERS
from mnist_bench.worker import tensorflow_setup

BATCH_SIZE = 50
CHUNK_STEPS = 25
"""Steps that are timed together."""
_STEPS_PER_CALL = 100
"""The interval of evaluations in Table I."""


class Contender(NamedTuple):
    """Module with `prepare` and `make`, title in tables, and the distribution that it needs."""

    module: str
    title: str
    needs: str = "tensorflow"


CONTENDERS: Mapping[str, Contender] = {
    "program": Contender("paper_program", "the paper's program, for `tf.compat.v1`"),
    "keras": Contender("keras_fit", "Keras `fit`", "keras"),
    "torch": Contender("with_torch", "PyTorch, eager", "torch"),
    "torch-compile": Contender("with_torch", "PyTorch, `torch.compile`", "torch"),
    "torch-bfloat16": Contender("with_torch", "PyTorch, bfloat16 autocast", "torch"),
    "ours": Contender("contenders", "ours, float32"),
    "ours-bfloat16": Contender("contenders", "ours, bfloat16"),
}


class Peer(Protocol):
    """The network under one framework.

    Attributes:
        settings: Description of its settings.
        ways: Evaluation methods by name, the documented one first; each returns test accuracy.
    """

    settings: str
    ways: Mapping[str, Callable[[], float]]

    def train(self, stops: Sequence[int], reached: Callable[[], None]) -> None:
        """Train to the last of `stops`, rising step counts; call `reached` after each."""


class Task(Record):
    """Task of `contender.py`: a short training whose steps are timed, or complete ones.

    Attributes:
        name: Key in `CONTENDERS`.
        threads: Number of usable cores.
        steps: Timed steps, after those of the warm-up.
        started_at: Unix time in seconds at which the process started.
        step_counts: Of complete trainings on Table I's grid, without timed steps.
    """

    name: str
    source: Source
    threads: int
    seed: int = 0
    steps: int = 0
    warm_up_steps: int = 0
    started_at: float = 0.0
    step_counts: tuple[int, ...] = ()


def flat_and_scaled(images: Images) -> npt.NDArray[np.float32]:
    """float32 (n, 784) in [0, 1]."""
    return images.pixels.reshape(-1, 784).astype(np.float32) / np.float32(255)


def batches(images: int, seed: int) -> Iterator[npt.NDArray[np.int64]]:
    """Endless indices of full batches, reshuffled in each epoch."""
    random = np.random.default_rng(seed)
    whole = images - images % BATCH_SIZE
    while True:
        yield from random.permutation(images)[:whole].reshape(-1, BATCH_SIZE)


class Ours:
    """The suite's trainer in either precision, with the worker's settings."""

    def __init__(self, task: Task) -> None:
        from mnist_bench.data import mnist
        from mnist_bench.worker.trainer import Trainer

        trainer = self._trainer = Trainer(
            mnist.load(task.source),
            HYPERPARAMETERS,
            task.seed,
            precision="bfloat16" if task.name == "ours-bfloat16" else "float32",
            shards=task.threads,
        )
        precision = CONTENDERS[task.name].title.removeprefix("ours, ")
        self.settings = f"{precision}, {task.threads} threads, each with operations of its own"
        self.ways = {"its own": lambda: trainer.evaluate("test").accuracy}

    def train(self, stops: Sequence[int], reached: Callable[[], None]) -> None:
        """Train to the last stop."""
        for stop in stops:
            while (remaining := stop - self._trainer.step) > 0:
                self._trainer.advance(min(_STEPS_PER_CALL, remaining))
            reached()


def prepare(threads: int) -> None:
    """Import TensorFlow as the suite's worker does."""
    tensorflow_setup.start(Execution(threads=threads))


make = Ours
