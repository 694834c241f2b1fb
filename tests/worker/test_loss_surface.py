"""A small network's loss and gradient, against finite differences and against one another."""

from __future__ import annotations

import itertools
import math

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from fakes import random_images
from numpy.lib.stride_tricks import sliding_window_view

from mnist_bench.data.dataset import Dataset
from mnist_bench.worker.experiments import loss_surface
from mnist_bench.worker.experiments.loss_surface import LossSurface

Array = npt.NDArray[np.float64]

DATASET = Dataset(train=random_images(30, 1), validation=random_images(20, 2), test=None)
EVERY = np.arange(30, dtype=np.int32)[np.newaxis]
"""All the training images as one batch."""


def made(seed: int = 0, **changes: object) -> LossSurface:
    return LossSurface(DATASET, seed, **{"filters": (2, 3)} | changes)


def convolved(x: Array, kernel: Array, bias: Array) -> Array:
    """Every second place of each side, then ReLU: (n, 2h, 2w, c) to (n, h, w, outputs)."""
    around = np.pad(x, [(0, 0), (1, 2), (1, 2), (0, 0)])
    windows = sliding_window_view(around, (5, 5), axis=(1, 2))[:, ::2, ::2]  # (n, h, w, c, 5, 5)
    return np.maximum(np.einsum("nhwcij,ijco->nhwo", windows, kernel) + bias, 0)


def loss_by_hand(weights: Array) -> float:
    """The loss over all training images in plain NumPy, float64."""
    shapes = [(5, 5, 1, 2), (5, 5, 2, 3), (147, 10), (2,), (3,), (10,)]
    ends = np.cumsum([math.prod(shape) for shape in shapes])[:-1]
    parts = zip(np.split(weights, ends), shapes, strict=True)
    kernel1, kernel2, output, bias1, bias2, bias = (part.reshape(shape) for part, shape in parts)
    x = DATASET.train.pixels[..., np.newaxis] / 255
    x = convolved(convolved(x, kernel1, bias1), kernel2, bias2).reshape(30, -1)
    logits = x @ output + bias
    own = logits[np.arange(30), DATASET.train.labels]
    return float((np.log(np.exp(logits).sum(axis=1)) - own).mean())


def test_parameters_by_hand() -> None:
    # 5·5·1·2 + 2, 5·5·2·3 + 3, 7·7·3·10 + 10
    assert len(made().weights()) == 52 + 153 + 1_480
    assert len(LossSurface(DATASET, 0).weights()) == 156 + 1_812 + 5_890


def test_the_loss_is_that_of_plain_numpy() -> None:
    hill = made()
    assert hill.whole()[0] == pytest.approx(loss_by_hand(hill.weights()), rel=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_the_gradient_agrees_with_finite_differences(seed: int) -> None:
    hill = made(seed)
    weights, (_, gradient) = hill.weights().astype(np.float64), hill.whole()
    random = np.random.default_rng(seed)
    # A direction for each of the network's parts, so that none of them hides behind another.
    for start, end in itertools.pairwise(np.cumsum([0, 50, 150, 1_470, 2, 3, 10])):
        step = np.zeros_like(weights)
        step[start:end] = 1e-8 * random.standard_normal(end - start)
        rise = loss_by_hand(weights + step) - loss_by_hand(weights - step)
        assert rise == pytest.approx(2 * float(gradient @ step), rel=1e-4, abs=1e-14)


def test_pieces_and_parts_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, (loss, gradient) = made(), made().whole()
    monkeypatch.setattr(loss_surface, "_PIECE_IMAGES", 7)  # the last piece is a short one
    pieces = made(parts=2)
    assert pieces.whole()[0] == pytest.approx(loss, rel=1e-5)
    np.testing.assert_allclose(pieces.whole()[1], gradient, rtol=1e-3, atol=1e-6)
    assert pieces.scored() == pytest.approx(whole.scored(), rel=1e-5)


def test_one_batch_of_all_images_is_a_full_batch() -> None:
    hill = made()
    before, (_, gradient) = hill.weights(), hill.whole()
    hill.descend(EVERY, 0.25)
    np.testing.assert_allclose(hill.weights(), before - 0.25 * gradient, rtol=1e-4, atol=1e-6)


def test_single_samples_follow_one_another() -> None:
    hill, by_hand = made(), made()
    hill.descend(np.array([[4], [9], [4]], np.int32), 0.1)
    for image in (4, 9, 4):
        one = Dataset(
            train=type(DATASET.train)(
                DATASET.train.pixels[image : image + 1], DATASET.train.labels[image : image + 1]
            ),
            validation=DATASET.validation,
            test=None,
        )
        there = LossSurface(one, 0, filters=(2, 3))
        there.take(by_hand.weights())
        by_hand.take(by_hand.weights() - np.float32(0.1) * there.whole()[1])
    np.testing.assert_allclose(hill.weights(), by_hand.weights(), rtol=1e-4, atol=1e-6)


def test_no_updates_change_nothing() -> None:
    hill = made()
    before = hill.weights()
    hill.descend(np.zeros((0, 5), np.int32), 0.1)
    np.testing.assert_array_equal(hill.weights(), before)


def test_what_is_put_in_place_comes_back() -> None:
    hill = made()
    weights = np.random.default_rng(0).standard_normal(len(hill.weights())).astype(np.float32)
    hill.take(weights)
    np.testing.assert_array_equal(hill.weights(), weights)


def test_the_seed_settles_the_weights() -> None:
    assert (made(1).weights() == made(1).weights()).all()
    assert (made(1).weights() != made(2).weights()).any()


def test_weights_of_zero_know_nothing() -> None:
    hill = made()
    hill.take(np.zeros(len(hill.weights())))
    loss, accuracy = hill.scored()
    assert loss == pytest.approx(math.log(10), rel=1e-6)
    assert accuracy == np.mean(DATASET.validation.labels == 0), "of equals the first is taken"


def test_the_loss_is_told_of_the_first_images_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loss_surface, "LOSS_IMAGES", 8)
    hill = made()
    pixels, labels = DATASET.train.pixels[:8], DATASET.train.labels[:8].astype(np.int32)
    each = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, hill.logits(pixels))
    assert hill.loss_images == 8
    assert hill.scored()[0] == pytest.approx(float(tf.reduce_mean(each)), rel=1e-5)
