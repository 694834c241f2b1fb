"""What parent and worker say to each other: JSON lines over the worker's standard streams.

The parent writes one `Request`, later the line `GO`; then nothing, and the end of the worker's
standard input means that the parent is gone. The worker answers with one message a line.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from mnist_bench.core.records import Record
from mnist_bench.data.dataset import Source
from mnist_bench.measurement.conditions import Surroundings, TrainingStretch
from mnist_bench.results.claims import MeasuredClaim
from mnist_bench.results.run import Evaluation, PhaseName
from mnist_bench.scenarios.execution import Execution
from mnist_bench.scenarios.hyperparameters import Hyperparameters
from mnist_bench.scenarios.scenario import Grid

GO = "go"
"""The line that lets a worker that is ready begin to trace and train."""


class Request(Record):
    """One trajectory to train.

    Attributes:
        model: Name of the network, or of another method.
        hyperparameters: Of the model.
        training_seed: Seeds weights, batches and dropout.
        rows: Step counts, rising; the last is the trajectory's length.
        grid: When test and validation are scored.
        source: The images, found and verified by the parent.
        execution: How it is carried out.
        folder: Where the worker puts files, in a folder a row (`predictions.npz`, weights).
        started_at: Unix time in seconds at which the parent started the worker.
        save_weights: Whether the weights are written at the end of each row.
        train_seconds_limit: Training seconds after which the last row ends at the next grid step;
            None where only its steps end it.
        with_test: Whether the test images are loaded and scored too.
        phase_peaks: Whether the memory's mark is reset at each phase, where the system allows it.
    """

    model: str
    hyperparameters: Hyperparameters
    training_seed: int
    rows: tuple[int, ...]
    grid: Grid
    source: Source
    execution: Execution
    folder: str
    started_at: float
    save_weights: bool = False
    train_seconds_limit: float | None = None
    with_test: bool = True
    phase_peaks: bool = True


class Gpu(Record):
    """A GPU that TensorFlow can use.

    Attributes:
        name: Its own.
        memory_bytes: What TensorFlow may use of its memory; None where that is not told.
    """

    name: str
    memory_bytes: int | None


class ProbeResult(Record):
    """What a probe found out; it is asked with the `Execution` that is in question.

    Attributes:
        gpus: The GPUs that TensorFlow can use, in its own order.
        bfloat16_speedup: How many times as fast as float32 a training step in bfloat16 is; None
            where the question was about float32.
    """

    gpus: tuple[Gpu, ...]
    bfloat16_speedup: float | None = None


class LayerMapsRequest(Record):
    """Which image is to be seen through which layers.

    Attributes:
        source: The images, found and verified by the parent.
        image: Place in the test images, from 0 on.
        steps: Updates that the figures' network is trained for.
        seed: Of its weights, batches and dropout.
        execution: How it is carried out.
        file: Where the answer is written.
        weights: File with a Table I network's weights; None where none were kept.
        weights_steps: Updates that it was trained for.
    """

    source: Source
    image: int = Field(ge=0)
    steps: int = Field(ge=1)
    seed: int
    execution: Execution
    file: str
    weights: str | None = None
    weights_steps: int = 0


class ExperimentRequest(Record):
    """Which claim of the paper is to be measured.

    Attributes:
        claim: Its number.
        source: The images, found and verified by the parent; None where the claim needs none.
        execution: How it is carried out.
        seed: Of all that is random.
        seconds: About what the measuring may take, where it takes as long as one likes: claims 7
            and 8.
    """

    claim: MeasuredClaim
    source: Source | None = None
    execution: Execution
    seed: int = 0
    seconds: float = Field(default=60.0, gt=0)


class Phase(Record):
    """A phase before the training has ended."""

    kind: Literal["phase"] = "phase"
    name: PhaseName
    seconds: float


class Ready(Record):
    """TensorFlow and the data are loaded; the worker waits for `GO`."""

    kind: Literal["ready"] = "ready"


class EvaluationMessage(Record):
    """The network was scored."""

    kind: Literal["evaluation"] = "evaluation"
    evaluation: Evaluation


class CalibrationMessage(Record):
    """A fixed piece of work was timed and the machine looked at: before training, at a row's end.

    Attributes:
        step: Updates done.
        seconds: What one piece took, the median of several.
        surroundings: The machine at that moment.
    """

    kind: Literal["calibration"] = "calibration"
    step: int
    seconds: float
    surroundings: Surroundings


class SampleMessage(Record):
    """A stretch of training has ended.

    Attributes:
        train_seconds: Training seconds so far.
        stretch: The stretch.
        surroundings: The machine at its end; None most of the time, since it is slow to read.
    """

    kind: Literal["sample"] = "sample"
    train_seconds: float
    stretch: TrainingStretch
    surroundings: Surroundings | None = None

    @property
    def step(self) -> int:
        """Updates done."""
        return self.stretch.step


class StepCountDone(Record):
    """A step count is reached, scored, and its files are written.

    Attributes:
        steps: The row.
        seconds: Seconds of the worker's life so far, by phase.
        peak_rss_bytes: The worker's high-water mark so far; None where it can't be had.
        memory_method: How that was read.
        phase_peak_rss_bytes: The same by phase; empty where the mark can't be reset.
    """

    kind: Literal["row"] = "row"
    steps: int
    seconds: dict[PhaseName, float]
    peak_rss_bytes: int | None
    memory_method: str | None
    phase_peak_rss_bytes: dict[PhaseName, int] = Field(default={})


class Done(Record):
    """Every row is done."""

    kind: Literal["done"] = "done"


class Failure(Record):
    """The worker gives up.

    Attributes:
        reason: The exception in one line; its traceback is in the worker's log.
    """

    kind: Literal["failure"] = "failure"
    reason: str


Message = Annotated[
    Phase
    | Ready
    | CalibrationMessage
    | EvaluationMessage
    | SampleMessage
    | StepCountDone
    | Done
    | Failure,
    Field(discriminator="kind"),
]
_MESSAGE: TypeAdapter[Message] = TypeAdapter(Message)


def parse(line: str | bytes) -> Message:
    """The message in one line of the worker's.

    Raises:
        ValueError: The line is none.
    """
    return _MESSAGE.validate_json(line)
