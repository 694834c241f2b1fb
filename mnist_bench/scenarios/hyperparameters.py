"""Hyperparameters of every model, with defaults and ranges."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, ValidationInfo, model_validator

from mnist_bench.core.limits import MAX_BATCH_SIZE
from mnist_bench.core.records import Record

Model = Literal[
    "paper-cnn",
    "fully-connected",
    "lenet-5",
    "svm-rbf",
    "logistic-regression",
    "k-nearest-neighbours",
]
Optimizer = Literal["adam", "momentum"]
Schedule = Literal["constant", "one-cycle", "cosine"]

_MAX_FILTERS = 512
_MAX_UNITS = 8_192
_MAX_HIDDEN_LAYERS = 16
_MAX_KERNEL_SIZE = 13
"""The second convolution's input has 14 pixels per side."""
_MAX_SHIFT_PIXELS = 7
"""A quarter of an image's side."""
_MAX_ROTATION_DEGREES = 45
"""A 6 that is rotated by much more is no longer a 6."""
_MAX_ZOOM_SHARE = 0.5
_MAX_REGULARISATION = 1e6
_MAX_ITERATIONS = 100_000
_MAX_NEIGHBOURS = 1_000


class ModelHyperparameters(Record):
    """Base class of the hyperparameters of every model."""

    always_described: ClassVar[tuple[str, ...]] = ()
    """Hyperparameters that `description` contains even if they have their default value."""
    images_name: ClassVar[str]
    """Name of the hyperparameter that holds the number of images per step."""
    is_fitted_at_once: ClassVar[bool] = False
    """Whether one step is the whole training, as for scikit-learn's `fit`."""

    @property
    def images_per_step(self) -> int:
        """Training images per step."""
        images: int = getattr(self, self.images_name)
        return images

    @property
    def step_counts_share_training(self) -> bool:
        """Whether a shorter training is an exact prefix of a longer one."""
        return True

    @property
    def description(self) -> str:
        """The `always_described` hyperparameters, and those that differ from their defaults."""
        return self._describe(self.always_described)

    @property
    def not_default(self) -> str:
        """The hyperparameters that differ from their defaults, which are the paper's."""
        return self._describe(())

    def _describe(self, always: tuple[str, ...]) -> str:
        defaults = type(self)()
        return ", ".join(
            f"{name} {value}"
            for name, value in self
            if name in always or value != getattr(defaults, name)
        )


class NetworkHyperparameters(ModelHyperparameters):
    """Hyperparameters of the training of every network.

    Attributes:
        learning_rate: The optimizer's step size; with a schedule, the largest.
        batch_size: Images per step.
        dropout_rate: Share of the last hidden layer's outputs dropped in training.
        optimizer: `adam`, or `momentum`: gradient descent with Nesterov momentum of 0.9.
        schedule: Learning rate over the training: `constant`; `one-cycle`, which rises from a 25th
            and falls to 0; `cosine`, which falls to 0.
        label_smoothing: Share of a label that is distributed evenly over all ten digits.
        shift_pixels: Largest random shift of a training image in each direction, in pixels.
        rotation_degrees: Largest random rotation of a training image in each direction.
        zoom_share: Largest random change of a training image's width and height, as a share of
            each.
        average_decay: Decay of the exponential moving average of the weights that is evaluated;
            0 evaluates the current weights.
    """

    always_described: ClassVar[tuple[str, ...]] = ("learning_rate", "batch_size", "dropout_rate")
    images_name: ClassVar[str] = "batch_size"

    learning_rate: float = Field(default=0.001, gt=0, le=10)
    batch_size: int = Field(default=50, ge=1, le=MAX_BATCH_SIZE)
    dropout_rate: float = Field(default=0.5, ge=0, lt=1)
    optimizer: Optimizer = "adam"
    schedule: Schedule = "constant"
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    shift_pixels: int = Field(default=0, ge=0, le=_MAX_SHIFT_PIXELS)
    rotation_degrees: float = Field(default=0.0, ge=0, le=_MAX_ROTATION_DEGREES)
    zoom_share: float = Field(default=0.0, ge=0, le=_MAX_ZOOM_SHARE)
    average_decay: float = Field(default=0.0, ge=0, lt=1)

    @property
    def step_counts_share_training(self) -> bool:
        """Whether a shorter training is a prefix of a longer one: only with a constant rate."""
        return self.schedule == "constant"


class PaperCnnHyperparameters(NetworkHyperparameters):
    """Hyperparameters of the paper's network; the defaults are the paper's.

    Attributes:
        dropout_rate: Share of the dense layer's outputs dropped in training.
        conv1_filters: Filters of the first convolution.
        conv1_kernel_size: Side of its kernel, in pixels.
        conv2_filters: Filters of the second convolution.
        conv2_kernel_size: Side of its kernel, in pixels of the pooled image.
        dense_units: Outputs of the dense layer.
        batch_normalization: Whether the outputs of both pooling layers and of the dense layer are
            batch-normalized, before bias and ReLU.
    """

    conv1_filters: int = Field(default=32, ge=1, le=_MAX_FILTERS)
    conv1_kernel_size: int = Field(default=5, ge=1, le=_MAX_KERNEL_SIZE)
    conv2_filters: int = Field(default=64, ge=1, le=_MAX_FILTERS)
    conv2_kernel_size: int = Field(default=5, ge=1, le=_MAX_KERNEL_SIZE)
    dense_units: int = Field(default=1_024, ge=1, le=_MAX_UNITS)
    batch_normalization: bool = False


