"""What a trained network saw in the test images. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnist_bench.data.idx import CLASSES

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a training's last state saw in each test image.

    Attributes:
        label: The digit, uint8 (n,).
        probability: Its own probability, float16 (n,); NaN where the method gives none.

    Raises:
        ValueError: They are no digits, or not as many of one as of the other.
    """

    label: npt.NDArray[np.uint8]
    probability: npt.NDArray[np.float16]

    def __post_init__(self) -> None:
        """Check them: they may come from elsewhere."""
        digits = self.label
        if digits.ndim != 1 or digits.shape != self.probability.shape or digits.dtype != "uint8":
            raise ValueError("labels and probabilities are not a pair for each image")
        if (digits >= CLASSES).any():
            raise ValueError("a label is no digit")
