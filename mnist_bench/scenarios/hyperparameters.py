"""What may be chosen of a model and its training; which type of it, the model's name says."""

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
"""The second convolution sees 14 pixels a side."""
_MAX_SHIFT_PIXELS = 7
"""A quarter of an image's side."""
_MAX_ROTATION_DEGREES = 45
"""What a 6 is turned to by twice as much, and more, is no 6."""
_MAX_ZOOM_SHARE = 0.5
_MAX_REGULARISATION = 1e6
_MAX_ITERATIONS = 100_000
_MAX_NEIGHBOURS = 1_000


class ModelHyperparameters(Record):
    """What those of every model have in common."""

    always_named: ClassVar[tuple[str, ...]] = ()
    """Named in words even where they are the defaults."""
    images_name: ClassVar[str]
    """The hyperparameter that says how many images one step takes."""
    is_fitted_at_once: ClassVar[bool] = False
    """Whether one step is the whole training: a `fit` of a method that knows no steps."""

    @property
    def images_per_step(self) -> int:
        """Training images of one step."""
        images: int = getattr(self, self.images_name)
        return images

    @property
    def rows_share_steps(self) -> bool:
        """Whether a short training is the beginning of a long one."""
        return True

    @property
    def in_words(self) -> str:
        """What is always named, and whatever else is not the default."""
        return self._told(self.always_named)

    @property
    def not_default(self) -> str:
        """Whatever is not the default; the paper's network has the paper's by default."""
        return self._told(())

    def _told(self, always: tuple[str, ...]) -> str:
        defaults = type(self)()
        return ", ".join(
            f"{name} {value}"
            for name, value in self
            if name in always or value != getattr(defaults, name)
        )


class NetworkHyperparameters(ModelHyperparameters):
    """What may be chosen of the training of every network.

    Attributes:
        learning_rate: The optimizer's step size; of a schedule, its largest.
        batch_size: Images in one step.
        dropout_rate: Share of the last hidden layer's outputs dropped in training.
        optimizer: `adam`; or `momentum`, gradient descent with Nesterov's momentum of 0.9.
        schedule: Of the learning rate over the training: `constant`; `one-cycle`, up from a
            25th and down to nothing; `cosine`, down to nothing.
        label_smoothing: Share of a label that is spread evenly over all ten digits.
        shift_pixels: In training each image is shifted by up to so many pixels each way.
        rotation_degrees: In training each image is turned by up to so many degrees each way.
        zoom_share: In training each image is made wider or narrower, and taller or shorter, by up
            to this share of itself.
        average_decay: What is scored is an average of the weights of all steps, in which a step
            weighs this much of the next; 0 scores the weights as they are.
    """

    always_named: ClassVar[tuple[str, ...]] = ("learning_rate", "batch_size", "dropout_rate")
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
    def rows_share_steps(self) -> bool:
        """Whether a short training is the beginning of a long one: not where a schedule ends."""
        return self.schedule == "constant"


class PaperCnnHyperparameters(NetworkHyperparameters):
    """What may be chosen of the paper's network; the defaults are the paper's.

    Attributes:
        dropout_rate: Share of the dense layer's outputs dropped in training.
        conv1_filters: Outputs of the first convolution.
        conv1_kernel_size: Its kernel's side, in pixels.
        conv2_filters: Outputs of the second convolution.
        conv2_kernel_size: Its kernel's side, in pixels of half the image's.
        dense_units: Outputs of the dense layer.
        batch_normalization: Whether what leaves the convolutions' pools and the dense layer is
            normalised, a channel or unit at a time, before bias and ReLU.
    """

    conv1_filters: int = Field(default=32, ge=1, le=_MAX_FILTERS)
    conv1_kernel_size: int = Field(default=5, ge=1, le=_MAX_KERNEL_SIZE)
    conv2_filters: int = Field(default=64, ge=1, le=_MAX_FILTERS)
    conv2_kernel_size: int = Field(default=5, ge=1, le=_MAX_KERNEL_SIZE)
    dense_units: int = Field(default=1_024, ge=1, le=_MAX_UNITS)
    batch_normalization: bool = False


