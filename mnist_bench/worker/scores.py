"""What a trained model says of images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Scores:
    """What the model says of every image of a split, in the split's own order.

    Attributes:
        label: The predicted digit, uint8 (n,).
        probability: Its own probability, float16 (n,); NaN where the method gives none.
        accuracy: Share of the images classified rightly.
    """

    label: npt.NDArray[np.uint8]
    probability: npt.NDArray[np.float16]
    accuracy: float


def scores_of(
    label: npt.NDArray[np.uint8],
    probability: npt.NDArray[np.float16],
    labels: npt.NDArray[np.uint8],
) -> Scores:
    """Scores of predictions, held against the digits that the images are, uint8 (n,)."""
    return Scores(label, probability, np.count_nonzero(label == labels) / len(label))