class FullyConnectedHyperparameters(NetworkHyperparameters):
    """Hyperparameters of a network of dense layers; trained like the paper's by default.

    Attributes:
        dropout_rate: Share of every hidden layer's outputs dropped in training.
        hidden_layers: Number of dense layers before the output layer.
        hidden_units: Outputs of each hidden layer.
    """

    always_described: ClassVar[tuple[str, ...]] = (
        *NetworkHyperparameters.always_described,
        *("hidden_layers", "hidden_units"),
    )

    hidden_layers: int = Field(default=2, ge=1, le=_MAX_HIDDEN_LAYERS)
    hidden_units: int = Field(default=1_024, ge=1, le=_MAX_UNITS)


class Lenet5Hyperparameters(NetworkHyperparameters):
    """Hyperparameters of LeNet-5's training; its sizes are fixed.

    Attributes:
        dropout_rate: Share of the 84 units' outputs dropped in training; none in the original.
    """

    dropout_rate: float = Field(default=0.0, ge=0, lt=1)


class FittedHyperparameters(ModelHyperparameters):
    """Hyperparameters of every method that is fitted in one step.

    Attributes:
        train_images: Images that it is fitted to. If fewer than available, the seed selects them;
            with all of them, every seed gives the same result.
    """

    images_name: ClassVar[str] = "train_images"
    is_fitted_at_once: ClassVar[bool] = True

    train_images: int = Field(default=MAX_BATCH_SIZE, ge=10, le=MAX_BATCH_SIZE)


class SvmHyperparameters(FittedHyperparameters):
    """Hyperparameters of a support vector machine with an RBF kernel.

    Attributes:
        C: Penalty of misclassified images; inverse of the regularization strength.
        gamma: Coefficient of the kernel exp(-gamma d²), where d is the distance of two images with
            pixels in [0, 1].
    """

    always_described: ClassVar[tuple[str, ...]] = ("train_images", "C", "gamma")

    C: float = Field(default=5.0, gt=0, le=_MAX_REGULARISATION)
    gamma: float = Field(default=0.03, gt=0, le=1_000)


class LogisticHyperparameters(FittedHyperparameters):
    """Hyperparameters of a multinomial logistic regression.

    Attributes:
        C: Inverse of the strength of L2 regularization.
        max_iterations: Limit of L-BFGS iterations, converged or not.
    """

    always_described: ClassVar[tuple[str, ...]] = ("train_images", "C", "max_iterations")

    C: float = Field(default=1.0, gt=0, le=_MAX_REGULARISATION)
    max_iterations: int = Field(default=100, ge=1, le=_MAX_ITERATIONS)


class NeighboursHyperparameters(FittedHyperparameters):
    """Hyperparameters of k-nearest neighbours.

    Attributes:
        neighbours: k, the number of nearest images by Euclidean distance that vote.
    """

    always_described: ClassVar[tuple[str, ...]] = ("train_images", "neighbours")

    neighbours: int = Field(default=3, ge=1, le=_MAX_NEIGHBOURS)

    @model_validator(mode="after")
    def _enough_images(self) -> Self:
        if self.neighbours > self.train_images:
            raise ValueError(
                f"{self.neighbours} neighbours exceed the {self.train_images} training images"
            )
        return self


AnyNetworkHyperparameters = (
    PaperCnnHyperparameters | FullyConnectedHyperparameters | Lenet5Hyperparameters
)
AnyFittedHyperparameters = SvmHyperparameters | LogisticHyperparameters | NeighboursHyperparameters
HYPERPARAMETERS: dict[str, type[AnyNetworkHyperparameters | AnyFittedHyperparameters]] = {
    "paper-cnn": PaperCnnHyperparameters,
    "fully-connected": FullyConnectedHyperparameters,
    "lenet-5": Lenet5Hyperparameters,
    "svm-rbf": SvmHyperparameters,
    "logistic-regression": LogisticHyperparameters,
    "k-nearest-neighbours": NeighboursHyperparameters,
}
"""Type of the hyperparameters by model name."""


def _parse_for_model(value: Any, info: ValidationInfo) -> Any:
    """Validate as the type that belongs to the record's `model`.

    Two models may have the same fields, so the fields alone do not identify the type.
    """
    name = info.data.get("model")
    if name is None:  # the invalid model is reported already
        return PaperCnnHyperparameters()
    model_type = HYPERPARAMETERS.get(name)
    if model_type is None:
        raise ValueError(f"there is no model {name!r:.80}")
    return model_type.model_validate(value)


Hyperparameters = Annotated[
    AnyNetworkHyperparameters | AnyFittedHyperparameters, BeforeValidator(_parse_for_model)
]
"""Hyperparameters of any model, as a field of a record that declares `model` before it."""


def default_hyperparameters(
    data: dict[str, Any],
) -> AnyNetworkHyperparameters | AnyFittedHyperparameters:
    """Default hyperparameters for a record that has only its `model` set."""
    return HYPERPARAMETERS[data["model"]]()
