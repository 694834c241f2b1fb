"""Predictions of a trained network for the test images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnist_bench.data.idx import CLASSES

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class Predictions:
    """Predictions for each test image after the last step.

    Attributes:
        label: Predicted digit, uint8 (n,).
        probability: Its probability, float16 (n,); NaN if the method gives none.

    Raises:
        ValueError: A label is not a digit, or the shapes differ.
    """

    label: npt.NDArray[np.uint8]
    probability: npt.NDArray[np.float16]

    def __post_init__(self) -> None:
        """Validate the arrays, which may come from another machine."""
        digits = self.label
        if digits.ndim != 1 or digits.shape != self.probability.shape or digits.dtype != "uint8":
            raise ValueError("labels and probabilities must be one-dimensional, of the same length")
        if (digits >= CLASSES).any():
            raise ValueError("a label is not a digit")
