"""The trainer: repeatable, in every variant, and right about every image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from fakes import random_images
from hypothesis import given
from hypothesis import strategies as st

from mnist_bench.core.limits import MAX_SEED
from mnist_bench.data.dataset import Dataset, Images
from mnist_bench.models.layers import Layer
from mnist_bench.results.run import Split
from mnist_bench.scenarios.hyperparameters import PaperCnnHyperparameters
from mnist_bench.worker.trainer import _EVALUATION_IMAGES, Trainer, _loss, shuffled_batches

Array = npt.NDArray[np.float64]

SMALL_BATCHES = PaperCnnHyperparameters(batch_size=20)
SCORED = Dataset(
    train=random_images(60, seed=5),
    validation=random_images(500, seed=6),
    test=random_images(1_234, seed=7),
)
"""Validation is one whole piece; the last piece of test is shorter."""


@pytest.fixture(scope="module", params=[1, 3])
def trainer(request: pytest.FixtureRequest) -> Trainer:
    """With one shard and with three, which evaluate test in eight pieces, three concurrently."""
    return Trainer(SCORED, SMALL_BATCHES, seed=11, shards=request.param)


# Repeatability


def weights_equal(one: Trainer, other: Trainer) -> bool:
    weights, others = one.weights(), other.weights()
    return all(np.array_equal(weights[name], others[name]) for name in weights)


def test_division_into_calls_and_evaluations_do_not_change_results(small_dataset: Dataset) -> None:
    whole, pieces, other = (
        Trainer(small_dataset, SMALL_BATCHES, seed, shards=3) for seed in (5, 5, 6)
    )
    assert weights_equal(whole, pieces)
    losses = whole.advance(5)
    assert (losses.dtype, losses.shape) == (np.dtype(np.float32), (5,))
    first = pieces.advance(3)
    pieces.evaluate("test")
    assert np.array_equal(np.concatenate([first, pieces.advance(2)]), losses)
    assert (whole.step, pieces.step) == (5, 5)
    assert weights_equal(whole, pieces)
    assert not np.array_equal(other.advance(5), losses)


# Batches


@given(st.integers(1, 40), st.integers(1, 60), st.integers(0, MAX_SEED))
def test_every_epoch_contains_every_image_once(images: int, batch_size: int, seed: int) -> None:
    epochs = 3
    count = -(-epochs * images // batch_size)
    batches = list(islice(shuffled_batches(images, batch_size, seed), count))
    assert all(batch.shape == (batch_size,) for batch in batches)
    assert all(batch.dtype == np.int32 for batch in batches)
    indices = np.concatenate(batches)
    for epoch in range(epochs):
        in_epoch = indices[epoch * images : (epoch + 1) * images]
        assert sorted(in_epoch.tolist()) == list(range(images))


def test_the_papers_epoch_has_1_100_batches() -> None:
    batches = shuffled_batches(55_000, 50, seed=0)
    first, second = (np.concatenate(list(islice(batches, 1_100))) for _ in range(2))
    assert np.array_equal(np.sort(first), np.arange(55_000))
    assert np.array_equal(np.sort(second), np.arange(55_000))
    assert not np.array_equal(first, second)
    again, other = (next(shuffled_batches(55_000, 50, seed)) for seed in (0, 1))
    assert np.array_equal(again, first[:50])
    assert not np.array_equal(again, other)


# Evaluation


@pytest.mark.parametrize(("split", "count"), [("test", 1_234), ("validation", 500)])
def test_every_image_is_scored(trainer: Trainer, split: Split, count: int) -> None:
    assert 1_234 % _EVALUATION_IMAGES != 0
    trainer.advance(1)  # the current weights are scored
    images: Images = getattr(SCORED, split)
    scores = trainer.evaluate(split)
    probabilities = tf.nn.softmax(trainer.model.logits(tf.constant(images.pixels))).numpy()
    assert scores.label.shape == scores.probability.shape == (count,)
    assert (scores.label.dtype, scores.probability.dtype) == (np.uint8, np.float16)
    assert np.array_equal(scores.label, probabilities.argmax(axis=1))
    np.testing.assert_allclose(scores.probability, probabilities.max(axis=1), rtol=0, atol=1e-3)


def test_accuracy_by_hand(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = trainer.evaluate("test")
    equal = sum(a == b for a, b in zip(scores.label, SCORED.test.labels, strict=True))
    assert scores.accuracy == equal / 1_234
    labels = scores.label.copy()
    labels[[0, 600, 1_233]] = (labels[[0, 600, 1_233]] + 1) % 10
    monkeypatch.setitem(trainer._labels, "test", labels)
    assert trainer.evaluate("test").accuracy == 1_231 / 1_234


# Weights and images


def test_weights_are_named_by_layer_and_copied(trainer: Trainer) -> None:
    weights = trainer.weights()
    assert list(weights) == [
        "conv1_weights", "conv1_bias", "conv2_weights", "conv2_bias",
        "dense_weights", "dense_bias", "output_weights", "output_bias",
    ]  # fmt: skip
    tensors = [x for layer in trainer.model.layers for x in (layer.weights, layer.bias)]
    for values, tensor in zip(weights.values(), tensors, strict=True):
        assert np.array_equal(values, tensor.numpy())
    before = weights["output_bias"].copy()
    trainer.advance(1)
    assert np.array_equal(weights["output_bias"], before)
    assert not np.array_equal(trainer.weights()["output_bias"], before)


def test_images_are_stored_as_bytes(trainer: Trainer) -> None:
    stored = (trainer._train, *trainer._images.values())
    assert {images.pixels.dtype for images in stored} == {tf.uint8}


# Variants


VARIANTS = {
    "one-cycle": {"schedule": "one-cycle"},
    "momentum": {"optimizer": "momentum", "schedule": "cosine"},
    "normalized": {"batch_normalization": True},
    "smoothed": {"label_smoothing": 0.1},
    "shifted": {"shift_pixels": 2},
    "rotated": {"rotation_degrees": 20.0},
    "zoomed and shifted": {"zoom_share": 0.2, "shift_pixels": 1},
    "averaged": {"average_decay": 0.9, "batch_normalization": True},
    "narrow": {
        "conv1_filters": 3, "conv1_kernel_size": 4, "conv2_filters": 5, "conv2_kernel_size": 1,
        "dense_units": 7,
    },
}  # fmt: skip


def variant(dataset: Dataset, shards: int = 1, **changes: Any) -> Trainer:
    hyperparameters = PaperCnnHyperparameters(**({"batch_size": 20} | changes))
    return Trainer(dataset, hyperparameters, 5, total_steps=6, shards=shards)


@pytest.fixture(scope="module")
def paper_losses(small_dataset: Dataset) -> npt.NDArray[np.float32]:
    return variant(small_dataset, learning_rate=1e-4).advance(6)


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=list(VARIANTS))
def test_variants(
    small_dataset: Dataset, paper_losses: npt.NDArray[np.float32], changes: dict[str, Any]
) -> None:
    """Each trains differently, is repeatable, and gives the same result in shards.

    The latter except for rounding, from which Adam makes a full step at gradient 0.
    """
    changes = {"learning_rate": 1e-4} | changes
    whole, pieces, sharded = (variant(small_dataset, shards, **changes) for shards in (1, 1, 3))
    losses = whole.advance(6)
    assert np.isfinite(losses).all()
    assert not np.array_equal(losses, paper_losses)
    first = pieces.advance(1)
    np.testing.assert_allclose(sharded.advance(1), first, rtol=1e-5)
    of_shards = sharded.weights()
    for name, values in pieces.weights().items():
        np.testing.assert_allclose(values, of_shards[name], rtol=1e-4, atol=3e-4, err_msg=name)
    assert np.array_equal(np.concatenate([first, pieces.advance(3), pieces.advance(2)]), losses)
    assert weights_equal(whole, pieces)
    assert whole.evaluate("test").label.shape == small_dataset.test.labels.shape


def test_a_schedule_requires_total_steps(small_dataset: Dataset) -> None:
    with pytest.raises(ValueError, match="one-cycle training needs its total_steps"):
        Trainer(small_dataset, PaperCnnHyperparameters(schedule="one-cycle"), 5)


def test_smoothed_labels_by_hand() -> None:
    logits = np.array([[2.0, -1, 0, 0, 0, 0, 0, 0, 0, 1], [0.5] * 10])
    labels, smoothing = [0, 3], 0.2
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    targets = np.eye(10)[labels] * 0.8 + 0.02
    expected = -(targets * np.log(probabilities)).sum(axis=1).mean()
    found = _loss(tf.constant(labels), tf.constant(logits, tf.float32), smoothing)
    assert float(found) == pytest.approx(expected, rel=1e-6)


def test_averaged_weights_by_hand(small_dataset: Dataset) -> None:
    """Weights and running statistics are averaged; the first steps weigh more."""
    trainer = variant(small_dataset, average_decay=0.3, batch_normalization=True)

    def state(layers: Sequence[Layer]) -> list[Array]:
        return [v.numpy().astype(np.float64) for layer in layers for v in layer.state]

    assert len(state(trainer.model.layers)) == 17  # two per layer, and three more for three layers
    expected = state(trainer.model.layers)
    for step in range(1, 5):
        trainer.advance(1)
        decay = min(0.3, (1 + step) / (10 + step))
        now = state(trainer.model.layers)
        expected = [decay * e + (1 - decay) * n for e, n in zip(expected, now, strict=True)]
    for actual, wanted in zip(state(trainer.model.scored_layers), expected, strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=1e-4, atol=1e-6)
    scored = trainer.weights()["dense_weights"]
    assert np.array_equal(scored, trainer.model.scored_layers[2].weights.numpy())
    assert not np.array_equal(scored, trainer.model.layers[2].weights.numpy())


def test_without_the_test_split_it_can_not_be_evaluated(small_dataset: Dataset) -> None:
    trainer = Trainer(replace(small_dataset, test=None), SMALL_BATCHES, seed=5)
    assert trainer.evaluate("validation").label.shape == small_dataset.validation.labels.shape
    with pytest.raises(KeyError):
        trainer.evaluate("test")
