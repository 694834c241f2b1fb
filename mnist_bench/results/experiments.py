"""What was measured for a claim of the paper, as records; what it means is judged elsewhere. Pure.

Claims go by numbers: 7 is about sparse connections (III.A of the paper), 8 about single samples
(II.B), 10 about equation 5 (III.A), 11 about the size of the data (IV.A).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mnist_bench.core.records import Record
from mnist_bench.results.claims import MeasuredClaim
from mnist_bench.results.dataset_size import DatasetSize
from mnist_bench.scenarios.execution import Execution

FILE = "finding.json"
"""How a finding is called where it is kept."""

SUBJECTS: dict[MeasuredClaim, str] = {
    7: "one map by a convolution, without shared weights, and without sparseness",
    8: "single samples against mini-batches, full batches and L-BFGS",
    10: "equation 5 against TensorFlow's operators",
    11: "what the images take",
}
"""What is measured for each claim."""
SECONDS: dict[MeasuredClaim, float] = {7: 60.0, 8: 600.0, 10: 20.0, 11: 20.0}
"""About what that may take; 10 and 11 take no longer with more."""

LayerKind = Literal["dense", "local", "convolution"]
LAYER_KINDS: tuple[LayerKind, ...] = ("dense", "local", "convolution")
"""Neither sparse nor shared; sparse alone; sparse and shared."""

Method = Literal["single samples", "mini-batches of 50", "full batch", "L-BFGS"]
METHODS: tuple[Method, ...] = ("single samples", "mini-batches of 50", "full batch", "L-BFGS")
"""Equation 2; what lies between; equation 1; a second-order method."""


# Claim 7


class LayerCost(Record):
    """What a layer costs that makes one map of one image, a kernel wide of what each pixel sees.

    Attributes:
        kind: Dense: each output is connected with every pixel. Local: with the kernel's
            surroundings of its own place alone. Convolution: the same, with weights that all
            outputs share.
        side: Pixels along each side of the image and of the map.
        kernel_size: Pixels along each side of the kernel.
        parameters: Weights that reach a pixel inside of the image; none of the layers has a bias.
        weight_bytes: What its weights take as they are held, in float32. The local layer holds a
            whole kernel for each output, also where that reaches beyond the image's border: the
            paper's k times n.
        multiply_adds: For one image: each pair of output and pixel that are connected. A product
            with the zeros beyond the border is not counted.
        seconds: Of one application to a batch, each of a repeat; None where nobody timed it.
        not_timed: Why not; None where it was timed.
        largest_difference: Between its map and the convolution's, in float32; None where the layer
            was not built.
    """

    kind: LayerKind
    side: int
    kernel_size: int
    parameters: int
    weight_bytes: int
    multiply_adds: int
    seconds: tuple[float, ...] | None
    not_timed: str | None = None
    largest_difference: float | None = None


class LayerComparison(Record):
    """Claim 7: one map, computed by a convolution, without sharing, and without sparseness.

    Attributes:
        costs: Of each kind at each side, by rising side.
        batch_images: Images that a layer is applied to at once.
        applications: So many times in a row a layer is applied in one repeat, to its own map.
        largest_value: The largest number in any of the compared maps, by its size: what the
            differences are to be held against.
    """

    kind: Literal["sparseness"] = "sparseness"
    costs: tuple[LayerCost, ...] = Field(min_length=1)
    batch_images: int
    applications: int
    largest_value: float


# Claim 8


class LossPoint(Record):
    """A moment of a training.

    Attributes:
        samples_seen: Images whose gradient was computed so far, each time that it was: an image of
            two passes counts twice, and so does one of a line search.
        seconds: Of training so far; scoring stands outside of the clock.
        loss: Mean cross-entropy over the images of `Descent.loss_images`, in nats.
        validation_accuracy: Share of the validation images classified rightly.
    """

    samples_seen: int
    seconds: float
    loss: float
    validation_accuracy: float


class LossCurve(Record):
    """A training by one method, from the weights that all begin with.

    Attributes:
        method: How it goes down.
        learning_rate: Its step's factor, constant; None of L-BFGS, whose line search finds it.
        points: By rising samples, the untrained network first.
        ended: Why the curve ends: its time was over; its loss was no number any more; or no
            smaller loss could be found.
        samples_seen: In all, also after the last point where the loss was no number any more.
        seconds: Of training in all.
    """

    method: Method
    learning_rate: float | None
    points: tuple[LossPoint, ...] = Field(min_length=1)
    ended: Literal["time", "diverged", "converged"]
    samples_seen: int
    seconds: float

    def first_at(self, loss: float) -> LossPoint | None:
        """The first point whose loss is no larger; None where none is."""
        return next((point for point in self.points if point.loss <= loss), None)


class RateTrial(Record):
    """A whole curve at one learning rate, in short.

    Attributes:
        learning_rate: The rate.
        samples_seen: As the curve has it.
        seconds: As the curve has it.
        loss: At its end; None where that was no number.
    """

    learning_rate: float
    samples_seen: int
    seconds: float
    loss: float | None


class RateSearch(Record):
    """How a method came to its learning rate: of its curves the one of the least loss is kept.

    Attributes:
        method: Whose rate it is.
        tried: What was tried, the kept one included.
    """

    method: Method
    tried: tuple[RateTrial, ...]

    @property
    def seconds(self) -> float:
        """What all its curves took: what a user pays who does not know the rate."""
        return sum(each.seconds for each in self.tried)


class OptimizerComparison(Record):
    """Claim 8: the same network trained by several methods, each at its best for the same time.

    Attributes:
        curves: One a method.
        searches: For the methods that need a learning rate.
        seconds_a_curve: Training seconds that each curve was given, those of a search too.
        parameters: Weights and biases of the network.
        filters: Of its two convolutions.
        training_images: Images that are trained on.
        loss_images: The first of these, which every loss is measured on.
        validation_images: Images of the accuracy.
    """

    kind: Literal["descent"] = "descent"
    curves: tuple[LossCurve, ...] = Field(min_length=1)
    searches: tuple[RateSearch, ...]
    seconds_a_curve: float
    parameters: int
    filters: tuple[int, int]
    training_images: int
    loss_images: int
    validation_images: int


# Claim 10


class ConvolutionCases(Record):
    """Random integers and kernels in one number of dimensions: equation 5 against TensorFlow.

    Attributes:
        dimensions: Of the numbers.
        cases: How many.
        symmetric_kernels: Cases whose kernel is the same when flipped.
        equal_before_flipping: Cases in which TensorFlow's operator gives equation 5's sum at every
            place with the kernel as it is.
        equal_after_flipping: The same with the kernel flipped.
        largest_difference_before_flipping: Over all cases and places.
        largest_difference_after_flipping: The same with the kernel flipped.
    """

    dimensions: Literal[1, 2]
    cases: int
    symmetric_kernels: int
    equal_before_flipping: int
    equal_after_flipping: int
    largest_difference_before_flipping: int
    largest_difference_after_flipping: int


class ConvolutionCheck(Record):
    """Claim 10: equation 5 as a direct sum of integers against TensorFlow's operators.

    Attributes:
        arithmetic: Of TensorFlow's operators; integers, so that equal means equal.
        checks: In one and in two dimensions.
    """

    kind: Literal["convolution"] = "convolution"
    arithmetic: Literal["int32"] = "int32"
    checks: tuple[ConvolutionCases, ...] = Field(min_length=1)


# All of them

Body = Annotated[
    LayerComparison | OptimizerComparison | ConvolutionCheck | DatasetSize,
    Field(discriminator="kind"),
]

CLAIM_OF_KIND: dict[str, MeasuredClaim] = {
    "sparseness": 7,
    "descent": 8,
    "convolution": 10,
    "sizes": 11,
}


class ExperimentResult(Record):
    """What was measured for a claim, with what it was measured on.

    Attributes:
        schema_version: Of this format; called `schema` in the file.
        claim: Its number.
        machine_id: The random id of the machine; None where none could be kept.
        created: When it was measured: date and time in UTC by ISO 8601.
        dataset: Name of the images; None where none are looked at.
        dataset_digest: Of these.
        execution: How TensorFlow was settled.
        seed: Of all that is random.
        seconds: Budget that was asked for.
        took_seconds: Wall-clock seconds of the process, start and imports included.
        exclusive: Whether the suite kept other benchmarks of this user away.
        tensorflow: Its version.
        mnist_bench: Its version.
        body: The figures.
    """

    schema_version: Literal[1] = Field(default=1, alias="schema")
    claim: MeasuredClaim
    machine_id: str | None
    created: str
    dataset: str | None
    dataset_digest: str | None
    execution: Execution
    seed: int
    seconds: float
    took_seconds: float
    tensorflow: str
    mnist_bench: str
    exclusive: bool = True
    body: Body

    def to_json(self) -> bytes:
        """As it is kept."""
        return self.model_dump_json(by_alias=True, indent=2).encode()


def from_json(content: bytes) -> ExperimentResult:
    """A finding as it was kept.

    Raises:
        ValueError: It is none, or its figures belong to another claim.
    """
    finding = ExperimentResult.model_validate_json(content)
    if CLAIM_OF_KIND[finding.body.kind] != finding.claim:
        raise ValueError(f"figures of another claim than {finding.claim}")
    return finding
