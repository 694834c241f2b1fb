"""Results of experiments on claims of the paper; `claims` decides what they mean.

Claim 7 is about sparse connections (section III.A of the paper), 8 about single samples (II.B), 10
about equation 5 (III.A), 11 about the size of the data (IV.A).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mnist_bench.core.records import Record
from mnist_bench.results.claims import MeasuredClaim
from mnist_bench.scenarios.execution import Execution

FILE = "finding.json"
"""Name of the MLflow artifact with an experiment result."""

EXPERIMENT_TITLES: dict[MeasuredClaim, str] = {
    7: "one map by a convolution, without shared weights, and without sparseness",
    8: "single samples against mini-batches, full batches and L-BFGS",
    10: "equation 5 against TensorFlow's operators",
    11: "what the images take",
}
"""What the experiment for each claim measures."""
BUDGET_SECONDS: dict[MeasuredClaim, float] = {7: 60.0, 8: 600.0, 10: 20.0, 11: 20.0}
"""Approximate time budget per experiment; 10 and 11 do not use more if they get it."""

LayerKind = Literal["dense", "local", "convolution"]
LAYER_KINDS: tuple[LayerKind, ...] = ("dense", "local", "convolution")
"""Fully connected; sparse without weight sharing; sparse with weight sharing."""

Method = Literal["single samples", "mini-batches of 50", "full batch", "L-BFGS"]
METHODS: tuple[Method, ...] = ("single samples", "mini-batches of 50", "full batch", "L-BFGS")
"""Equation 2; between both; equation 1; a second-order method."""


# Claim 7


class LayerCost(Record):
    """Cost of a layer that computes one feature map of one image.

    Attributes:
        kind: Dense: each output is connected to every pixel. Local: to the pixels under a kernel
            at its position. Convolution: the same, with weights that all outputs share.
        side: Pixels along each side of the image and of the map.
        kernel_size: Pixels along each side of the kernel.
        parameters: Weights that are connected to a pixel inside the image; no layer has a bias.
        weight_bytes: Size of the stored weights in float32. The local layer stores a full kernel
            per output, also at the border of the image: the paper's k times n.
        multiply_adds: Per image: connected pairs of output and pixel. Products with the zero
            padding are not counted.
        seconds: Time to apply the layer to a batch, one per repeat; None if not timed.
        not_timed: Why it was not timed.
        largest_difference: Between its map and the convolution's, in float32; None if the layer
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
    """Claim 7: one feature map by a convolution, without weight sharing, and without sparseness.

    Attributes:
        costs: Of each layer kind at each side, by rising side.
        applications: Consecutive applications of a layer to its own output in one repeat.
        largest_value: The largest absolute value in the compared maps, the scale of the
            differences.
    """

    kind: Literal["sparseness"] = "sparseness"
    costs: tuple[LayerCost, ...] = Field(min_length=1)
    batch_images: int
    applications: int
    largest_value: float


# Claim 8


class LossPoint(Record):
    """One evaluation of a training.

    Attributes:
        samples_seen: Gradients of single images computed so far; each pass and each line search
            evaluation counts.
        seconds: Training seconds so far, without evaluation.
        loss: Mean cross-entropy over `OptimizerComparison.loss_images` images, in nats.
    """

    samples_seen: int
    seconds: float
    loss: float
    validation_accuracy: float


class LossCurve(Record):
    """A training by one method; all methods start from the same weights.

    Attributes:
        learning_rate: Constant; None for L-BFGS, which uses a line search.
        points: By rising samples, the untrained network first.
        ended: Why the curve ends: the time limit, a loss that is not finite, or no further
            decrease of the loss.
        samples_seen: In total, including those after the last point if the loss diverged.
        seconds: Training seconds in total.
    """

    method: Method
    learning_rate: float | None
    points: tuple[LossPoint, ...] = Field(min_length=1)
    ended: Literal["time", "diverged", "converged"]
    samples_seen: int
    seconds: float

    def first_at(self, loss: float) -> LossPoint:
        """The first point with at most this loss, which the curve must come to."""
        return next(point for point in self.points if point.loss <= loss)


class RateTrial(Record):
    """Summary of a `LossCurve` at one learning rate; a final loss that was not finite is None."""

    learning_rate: float
    samples_seen: int
    seconds: float
    loss: float | None


class RateSearch(Record):
    """All learning rates tried for a method; the curve with the smallest loss is chosen."""

    method: Method
    tried: tuple[RateTrial, ...]

    @property
    def seconds(self) -> float:
        """Training seconds of all curves: the cost if the rate is not known in advance."""
        return sum(each.seconds for each in self.tried)


class OptimizerComparison(Record):
    """Claim 8: the same network trained by several methods for the same time.

    Attributes:
        curves: One per method, at the best learning rate that was found for it.
        searches: One per method that needs a learning rate.
        seconds_a_curve: Time limit of each curve, those of a search included.
        parameters: Weights and biases of the network.
        filters: Of its two convolutions.
        loss_images: Every loss is measured on this many training images, the first ones.
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
    """Equation 5 compared with TensorFlow on random integer inputs and kernels.

    Attributes:
        symmetric_kernels: Cases whose kernel is unchanged by flipping.
        equal_before_flipping: Cases in which TensorFlow's operator equals equation 5 at every
            position, with the kernel unchanged.
        equal_after_flipping: The same with the kernel flipped.
        largest_difference_before_flipping: Over all cases and positions.
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
    """Claim 10: equation 5 in integers, where equality is exact, and TensorFlow's operators."""

    kind: Literal["convolution"] = "convolution"
    arithmetic: Literal["int32"] = "int32"
    checks: tuple[ConvolutionCases, ...] = Field(min_length=1)


# Claim 11

Subset = Literal["training", "training without validation", "test"]
"""All training images; training images without the validation split; test images."""
Representation = Literal[
    "gzip as published", "gzip as found", "IDX file", "uint8", "float32", "float64"
]
"""Compressed file, uncompressed file, or an array of that type."""
SIZE_UNITS = {"GB": 1e9, "GiB": 2.0**30, "Gbit": 1e9 / 8}
"""Bytes per unit; each may be meant by “gigabytes”."""


class ImageBytes(Record):
    """Size of a set of images in one representation; None if there is no such file here."""

    part: Subset
    images: int
    representation: Representation
    size_bytes: int | None


class DatasetSize(Record):
    """Claim 11: sizes of the images in each representation."""

    kind: Literal["sizes"] = "sizes"
    sizes: tuple[ImageBytes, ...] = Field(min_length=1)


# All claims

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
    """Result of an experiment for a claim, with its conditions.

    Attributes:
        schema_version: Version of this format; called `schema` in the file.
        machine_id: Random id of the machine; None if it could not be stored.
        created: UTC, ISO 8601.
        dataset: None if no images are used.
        execution: Threads, precision and device of TensorFlow.
        seconds: Requested time budget.
        took_seconds: Wall-clock seconds of the process, start and imports included.
        exclusive: Whether other benchmarks of this user were locked out.
        tensorflow: Version, as `mnist_bench`.
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
        """The content of the artifact."""
        return self.model_dump_json(by_alias=True, indent=2).encode()


def from_json(content: bytes) -> ExperimentResult:
    """Parse the content of the artifact.

    Raises:
        ValueError: The content is invalid, or its measurements belong to another claim.
    """
    result = ExperimentResult.model_validate_json(content)
    if CLAIM_OF_KIND[result.body.kind] != result.claim:
        raise ValueError(f"measurements of another claim than {result.claim}")
    return result
