"""Tasks and answers of contenders: JSON lines on their standard streams."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
from hardware import Hardware

from mnist_bench.core.records import Record
from mnist_bench.data.dataset import Source

FOLDER = Path(__file__).parent
BATCH_SIZE = 50
CHUNK_STEPS = 25
"""Steps that are timed together."""
STEP_GFLOP = 4.2
"""Multiplications and additions of one step: forward and backward, 50 images."""


@dataclass(frozen=True)
class Contender:
    """A program that trains the paper's network.

    Attributes:
        module: Module in this folder.
        title: In the table.
        needs: Distribution that must be installed.
    """

    module: str
    title: str
    needs: str = "tensorflow"


CONTENDERS: Mapping[str, Contender] = {
    "program": Contender("paper_program", "the paper's program, for `tf.compat.v1`"),
    "keras": Contender("keras_fit", "Keras `fit`", "keras"),
    "torch": Contender("with_torch", "PyTorch, eager", "torch"),
    "torch-compile": Contender("with_torch", "PyTorch, `torch.compile`", "torch"),
    "torch-bfloat16": Contender("with_torch", "PyTorch, bfloat16 autocast", "torch"),
    "ours": Contender("ours", "ours, float32"),
    "ours-bfloat16": Contender("ours", "ours, bfloat16"),
}


class Peer(Protocol):
    """The network under one framework.

    Attributes:
        settings: Description of its settings.
    """

    settings: str

    def train(self, stops: Sequence[int], reached: Callable[[], None]) -> None:
        """Train to the last of `stops`; call `reached` after each.

        Args:
            stops: Increasing step counts.
            reached: Called when all work up to the stop is complete.
        """

    @property
    def ways(self) -> Mapping[str, Callable[[], float]]:
        """Evaluation methods by name, the documented one first; each returns test accuracy."""


class Task(Record):
    """Task of every contender.

    Attributes:
        name: Key in `CONTENDERS`.
        source: The images, found and verified.
        threads: Number of usable cores.
        seed: Of weights, batches and dropout.
    """

    name: str
    source: Source
    threads: int
    seed: int = 0


class TimedTask(Task):
    """A short training whose steps are timed.

    Attributes:
        steps: Timed steps.
        warm_up_steps: Steps before them.
        started_at: Unix time in seconds at which the process started.
    """

    steps: int
    warm_up_steps: int
    started_at: float


class CurveTask(Task):
    """Complete trainings, evaluated on Table I's grid; steps are not timed.

    Attributes:
        rows: Step count of each training.
    """

    rows: tuple[int, ...]


class Timed(Record):
    """One contender's answer to a `TimedTask`.

    Attributes:
        name: Key in `CONTENDERS`.
        settings: Description of its settings.
        chunk_milliseconds: Time per step in each chunk of timed steps.
        evaluation_seconds: By evaluation method; without the first evaluation.
        peak_rss_bytes: After training and the documented evaluation method.
        import_peak_rss_bytes: After the imports.
        first_step_seconds: From the start of the process to the end of its first step.
        test_accuracy: After the last step; shows that the contender learns.
    """

    name: str
    settings: str
    chunk_milliseconds: tuple[float, ...]
    evaluation_seconds: dict[str, tuple[float, ...]]
    peak_rss_bytes: int | None
    import_peak_rss_bytes: int | None
    first_step_seconds: float
    test_accuracy: float


class Curves(Record):
    """One contender's answer to a `CurveTask`.

    Attributes:
        name: Key in `CONTENDERS`.
        test_accuracies: Of each training, on Table I's grid.
        row_seconds: Wall-clock time of each training, including evaluations and compilation.
        peak_rss_bytes: Of the whole process.
    """

    name: str
    seed: int
    test_accuracies: tuple[tuple[float, ...], ...]
    row_seconds: tuple[float, ...]
    peak_rss_bytes: int | None


class Products(Record):
    """Speed of TensorFlow's matrix product on this machine.

    Attributes:
        gflops: Billions of multiplications and additions per second, by precision and matrix side.
    """

    gflops: dict[str, dict[int, float]]

    @property
    def peak_gflops(self) -> dict[str, float]:
        """Largest speed over the sides, by precision."""
        return {precision: max(by_side.values()) for precision, by_side in self.gflops.items()}


class Round(Record):
    """Every contender once.

    Attributes:
        timed: By name, in the order in which they ran.
        products: Speed of the machine; None if not measured.
    """

    timed: dict[str, Timed]
    products: Products | None = None


class Session(Record):
    """What one command measured.

    Attributes:
        command: Command line, with `DIR` for the folder of images.
        date: Date of the start, in UTC.
        versions: By distribution; of those that took part.
        dataset: Name of the images.
        threads: Number of usable cores.
        steps: Timed steps of each run.
        warm_up_steps: Steps before them.
        missing: Reasons by name of missing contenders.
        rounds: Without the discarded first one.
    """

    command: str
    date: str
    hardware: Hardware
    versions: dict[str, str]
    dataset: str
    threads: int
    steps: int
    warm_up_steps: int
    missing: dict[str, str]
    rounds: tuple[Round, ...]

    def runs(self, name: str) -> list[Timed]:
        """Runs of one contender, by round."""
        return [each.timed[name] for each in self.rounds if name in each.timed]


class ContenderError(Exception):
    """A contender's process failed; the message is its last line of output."""


def answer(program: str, task: Record, *options: str) -> str:
    """Run a program on a task in a new process; return its answer as JSON.

    Raises:
        ContenderError: Its exit status is not 0.
    """
    done = subprocess.run(
        [sys.executable, str(FOLDER / program), *options],
        input=task.model_dump_json() + "\n",
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise ContenderError(lines[-1])
    # Libraries may print before it.
    return done.stdout.splitlines()[-1]


def batches(images: int, seed: int) -> Iterator[npt.NDArray[np.int64]]:
    """Endless indices of full batches, reshuffled in each epoch."""
    random = np.random.default_rng(seed)
    whole = images - images % BATCH_SIZE
    while True:
        order = random.permutation(images)[:whole]
        yield from order.reshape(-1, BATCH_SIZE)
