"""Random shifts, rotations and zooms."""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from fakes import random_images
from scipy import ndimage

from mnist_bench.worker.augmentation import rotate_and_zoom, shift

Pixels = npt.NDArray[np.uint8]
IMAGES = random_images(2_000, seed=9).pixels


def shifted_by_hand(image: Pixels, down: int, right: int) -> Pixels:
    """One image, shifted by slicing a padded copy."""
    padded = np.pad(image, 7)
    return padded[7 - down : 35 - down, 7 - right : 35 - right]


def shifts(limit: int, *, seed: tuple[int, int] = (1, 2)) -> list[tuple[int, int]]:
    """Shift of each image, down and right."""
    after = shift(tf.constant(IMAGES), limit, tf.constant(seed)).numpy()
    assert (after.dtype, after.shape) == (np.dtype(np.uint8), IMAGES.shape)
    offsets = [(d, r) for d in range(-limit, limit + 1) for r in range(-limit, limit + 1)]
    return [
        next(
            offset for offset in offsets if np.array_equal(shifted_by_hand(image, *offset), result)
        )
        for image, result in zip(IMAGES, after, strict=True)
    ]


@pytest.mark.parametrize("limit", [1, 2])
def test_shifts_are_uniformly_distributed(limit: int) -> None:
    counts = Counter(shifts(limit))
    expected = len(IMAGES) / (2 * limit + 1) ** 2
    assert len(counts) == (2 * limit + 1) ** 2
    # Six standard deviations of a Poisson count.
    assert all(abs(n - expected) < 6 * expected**0.5 for n in counts.values())


# Rotations and zooms


def augmented(
    degrees: float, zoom: float, *, seed: tuple[int, int] = (1, 2), images: Pixels = IMAGES
) -> Pixels:
    after: Pixels = rotate_and_zoom(tf.constant(images), degrees, zoom, tf.constant(seed)).numpy()
    assert (after.dtype, after.shape) == (np.dtype(np.uint8), images.shape)
    return after


def blob(center: tuple[float, float], sides: tuple[float, float]) -> Pixels:
    """An image of a Gaussian blob with this center and extent, down and right."""
    down, right = np.mgrid[:28, :28]
    depth = ((down - center[0]) / sides[0]) ** 2 + ((right - center[1]) / sides[1]) ** 2
    image: Pixels = (250 * np.exp(-depth / 2)).astype(np.uint8)
    return image


def centers(images: Pixels) -> npt.NDArray[np.float64]:
    """Center of mass of each image, down and right, relative to the image's center."""
    return np.array([ndimage.center_of_mass(image) for image in images]) - 13.5


def extents(images: Pixels) -> npt.NDArray[np.float64]:
    """Standard deviations of each image's mass, down and right."""
    positions = np.arange(28)
    deviations = []
    for image in images.astype(float):
        for axis in (1, 0):
            weights = image.sum(axis=axis)
            mean = np.average(positions, weights=weights)
            deviations.append(np.average((positions - mean) ** 2, weights=weights) ** 0.5)
    return np.array(deviations).reshape(-1, 2)


def test_rotation_angles_are_uniform_up_to_the_limit() -> None:
    right_of_center = np.stack([blob((13.5, 20.5), (1.5, 1.5))] * 2_000)
    rotated = centers(augmented(30, 0, images=right_of_center))
    np.testing.assert_allclose(np.hypot(*rotated.T), 7, atol=0.1)
    angles = np.degrees(np.arctan2(rotated[:, 0], rotated[:, 1]))
    assert -30.5 < angles.min() < -29
    assert 29 < angles.max() < 30.5
    assert abs(angles.mean()) < 2  # the standard error of a uniform distribution's mean is 0.4
    assert angles.std() == pytest.approx(30 / 3**0.5, rel=0.05)


def test_sides_are_zoomed_independently_up_to_the_limit() -> None:
    image = blob((13.5, 13.5), (3, 4))
    after = augmented(0, 0.2, images=np.stack([image] * 2_000))
    np.testing.assert_allclose(centers(after), 0, atol=0.05)
    down, right = (extents(after) / extents(image[np.newaxis])).T
    for share in (down, right):
        assert share.min() == pytest.approx(0.8, abs=0.02)
        assert share.max() == pytest.approx(1.2, abs=0.02)
    assert abs(np.corrcoef(down, right)[0, 1]) < 0.1


def test_only_rounding_without_changes_and_background_beyond_the_edge() -> None:
    assert np.abs(augmented(0, 0).astype(int) - IMAGES).max() <= 1
    after = augmented(45, 0, images=np.full((500, 28, 28), 255, np.uint8))
    assert after[:, 14, 14].min() >= 254
    assert after[:, 0, 0].min() == 0


def test_changes_depend_only_on_the_seed() -> None:
    once, shifted = augmented(20, 0.1), shifts(1)
    assert np.array_equal(once, augmented(20, 0.1))
    assert shifted == shifts(1)
    for seed in ((1, 3), (2, 2)):
        assert not np.array_equal(once, augmented(20, 0.1, seed=seed))
        assert shifted != shifts(1, seed=seed)


def test_rotations_do_not_depend_on_shifts() -> None:
    right_of_center = np.stack([blob((13.5, 20.5), (1.5, 1.5))] * 2_000)
    downward = centers(augmented(30, 0, images=right_of_center))[:, 0]
    for direction in np.array(shifts(2)).T:
        assert abs(np.corrcoef(downward, direction)[0, 1]) < 0.1