class FullyConnectedHyperparameters(NetworkHyperparameters):
    """What may be chosen of a network of dense layers; trained as the paper's by default.

    Attributes:
        dropout_rate: Share of every hidden layer's outputs dropped in training.
        hidden_layers: Dense layers before the one of the ten outputs.
        hidden_units: Outputs of each of them.
    """

    always_named: ClassVar[tuple[str, ...]] = (
        *NetworkHyperparameters.always_named,
        *("hidden_layers", "hidden_units"),
    )

    hidden_layers: int = Field(default=2, ge=1, le=_MAX_HIDDEN_LAYERS)
    hidden_units: int = Field(default=1_024, ge=1, le=_MAX_UNITS)


class Lenet5Hyperparameters(NetworkHyperparameters):
    """What may be chosen of LeNet-5's training; its sizes are fixed.

    Attributes:
        dropout_rate: Share of the 84 units' outputs dropped in training; LeNet-5 itself has none.
    """

    dropout_rate: float = Field(default=0.0, ge=0, lt=1)


class FittedHyperparameters(ModelHyperparameters):
    """What may be chosen of every method that is fitted in one step.

    Attributes:
        train_images: Images that it is fitted to; where they are fewer than there are, the seed
            draws them. With all of them, every seed gives the same.
    """

    images_name: ClassVar[str] = "train_images"
    is_fitted_at_once: ClassVar[bool] = True

    train_images: int = Field(default=MAX_BATCH_SIZE, ge=10, le=MAX_BATCH_SIZE)


class SvmHyperparameters(FittedHyperparameters):
    """What may be chosen of a support vector machine with an RBF kernel.

    Attributes:
        C: What an image on the wrong side costs, against a wide margin.
        gamma: Of the kernel exp(-gamma d²), where d is the distance of two images with pixels in
            [0, 1].
    """

    always_named: ClassVar[tuple[str, ...]] = ("train_images", "C", "gamma")

    C: float = Field(default=5.0, gt=0, le=_MAX_REGULARISATION)
    gamma: float = Field(default=0.03, gt=0, le=1_000)


class LogisticHyperparameters(FittedHyperparameters):
    """What may be chosen of a multinomial logistic regression.

    Attributes:
        C: Inverse of how strongly the squares of its weights are held down.
        max_iterations: Iterations of L-BFGS after which it ends, converged or not.
    """

    always_named: ClassVar[tuple[str, ...]] = ("train_images", "C", "max_iterations")

    C: float = Field(default=1.0, gt=0, le=_MAX_REGULARISATION)
    max_iterations: int = Field(default=100, ge=1, le=_MAX_ITERATIONS)


class NeighboursHyperparameters(FittedHyperparameters):
    """What may be chosen of k-nearest-neighbours.

    Attributes:
        neighbours: k: of so many nearest images, by Euclidean distance, the labels are counted.
    """

    always_named: ClassVar[tuple[str, ...]] = ("train_images", "neighbours")

    neighbours: int = Field(default=3, ge=1, le=_MAX_NEIGHBOURS)

    @model_validator(mode="after")
    def _enough_images(self) -> Self:
        if self.neighbours > self.train_images:
            raise ValueError(
                f"{self.neighbours} neighbours can't be found among {self.train_images} images"
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
"""Model name to the type of its hyperparameters."""


def _of_its_model(value: Any, info: ValidationInfo) -> Any:
    """The model's own type, made of what a record says beside its `model`.

    The fields of two models may be the same; the record's model tells which is meant.
    """
    name = info.data.get("model")
    if name is None:  # the model's own fault is told already
        return PaperCnnHyperparameters()
    of = HYPERPARAMETERS.get(name)
    if of is None:
        raise ValueError(f"no model is called {name!r:.80}")
    return of.model_validate(value)


Hyperparameters = Annotated[
    AnyNetworkHyperparameters | AnyFittedHyperparameters, BeforeValidator(_of_its_model)
]
"""Those of any model, as a field of a record that names its `model` in a field above."""


def defaults_of(data: dict[str, Any]) -> AnyNetworkHyperparameters | AnyFittedHyperparameters:
    """A model's own, where a record names nothing but the model."""
    return HYPERPARAMETERS[data["model"]]()
