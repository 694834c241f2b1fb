"""Predictions for a split, with their accuracy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Scores:
    """Predictions for every image of a split, in the split's order.

    Attributes:
        label: Predicted digits, uint8 (n,).
        probability: Probability of the predicted digit, float16 (n,); NaN if the method has none.
        accuracy: Share of correct predictions.
    """

    label: npt.NDArray[np.uint8]
    probability: npt.NDArray[np.float16]
    accuracy: float


def scores_of(
    label: npt.NDArray[np.uint8],
    probability: npt.NDArray[np.float16],
    labels: npt.NDArray[np.uint8],
) -> Scores:
    """Score predictions against the true digits `labels`, uint8 (n,)."""
    return Scores(label, probability, np.count_nonzero(label == labels) / len(label))
