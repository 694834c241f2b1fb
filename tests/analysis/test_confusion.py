"""Confusion matrix and misclassified images, counted by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mnist_bench.analysis.confusion import Confusion, confusion_of
from mnist_bench.data.dataset import Images
from mnist_bench.results.predictions import Predictions

LABELS = np.array([0, 1, 1, 9, 9], np.uint8)
IMAGES = Images(np.arange(5 * 28 * 28).reshape(5, 28, 28).astype(np.uint8), LABELS)


def predictions(*digits: int, probability: float = 0.5) -> Predictions:
    return Predictions(np.array(digits, np.uint8), np.full(len(digits), probability, np.float16))


def confusion_matrix(*trainings: Predictions) -> Confusion:
    confusion = confusion_of(trainings, IMAGES)
    assert confusion is not None
    return confusion


def test_predictions_are_counted_over_trainings() -> None:
    confusion = confusion_matrix(predictions(0, 1, 7, 9, 4), predictions(0, 1, 7, 9, 9))
    expected = np.zeros((10, 10), int)
    expected[0, 0], expected[1, 1], expected[1, 7] = 2, 2, 2
    expected[9, 9], expected[9, 4] = 3, 1
    assert np.array(confusion.counts).tolist() == expected.tolist()
    assert (confusion.n, confusion.errors) == (2, 3)


def test_digits() -> None:
    digits = confusion_matrix(predictions(0, 1, 7, 4, 4), predictions(0, 1, 1, 9, 9)).digits
    facts = [(line.images, line.right, line.share_right, line.taken_for, line.taken_for_count)
             for line in (digits[0], digits[1], digits[5], digits[9])]  # fmt: skip
    assert facts == [
        (1, 2, 1, None, 0),
        (2, 3, 0.75, 7, 1),
        (0, 0, None, None, 0),
        (2, 2, 0.5, 4, 2),
    ]


def test_missed_images_are_ordered_by_errors_then_confidence() -> None:
    missed = confusion_matrix(
        predictions(0, 1, 7, 4, 9, probability=0.5),
        predictions(3, 1, 7, 4, 9, probability=0.5),
        predictions(0, 1, 2, 4, 9, probability=0.75),
    ).missed
    assert [(each.image, each.wrong, each.taken_for) for each in missed] == [
        (2, 3, 7), (3, 3, 4), (0, 1, 3),
    ]  # fmt: skip
    assert [each.confidence for each in missed] == pytest.approx([1.75 / 3, 1.75 / 3, 0.5])
    assert (missed[0].pixels == IMAGES.pixels[2]).all()


def test_confidence_is_of_wrong_predictions_only() -> None:
    labels, probabilities = (0, 1, 7, 4, 9), np.array([0.5, 0.5, 0.875, 0.25, 0.5], np.float16)
    missed = confusion_matrix(Predictions(np.array(labels, np.uint8), probabilities)).missed
    assert [(each.image, each.confidence) for each in missed] == [(2, 0.875), (3, 0.25)]
    # A model may give no probabilities.
    silent = predictions(*labels, probability=np.nan), predictions(0, 1, 7, 9, 9)
    missed = confusion_matrix(*silent).missed
    assert [(each.image, each.wrong, each.confidence) for each in missed] == [
        (2, 2, None), (3, 1, None),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("digits", "probabilities"),
    [
        (np.array([0, 10], np.uint8), np.ones(2, np.float16)),
        (np.array([0, 1], np.uint8), np.ones(3, np.float16)),
        (np.array([0, -1]), np.ones(2, np.float16)),
        (np.array([[0, 1]], np.uint8), np.ones((1, 2), np.float16)),
    ],
    ids=["no digit", "too many", "below 0", "two axes"],
)
def test_invalid_predictions_are_rejected(digits: Any, probabilities: Any) -> None:
    with pytest.raises(ValueError, match=r"digit|length"):
        Predictions(digits, probabilities)


@pytest.mark.parametrize("trainings", [(), (predictions(0, 1),)])
def test_no_confusion_without_matching_predictions(trainings: tuple[Predictions, ...]) -> None:
    assert confusion_of(trainings, IMAGES) is None
