"""Loss and gradient of the small network, compared with NumPy and finite differences."""

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
"""All training images as one batch."""


def surface(seed: int = 0, **changes: object) -> LossSurface:
    return LossSurface(DATASET, seed, **{"filters": (2, 3)} | changes)


def convolved(x: Array, kernel: Array, bias: Array) -> Array:
    """Convolution of stride 2, bias and ReLU: (n, 2h, 2w, c) to (n, h, w, outputs)."""
    padded = np.pad(x, [(0, 0), (1, 2), (1, 2), (0, 0)])
    windows = sliding_window_view(padded, (5, 5), axis=(1, 2))[:, ::2, ::2]  # (n, h, w, c, 5, 5)
    return np.maximum(np.einsum("nhwcij,ijco->nhwo", windows, kernel) + bias, 0)


def loss_by_hand(weights: Array) -> float:
    """Loss over all training images in NumPy, float64."""
    shapes = [(5, 5, 1, 2), (5, 5, 2, 3), (147, 10), (2,), (3,), (10,)]
    ends = np.cumsum([math.prod(shape) for shape in shapes])[:-1]
    tensors = zip(np.split(weights, ends), shapes, strict=True)
    kernel1, kernel2, output, bias1, bias2, bias = (x.reshape(shape) for x, shape in tensors)
    x = DATASET.train.pixels[..., np.newaxis] / 255
    x = convolved(convolved(x, kernel1, bias1), kernel2, bias2).reshape(30, -1)
    logits = x @ output + bias
    true_logits = logits[np.arange(30), DATASET.train.labels]
    return float((np.log(np.exp(logits).sum(axis=1)) - true_logits).mean())


def test_parameter_count_by_hand() -> None:
    # 5·5·1·2 + 2, 5·5·2·3 + 3, 7·7·3·10 + 10
    assert len(surface().weights()) == 52 + 153 + 1_480
    assert len(LossSurface(DATASET, 0).weights()) == 156 + 1_812 + 5_890


def test_loss_and_gradient_agree_with_numpy() -> None:
    tested = surface()
    weights, (loss, gradient) = tested.weights().astype(np.float64), tested.loss_and_gradient()
    assert loss == pytest.approx(loss_by_hand(weights), rel=1e-6)
    random = np.random.default_rng(0)
    # A direction per tensor, so that each of them is tested.
    for start, end in itertools.pairwise(np.cumsum([0, 50, 150, 1_470, 2, 3, 10])):
        step = np.zeros_like(weights)
        step[start:end] = 1e-8 * random.standard_normal(end - start)
        rise = loss_by_hand(weights + step) - loss_by_hand(weights - step)
        assert rise == pytest.approx(2 * float(gradient @ step), rel=1e-4, abs=1e-14)


def test_pieces_and_shards_do_not_change_results(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, (loss, gradient) = surface(), surface().loss_and_gradient()
    monkeypatch.setattr(loss_surface, "_PIECE_IMAGES", 7)  # the last piece is shorter
    pieces = surface(shards=2)
    assert pieces.loss_and_gradient()[0] == pytest.approx(loss, rel=1e-5)
    np.testing.assert_allclose(pieces.loss_and_gradient()[1], gradient, rtol=1e-3, atol=1e-6)
    assert pieces.score() == pytest.approx(whole.score(), rel=1e-5)


def test_one_batch_of_all_images_equals_a_full_batch() -> None:
    tested = surface()
    before, (_, gradient) = tested.weights(), tested.loss_and_gradient()
    tested.apply_updates(EVERY, 0.25)
    np.testing.assert_allclose(tested.weights(), before - 0.25 * gradient, rtol=1e-4, atol=1e-6)


def test_single_samples_are_applied_in_order() -> None:
    at_once, one_by_one, reversed_ = surface(), surface(), surface()
    samples = np.array([[4], [9], [17]], np.int32)
    at_once.apply_updates(samples, 0.1)
    reversed_.apply_updates(samples[::-1], 0.1)
    for sample in samples:
        one_by_one.apply_updates(sample[np.newaxis], 0.1)
    np.testing.assert_array_equal(at_once.weights(), one_by_one.weights())
    assert (at_once.weights() != reversed_.weights()).any()


def test_weights_depend_on_the_seed_and_change_only_by_updates() -> None:
    tested = surface(1)
    before = tested.weights()
    tested.apply_updates(np.zeros((0, 5), np.int32), 0.1)
    np.testing.assert_array_equal(tested.weights(), before)
    assert (surface(1).weights() == before).all()
    assert (surface(2).weights() != before).any()
    weights = np.random.default_rng(0).standard_normal(len(before)).astype(np.float32)
    tested.set_weights(weights)
    np.testing.assert_array_equal(tested.weights(), weights)


def test_zero_weights_predict_uniformly() -> None:
    tested = surface()
    tested.set_weights(np.zeros(len(tested.weights())))
    loss, accuracy = tested.score()
    assert loss == pytest.approx(math.log(10), rel=1e-6)
    assert accuracy == np.mean(DATASET.validation.labels == 0), "of equal logits the first wins"


def test_loss_is_measured_on_the_first_images_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loss_surface, "LOSS_IMAGES", 8)
    tested = surface()
    pixels, labels = DATASET.train.pixels[:8], DATASET.train.labels[:8].astype(np.int32)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, tested.logits(pixels))
    assert tested.loss_images == 8
    assert tested.score()[0] == pytest.approx(float(tf.reduce_mean(losses)), rel=1e-5)
