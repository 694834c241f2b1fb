"""Shifted images."""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from stand_ins import random_images

from mnist_bench.augmentation import shifted

Pixels = npt.NDArray[np.uint8]
IMAGES = random_images(2_000, seed=9).pixels


def moved(image: Pixels, down: int, right: int) -> Pixels:
    """One image, shifted by hand; paper moves in."""
    padded = np.pad(image, 7)
    return padded[7 - down : 35 - down, 7 - right : 35 - right]


def shifts(reach: int, *, seed: tuple[int, int] = (1, 2)) -> list[tuple[int, int]]:
    """How far each image was shifted, down and right."""
    after = shifted(tf.constant(IMAGES), reach, tf.constant(seed)).numpy()
    assert (after.dtype, after.shape) == (np.dtype(np.uint8), IMAGES.shape)
    ways = [(d, r) for d in range(-reach, reach + 1) for r in range(-reach, reach + 1)]
    return [
        next(way for way in ways if np.array_equal(moved(image, *way), result))
        for image, result in zip(IMAGES, after, strict=True)
    ]


@pytest.mark.parametrize("reach", [1, 2])
def test_every_shift_is_as_likely(reach: int) -> None:
    counts = Counter(shifts(reach))
    expected = len(IMAGES) / (2 * reach + 1) ** 2
    assert len(counts) == (2 * reach + 1) ** 2
    # Six standard deviations of a Poisson count.
    assert all(abs(n - expected) < 6 * expected**0.5 for n in counts.values())


def test_shifts_depend_on_the_seed_alone() -> None:
    once = shifts(1)
    assert once == shifts(1)
    assert once != shifts(1, seed=(1, 3))
    assert once != shifts(1, seed=(2, 2))
