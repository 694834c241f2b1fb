"""What is asked of a contender, and what it answers: JSON lines over its standard streams."""

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
"""Steps whose time is taken together."""
STEP_GFLOP = 4.2
"""Multiplications and additions of one step: forward and backward, 50 images."""


@dataclass(frozen=True)
class Contender:
    """One of those who train the paper's network.

    Attributes:
        module: File of this folder that has it.
        title: In the table.
        needs: The distribution that must be installed.
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
        settings: What it was set to, in words.
    """

    settings: str

    def train(self, stops: Sequence[int], reached: Callable[[], None]) -> None:
        """Update until the last of `stops`; call `reached` when each of them is done.

        Args:
            stops: Numbers of updates, rising.
            reached: Called with nothing left to wait for.
        """

    @property
    def ways(self) -> Mapping[str, Callable[[], float]]:
        """Ways to score the test images by name, the documented one first; each gives a share."""


class Task(Record):
    """What every contender is told.

    Attributes:
        name: Key in `CONTENDERS`.
        source: The images, found and verified.
        threads: Cores that may be used.
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
        warm_up_steps: Those before them.
        started_at: Unix time in seconds at which the process was started.
    """

    steps: int
    warm_up_steps: int
    started_at: float


class CurveTask(Task):
    """Whole trainings, one after another, scored on Table I's grid; the steps are not timed.

    Attributes:
        rows: Steps of each training.
    """

    rows: tuple[int, ...]


class Timed(Record):
    """One contender's answer to a `TimedTask`.

    Attributes:
        name: Key in `CONTENDERS`.
        settings: What it was set to, in words.
        chunk_milliseconds: A step's, over each chunk of timed steps.
        evaluation_seconds: By way of scoring: each evaluation after the first one.
        peak_rss_bytes: After training and the documented way of scoring, the others not yet tried.
        import_peak_rss_bytes: After the imports.
        first_step_seconds: From the start of the process to the end of its first step.
        test_accuracy: Of the last state: who does not learn is not timed.
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
        seed: Of the task.
        test_accuracies: By row, on Table I's grid.
        row_seconds: Wall clock of each row, its evaluations and what it builds included.
        peak_rss_bytes: Of the whole process.
    """

    name: str
    seed: int
    test_accuracies: tuple[tuple[float, ...], ...]
    row_seconds: tuple[float, ...]
    peak_rss_bytes: int | None


class Products(Record):
    """How fast this machine multiplies matrices; TensorFlow's own product, best of some sizes.

    Attributes:
        gflops: Billions of multiplications and additions a second, by precision and matrix side.
    """

    gflops: dict[str, dict[int, float]]

    @property
    def peak_gflops(self) -> dict[str, float]:
        """The best side's, by precision."""
        return {precision: max(by_side.values()) for precision, by_side in self.gflops.items()}


class Round(Record):
    """Every contender once, one after the other.

    Attributes:
        timed: By name, in the order in which they ran.
        products: The machine's own speed; None where it was not asked for.
    """

    timed: dict[str, Timed]
    products: Products | None = None


class Session(Record):
    """What one command measured.

    Attributes:
        command: What to type for it, `DIR` standing for the folder with the images.
        date: The day it began, in UTC.
        hardware: Of this machine.
        versions: By distribution; of those that took part.
        dataset: Name of the images.
        threads: Cores that may be used.
        steps: Timed steps of each run.
        warm_up_steps: Those before them.
        missing: By name, why a contender is not in the table.
        rounds: Without the thrown-away first one.
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
        """Those of one contender, round by round."""
        return [made.timed[name] for made in self.rounds if name in made.timed]


class ContenderError(Exception):
    """A contender's process failed; the text is the last line that it said."""


def answer(program: str, task: Record, *options: str) -> str:
    """A program's answer to a task, as JSON, from a fresh process.

    Raises:
        ContenderError: It ended with a status other than 0.
    """
    done = subprocess.run(
        [sys.executable, str(FOLDER / program), *options],
        input=task.model_dump_json() + "\n",
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise ContenderError(said[-1])
    # Libraries may have printed something before.
    return done.stdout.splitlines()[-1]


def batches(images: int, seed: int) -> Iterator[npt.NDArray[np.int64]]:
    """Indices of whole batches without end, the images shuffled anew for each epoch."""
    random = np.random.default_rng(seed)
    whole = images - images % BATCH_SIZE
    while True:
        order = random.permutation(images)[:whole]
        yield from order.reshape(-1, BATCH_SIZE)
