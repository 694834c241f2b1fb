"""Predictions for a split, with their accuracy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Scores:
    """Predictions for every image of a split, in the split's order."""

    label: npt.NDArray[np.uint8]
    """Predicted digits, (n,)."""
    probability: npt.NDArray[np.float16]
    """Of the predicted digit, (n,); NaN if the method has none."""
    accuracy: float


def scores_of(
    label: npt.NDArray[np.uint8],
    probability: npt.NDArray[np.float16],
    labels: npt.NDArray[np.uint8],
) -> Scores:
    """Score predictions against the true digits `labels`, uint8 (n,)."""
    return Scores(label, probability, np.count_nonzero(label == labels) / len(label))
