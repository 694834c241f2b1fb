"""Confusion matrix of the test images, and the images misclassified most often."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnist_bench.data.dataset import Images
from mnist_bench.data.idx import CLASSES
from mnist_bench.results.predictions import Predictions

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_MOST_MISSED = 12


@dataclass(frozen=True, eq=False)
class Missed:
    """A misclassified test image, of n trainings.

    Attributes:
        image: Index in the test images, from 0.
        taken_for: Most frequent wrong prediction.
        wrong: Number of trainings that misclassify it.
        confidence: Mean probability of the wrong predictions; None if the model gives none.
        pixels: uint8 (28, 28).
    """

    image: int
    label: int
    taken_for: int
    wrong: int
    n: int
    confidence: float | None
    pixels: npt.NDArray[np.uint8]


@dataclass(frozen=True)
class DigitLine:
    """Predictions of n trainings for the images of one digit.

    Attributes:
        right: Correct predictions, over all trainings.
        taken_for: Most frequent wrong prediction; None if there is none.
        taken_for_count: Number of predictions of `taken_for`.
    """

    digit: int
    images: int
    n: int
    right: int
    taken_for: int | None
    taken_for_count: int

    @property
    def share_right(self) -> float | None:
        """Share of correct predictions; None without predictions."""
        predictions = self.images * self.n
        return self.right / predictions if predictions else None


@dataclass(frozen=True, eq=False)
class Confusion:
    """Confusion matrix, summed over n trainings.

    Attributes:
        counts: Predictions by true digit (row), then predicted digit (column).
        missed: Images misclassified by the most trainings, worst first.
    """

    counts: tuple[tuple[int, ...], ...]
    n: int
    missed: tuple[Missed, ...]

    @property
    def digits(self) -> tuple[DigitLine, ...]:
        """One entry per digit."""
        return tuple(self._line(digit) for digit in range(CLASSES))

    @property
    def errors(self) -> int:
        """Number of wrong predictions."""
        return sum(sum(row) - row[digit] for digit, row in enumerate(self.counts))

    def _line(self, digit: int) -> DigitLine:
        row = self.counts[digit]
        others = [(count, -other) for other, count in enumerate(row) if other != digit]
        count, negative = max(others)
        return DigitLine(
            digit=digit,
            images=sum(row) // self.n,
            n=self.n,
            right=row[digit],
            taken_for=-negative if count else None,
            taken_for_count=count,
        )


def confusion_of(trainings: Sequence[Predictions], images: Images) -> Confusion | None:
    """Confusion matrix of some trainings.

    Args:
        trainings: Predictions for all test images, in the images' order.
        images: The test images.

    Returns:
        None without predictions, or if their number is not that of the images.
    """
    import numpy as np

    if not trainings or any(
        len(predictions.label) != len(images.labels) for predictions in trainings
    ):
        return None
    counts = np.zeros((CLASSES, CLASSES), np.int64)
    for predictions in trainings:
        np.add.at(counts, (images.labels, predictions.label), 1)
    return Confusion(
        counts=tuple(tuple(int(count) for count in row) for row in counts),
        n=len(trainings),
        missed=_missed(trainings, images),
    )


def _missed(trainings: Sequence[Predictions], images: Images) -> tuple[Missed, ...]:
    import numpy as np

    labels = np.stack([each.label for each in trainings])  # (trainings, images)
    probabilities = np.stack([each.probability for each in trainings]).astype(np.float64)
    is_wrong = labels != images.labels
    wrong = is_wrong.sum(axis=0)
    confidence_if_wrong = np.where(is_wrong, probabilities, 0.0)
    # NaN if the model gives no probabilities
    confidence = confidence_if_wrong.sum(axis=0) / np.maximum(wrong, 1)
    worst_first = np.lexsort((-np.nan_to_num(confidence), -wrong))[:_MOST_MISSED]
    return tuple(
        Missed(
            image=int(index),
            label=int(images.labels[index]),
            taken_for=int(np.bincount(labels[is_wrong[:, index], index]).argmax()),
            wrong=int(wrong[index]),
            n=len(trainings),
            confidence=None if np.isnan(confidence[index]) else float(confidence[index]),
            pixels=images.pixels[index],
        )
        for index in worst_first
        if wrong[index]
    )
