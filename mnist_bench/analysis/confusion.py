"""Which digits are taken for which, and which images are read wrongly most often. Pure."""

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
    """An image that is read wrongly.

    Attributes:
        image: Its place in the test images, from 0 on.
        label: The digit that it is.
        taken_for: The digit that it is most often taken for.
        wrong: How many trainings read it wrongly.
        n: Of how many.
        confidence: Mean probability that these gave to their wrong digit; None where the method
            gives none.
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
    """How one digit is read.

    Attributes:
        digit: The digit.
        images: Test images of it.
        n: Trainings.
        right: How often it was read rightly, over all trainings.
        taken_for: The digit that it is most often taken for; None where it never was for another.
        taken_for_count: How often that was.
    """

    digit: int
    images: int
    n: int
    right: int
    taken_for: int | None
    taken_for_count: int

    @property
    def share_right(self) -> float | None:
        """Of all readings; None without any."""
        readings = self.images * self.n
        return self.right / readings if readings else None


@dataclass(frozen=True, eq=False)
class Confusion:
    """All readings of the test images by some trainings.

    Attributes:
        counts: By the digit that it is, then by the digit that it was taken for.
        n: Trainings.
        missed: The images that most of them read wrongly, the worst first.
    """

    counts: tuple[tuple[int, ...], ...]
    n: int
    missed: tuple[Missed, ...]

    @property
    def digits(self) -> tuple[DigitLine, ...]:
        """A line a digit."""
        return tuple(self._line(digit) for digit in range(CLASSES))

    @property
    def errors(self) -> int:
        """Wrong readings."""
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
    """What some trainings took the test images for.

    Args:
        trainings: Their predictions, of all test images in their order.
        images: The test images.

    Returns:
        None where no training kept its predictions, or one of other images.
    """
    import numpy as np

    if not trainings or any(len(each.label) != len(images.labels) for each in trainings):
        return None
    counts = np.zeros((CLASSES, CLASSES), np.int64)
    for each in trainings:
        np.add.at(counts, (images.labels, each.label), 1)
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
    given = np.where(is_wrong, probabilities, 0.0)
    confidence = given.sum(axis=0) / np.maximum(wrong, 1)  # NaN where the method gives none
    worst = np.lexsort((-np.nan_to_num(confidence), -wrong))[:_MOST_MISSED]
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
        for index in worst
        if wrong[index]
    )
