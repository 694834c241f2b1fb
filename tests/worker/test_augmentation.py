"""Shifted, turned and zoomed images."""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from fakes import random_images
from scipy import ndimage

from mnist_bench.worker.augmentation import shifted, turned_and_zoomed

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


# Turned and zoomed


def changed(
    degrees: float, zoom: float, *, seed: tuple[int, int] = (1, 2), images: Pixels = IMAGES
) -> Pixels:
    after: Pixels = turned_and_zoomed(tf.constant(images), degrees, zoom, tf.constant(seed)).numpy()
    assert (after.dtype, after.shape) == (np.dtype(np.uint8), images.shape)
    return after


def blot(centre: tuple[float, float], sides: tuple[float, float]) -> Pixels:
    """An image of a soft blot: its centre and its extent, down and right."""
    down, right = np.mgrid[:28, :28]
    depth = ((down - centre[0]) / sides[0]) ** 2 + ((right - centre[1]) / sides[1]) ** 2
    drawn: Pixels = (250 * np.exp(-depth / 2)).astype(np.uint8)
    return drawn


def centres(images: Pixels) -> npt.NDArray[np.float64]:
    """Of each image's darkness, down and right, from the middle of the image."""
    return np.array([ndimage.center_of_mass(image) for image in images]) - 13.5


def extents(images: Pixels) -> npt.NDArray[np.float64]:
    """Standard deviations of each image's darkness, down and right."""
    places = np.arange(28)
    told = []
    for image in images.astype(float):
        for axis in (1, 0):
            weights = image.sum(axis=axis)
            mean = np.average(places, weights=weights)
            told.append(np.average((places - mean) ** 2, weights=weights) ** 0.5)
    return np.array(told).reshape(-1, 2)


def test_images_are_turned_about_their_centre_by_any_angle_up_to_the_largest() -> None:
    right_of_it = np.stack([blot((13.5, 20.5), (1.5, 1.5))] * 2_000)
    turned = centres(changed(30, 0, images=right_of_it))
    np.testing.assert_allclose(np.hypot(*turned.T), 7, atol=0.1)
    angles = np.degrees(np.arctan2(turned[:, 0], turned[:, 1]))
    assert -30.5 < angles.min() < -29
    assert 29 < angles.max() < 30.5
    assert abs(angles.mean()) < 2  # of a uniform one the mean's deviation is 0.4
    assert angles.std() == pytest.approx(30 / 3**0.5, rel=0.05)


def test_each_side_is_zoomed_for_itself_by_up_to_the_largest_share() -> None:
    drawn = blot((13.5, 13.5), (3, 4))
    after = changed(0, 0.2, images=np.stack([drawn] * 2_000))
    np.testing.assert_allclose(centres(after), 0, atol=0.05)
    down, right = (extents(after) / extents(drawn[np.newaxis])).T
    for share in (down, right):
        assert share.min() == pytest.approx(0.8, abs=0.02)
        assert share.max() == pytest.approx(1.2, abs=0.02)
    assert abs(np.corrcoef(down, right)[0, 1]) < 0.1


def test_nothing_turned_nor_zoomed_is_the_same_but_for_rounding() -> None:
    difference = np.abs(changed(0, 0).astype(int) - IMAGES)
    assert difference.max() <= 1


def test_paper_comes_in_from_beyond_the_edge() -> None:
    dark = np.full((500, 28, 28), 255, np.uint8)
    after = changed(45, 0, images=dark)
    assert after[:, 14, 14].min() >= 254
    assert after[:, 0, 0].min() == 0


def test_turns_depend_on_the_seed_alone_and_tell_nothing_of_shifts() -> None:
    once = changed(20, 0.1)
    assert np.array_equal(once, changed(20, 0.1))
    assert not np.array_equal(once, changed(20, 0.1, seed=(1, 3)))
    assert not np.array_equal(once, changed(20, 0.1, seed=(2, 2)))
    right_of_it = np.stack([blot((13.5, 20.5), (1.5, 1.5))] * 2_000)
    downward = centres(changed(30, 0, images=right_of_it))[:, 0]
    for way in np.array(shifts(2)).T:
        assert abs(np.corrcoef(downward, way)[0, 1]) < 0.1
