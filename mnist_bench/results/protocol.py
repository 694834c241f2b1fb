"""The protocol of parent and worker: JSON lines over the worker's standard streams.

The parent writes one `Request` and later the line `GO`. End of file on the worker's standard input
means that the parent is gone. The worker writes one message per line.
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
"""The line that starts a worker that is ready."""


class Request(Record):
    """One training to run.

    Attributes:
        training_seed: Seed of weights, batches and dropout.
        step_counts: Rising; the last is the length of the training.
        grid: Steps to evaluate at.
        source: The images, found and verified by the parent.
        folder: Where the worker writes files, in one folder per step count (`predictions.npz`,
            weights).
        started_at: When the parent started the worker, Unix time in seconds.
        save_weights: Whether to write the weights at the end of each step count.
        train_seconds_limit: Train seconds after which the training ends at the next grid step;
            None without a limit.
        with_test: Whether to load and evaluate the test images too.
        phase_peaks: Whether to reset the peak RSS at each phase, if the system allows it.
    """

    model: str
    hyperparameters: Hyperparameters
    training_seed: int
    step_counts: tuple[int, ...]
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
        memory_bytes: Memory that TensorFlow may use; None if unknown.
    """

    name: str
    memory_bytes: int | None


class ProbeResult(Record):
    """The GPUs that TensorFlow can use, in its order."""

    gpus: tuple[Gpu, ...]


class LayerMapsRequest(Record):
    """Request for the feature maps of one test image.

    Attributes:
        source: The images, found and verified by the parent.
        image: Index in the test images, from 0.
        steps: Updates of the network of the paper's figures.
        seed: Seed of its weights, batches and dropout.
        file: Where the result is written.
        weights: File with the weights of a Table I network; None if there is none.
        weights_steps: Updates of that network.
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
    """Request for the experiment of a claim.

    Attributes:
        source: The images, found and verified by the parent; None if the claim needs none.
        seed: Seed of all random numbers.
        seconds: Approximate time budget; only claims 7 and 8 depend on it.
    """

    claim: MeasuredClaim
    source: Source | None = None
    execution: Execution
    seed: int = 0
    seconds: float = Field(default=60.0, gt=0)


class Phase(Record):
    """The end of a phase before the training."""

    kind: Literal["phase"] = "phase"
    name: PhaseName
    seconds: float


class Ready(Record):
    """TensorFlow and the data are loaded; the worker waits for `GO`."""

    kind: Literal["ready"] = "ready"


class EvaluationMessage(Record):
    """An evaluation of the network."""

    kind: Literal["evaluation"] = "evaluation"
    evaluation: Evaluation


class CalibrationMessage(Record):
    """Timing of a fixed workload, with a machine check.

    Sent before the training and at the end of each step count.

    Attributes:
        seconds: Median time of the workload.
        surroundings: State of the machine.
    """

    kind: Literal["calibration"] = "calibration"
    step: int
    seconds: float
    surroundings: Surroundings


class SampleMessage(Record):
    """The end of a stretch of training.

    Attributes:
        train_seconds: Train seconds so far.
        surroundings: State of the machine; usually None, since it is slow to read.
    """

    kind: Literal["sample"] = "sample"
    train_seconds: float
    stretch: TrainingStretch
    surroundings: Surroundings | None = None

    @property
    def step(self) -> int:
        """Updates so far."""
        return self.stretch.step


class StepCountDone(Record):
    """A step count is trained and evaluated, and its files are written.

    Attributes:
        seconds: Wall-clock seconds of the worker so far, by phase.
        peak_rss_bytes: Peak RSS of the worker so far; None if unknown.
        memory_method: How it was measured.
        phase_peak_rss_bytes: Peak RSS by phase; empty if the peak can't be reset.
    """

    kind: Literal["row"] = "row"
    steps: int
    seconds: dict[PhaseName, float]
    peak_rss_bytes: int | None
    memory_method: str | None
    phase_peak_rss_bytes: dict[PhaseName, int] = Field(default={})


class Done(Record):
    """All step counts are done."""

    kind: Literal["done"] = "done"


class Failure(Record):
    """The worker failed.

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
    """Parse one line of the worker's output.

    Raises:
        ValueError: The line is not a message.
    """
    return _MESSAGE.validate_json(line)
