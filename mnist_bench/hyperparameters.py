"""What may be chosen of a network and its training."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mnist_bench.limits import MAX_BATCH_SIZE
from mnist_bench.record import Record

Optimizer = Literal["adam", "momentum"]
Schedule = Literal["constant", "one-cycle", "cosine"]

_MAX_FILTERS = 512
_MAX_UNITS = 8_192
_MAX_KERNEL_SIZE = 13
"""The second convolution sees 14 pixels a side."""
_MAX_SHIFT_PIXELS = 7
"""A quarter of an image's side."""
_MAX_ROTATION_DEGREES = 45
"""What a 6 is turned to by twice as much, and more, is no 6."""
_MAX_ZOOM_SHARE = 0.5


_ALWAYS_NAMED = ("learning_rate", "batch_size", "dropout_rate")


class PaperCnnHyperparameters(Record):
    """What may be chosen of the paper's network; the defaults are the paper's.

    Attributes:
        learning_rate: The optimizer's step size; of a schedule, its largest.
        batch_size: Images in one step.
        dropout_rate: Share of the dense layer's outputs dropped in training.
        optimizer: `adam`; or `momentum`, gradient descent with Nesterov's momentum of 0.9.
        schedule: Of the learning rate over the training: `constant`; `one-cycle`, up from a
            25th and down to nothing; `cosine`, down to nothing.
        conv1_filters: Outputs of the first convolution.
        conv1_kernel_size: Its kernel's side, in pixels.
        conv2_filters: Outputs of the second convolution.
        conv2_kernel_size: Its kernel's side, in pixels of half the image's.
        dense_units: Outputs of the dense layer.
        batch_normalization: Whether what leaves the convolutions' pools and the dense layer is
            normalised, a channel or unit at a time, before bias and ReLU.
        label_smoothing: Share of a label that is spread evenly over all ten digits.
        shift_pixels: In training each image is shifted by up to so many pixels each way.
        rotation_degrees: In training each image is turned by up to so many degrees each way.
        zoom_share: In training each image is made wider or narrower, and taller or shorter, by up
            to this share of itself.
        average_decay: What is scored is an average of the weights of all steps, in which a step
            weighs this much of the next; 0 scores the weights as they are.
    """

    learning_rate: float = Field(default=0.001, gt=0, le=10)
    batch_size: int = Field(default=50, ge=1, le=MAX_BATCH_SIZE)
    dropout_rate: float = Field(default=0.5, ge=0, lt=1)
    optimizer: Optimizer = "adam"
    schedule: Schedule = "constant"
    conv1_filters: int = Field(default=32, ge=1, le=_MAX_FILTERS)
    conv1_kernel_size: int = Field(default=5, ge=1, le=_MAX_KERNEL_SIZE)
    conv2_filters: int = Field(default=64, ge=1, le=_MAX_FILTERS)
    conv2_kernel_size: int = Field(default=5, ge=1, le=_MAX_KERNEL_SIZE)
    dense_units: int = Field(default=1_024, ge=1, le=_MAX_UNITS)
    batch_normalization: bool = False
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    shift_pixels: int = Field(default=0, ge=0, le=_MAX_SHIFT_PIXELS)
    rotation_degrees: float = Field(default=0.0, ge=0, le=_MAX_ROTATION_DEGREES)
    zoom_share: float = Field(default=0.0, ge=0, le=_MAX_ZOOM_SHARE)
    average_decay: float = Field(default=0.0, ge=0, lt=1)

    @property
    def in_words(self) -> str:
        """What the paper's program had to choose too, and whatever else is not the paper's."""
        papers = PaperCnnHyperparameters()
        return ", ".join(
            f"{name} {value}"
            for name, value in self
            if name in _ALWAYS_NAMED or value != getattr(papers, name)
        )

    @property
    def not_the_papers(self) -> str:
        """Whatever is not the paper's."""
        papers = PaperCnnHyperparameters()
        other = ((name, value) for name, value in self if value != getattr(papers, name))
        return ", ".join(f"{name} {value}" for name, value in other)

    @property
    def rows_share_steps(self) -> bool:
        """Whether a short training is the beginning of a long one: not where a schedule ends."""
        return self.schedule == "constant"


Hyperparameters = PaperCnnHyperparameters
"""Union of every model's hyperparameters; which one a scenario holds, its `model` says."""
HYPERPARAMETERS: dict[str, type[Hyperparameters]] = {"paper-cnn": PaperCnnHyperparameters}
"""Model name to the type of its hyperparameters."""
