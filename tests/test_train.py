"""The trainer, held against the author's program written down a second time in NumPy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from math import sqrt
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from stand_ins import random_images
from test_model import paper_logits

from mnist_bench import data, train
from mnist_bench.data import Dataset, Images, Source
from mnist_bench.limits import MAX_SEED
from mnist_bench.result import Split
from mnist_bench.scenario import PaperCnnHyperparameters
from mnist_bench.train import Trainer, _batches

Array = npt.NDArray[np.float64]

SMALL_BATCHES = PaperCnnHyperparameters(batch_size=20)
SCORED = Dataset(
    train=random_images(60, seed=5),
    validation=random_images(500, seed=6),
    test=random_images(1_234, seed=7),
)
"""Splits of a whole piece, and of pieces the last of which is a short one."""


@pytest.fixture(scope="module", params=[1, 3])
def trainer(request: pytest.FixtureRequest) -> Trainer:
    """Whole, and in parts: the test images then are eight pieces, three of them at a time."""
    return Trainer(SCORED, SMALL_BATCHES, seed=11, parts=request.param)


# Steps, against the program


@dataclass(frozen=True)
class Trained:
    """What came of the program's own steps.

    Attributes:
        losses: Of each step's batch.
        weights: After the last step.
        sure: Where every gradient was far from 0. Adam divides a gradient by its size, so that of
            a gradient of mere rounding errors it makes a whole step, in one direction or the
            other.
    """

    losses: list[float]
    weights: list[Array]
    sure: list[npt.NDArray[np.bool_]]


def program(
    weights: Sequence[npt.NDArray[np.float32]],
    images: Images,
    batches: Iterable[npt.NDArray[np.int32]],
    learning_rate: float,
) -> Trained:
    """Adam as in its paper; TensorFlow lends the gradients of the program's network."""
    trained = Trained(
        losses=[],
        weights=[w.astype(np.float64) for w in weights],
        sure=[np.ones(w.shape, bool) for w in weights],
    )
    first = [np.zeros(w.shape) for w in weights]
    second = [np.zeros(w.shape) for w in weights]
    for update, batch in enumerate(batches, start=1):
        loss, gradients = loss_and_gradients(trained.weights, images, batch)
        trained.losses.append(loss)
        rate = learning_rate * sqrt(1 - 0.999**update) / (1 - 0.9**update)
        for i, gradient in enumerate(gradients):
            first[i] = 0.9 * first[i] + 0.1 * gradient
            second[i] = 0.999 * second[i] + 0.001 * gradient**2
            trained.weights[i] -= rate * first[i] / (np.sqrt(second[i]) + 1e-8)
            trained.sure[i][np.abs(gradient) < 1e-3 * np.abs(gradient).max()] = False
    return trained


def loss_and_gradients(
    weights: Sequence[Array], images: Images, batch: npt.NDArray[np.int32]
) -> tuple[float, list[Array]]:
    variables = [tf.constant(w.astype(np.float32)) for w in weights]
    answers = tf.one_hot(images.labels[batch].astype(np.int32), 10)
    with tf.GradientTape() as tape:
        tape.watch(variables)
        logits = paper_logits(variables, images.pixels[batch])
        loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(answers, logits))
    gradients = tape.gradient(loss, variables)
    return float(loss), [gradient.numpy().astype(np.float64) for gradient in gradients]


@pytest.mark.parametrize(("steps", "learning_rate"), [(1, 0.01), (2, 0.001)])
def test_steps_are_the_programs(sample: Source, steps: int, learning_rate: float) -> None:
    dataset = data.load(sample)
    hyperparameters = PaperCnnHyperparameters(learning_rate=learning_rate, dropout_rate=0.0)
    trainer = Trainer(dataset, hyperparameters, seed=3)
    before = list(trainer.weights().values())
    batches = islice(_batches(len(dataset.train.labels), 50, 3), steps)
    theirs = program(before, dataset.train, batches, learning_rate)

    np.testing.assert_allclose(trainer.advance(steps), theirs.losses, rtol=1e-4)
    after = list(trainer.weights().values())
    for start, our, their, sure in zip(before, after, theirs.weights, theirs.sure, strict=True):
        assert sure.mean() > 0.2
        # A step is as long as the learning rate, about: this is half a hundredth of one.
        np.testing.assert_allclose(our[sure], their[sure], rtol=0, atol=0.005 * learning_rate)
        assert np.abs(our - start).max() <= 1.01 * steps * learning_rate


def test_adam_by_hand(trainer: Trainer) -> None:
    """Gradients as small as epsilon, too, and more updates than the network's own test has."""
    variable = tf.Variable(tf.zeros(4))
    moments = (tf.Variable(tf.zeros(4)), tf.Variable(tf.zeros(4)))

    @tf.function
    def update(gradient: tf.Tensor, updates: tf.Tensor) -> None:
        trainer._adam(variable, moments, gradient, updates)

    values, first, second = np.zeros(4), np.zeros(4), np.zeros(4)
    for t in range(1, 8):
        gradient = np.array([1.0, -1e-3, 1e-8, 0.0]) * (t if t % 3 else -2 * t)
        update(tf.constant(gradient, tf.float32), tf.constant(t, tf.float32))
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        rate = 0.001 * sqrt(1 - 0.999**t) / (1 - 0.9**t)
        values -= rate * first / (np.sqrt(second) + 1e-8)
        np.testing.assert_allclose(variable.numpy(), values, rtol=1e-3, atol=2e-8)
    assert variable.numpy()[3] == 0


# Repeatability


def weights_equal(one: Trainer, other: Trainer) -> bool:
    weights, others = one.weights(), other.weights()
    return all(np.array_equal(weights[name], others[name]) for name in weights)


@pytest.mark.parametrize("parts", [1, 3])
def test_pieces_and_scorings_make_no_difference(small_dataset: Dataset, parts: int) -> None:
    whole, pieces, other = (
        Trainer(small_dataset, SMALL_BATCHES, seed, parts=parts) for seed in (5, 5, 6)
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


def test_dropout_acts_in_training_only(small_dataset: Dataset) -> None:
    dropping, keeping = (
        Trainer(small_dataset, PaperCnnHyperparameters(batch_size=20, dropout_rate=rate), seed=2)
        for rate in (0.5, 0.0)
    )
    shares = [each.evaluate("test").probability for each in (dropping, keeping)]
    assert np.array_equal(*shares)
    assert dropping.advance(1)[0] != keeping.advance(1)[0]


# Batches


@given(st.integers(1, 40), st.integers(1, 60), st.integers(0, MAX_SEED))
def test_every_epoch_holds_every_image_once(images: int, batch_size: int, seed: int) -> None:
    epochs = 3
    count = -(-epochs * images // batch_size)
    drawn = list(islice(_batches(images, batch_size, seed), count))
    assert all(batch.shape == (batch_size,) for batch in drawn)
    assert all(batch.dtype == np.int32 for batch in drawn)
    indices = np.concatenate(drawn)
    for epoch in range(epochs):
        held = indices[epoch * images : (epoch + 1) * images]
        assert sorted(held.tolist()) == list(range(images))


def test_an_epoch_of_the_papers_has_1_100_batches() -> None:
    batches = _batches(55_000, 50, seed=0)
    first, second = (np.concatenate(list(islice(batches, 1_100))) for _ in range(2))
    assert np.array_equal(np.sort(first), np.arange(55_000))
    assert np.array_equal(np.sort(second), np.arange(55_000))
    assert not np.array_equal(first, second)


def test_batches_depend_on_the_seed() -> None:
    first, same, other = (next(_batches(1_000, 100, seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)


# Scoring


@pytest.mark.parametrize(("split", "count"), [("test", 1_234), ("validation", 500)])
def test_every_image_is_scored(trainer: Trainer, split: Split, count: int) -> None:
    assert 1_234 % train._SCORED_AT_ONCE != 0
    trainer.advance(1)  # what is scored are the weights as they are now
    images: Images = getattr(SCORED, split)
    scores = trainer.evaluate(split)
    shares = tf.nn.softmax(trainer.model.logits(tf.constant(images.pixels))).numpy()
    assert scores.label.shape == scores.probability.shape == (count,)
    assert (scores.label.dtype, scores.probability.dtype) == (np.uint8, np.float16)
    assert np.array_equal(scores.label, shares.argmax(axis=1))
    np.testing.assert_allclose(scores.probability, shares.max(axis=1), rtol=0, atol=1e-3)


def test_accuracy_by_hand(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = trainer.evaluate("test").label.copy()
    labels[[0, 600, 1_233]] = (labels[[0, 600, 1_233]] + 1) % 10
    monkeypatch.setitem(trainer._labels, "test", labels)
    assert trainer.evaluate("test").accuracy == 1_231 / 1_234


def test_accuracy_is_that_of_the_splits_own_labels(trainer: Trainer) -> None:
    scores: dict[str, Any] = {split: trainer.evaluate(split) for split in ("test", "validation")}
    for split, found in scores.items():
        labels = getattr(SCORED, split).labels.tolist()
        pairs = zip(found.label.tolist(), labels, strict=True)
        assert found.accuracy == sum(a == b for a, b in pairs) / len(labels)


# What it holds


def test_weights_are_named_by_layer(trainer: Trainer) -> None:
    weights = trainer.weights()
    assert list(weights) == [
        "conv1_weights",
        "conv1_bias",
        "conv2_weights",
        "conv2_bias",
        "dense_weights",
        "dense_bias",
        "output_weights",
        "output_bias",
    ]
    held = [held for layer in trainer.model.layers for held in (layer.weights, layer.bias)]
    for values, there in zip(weights.values(), held, strict=True):
        assert np.array_equal(values, there.numpy())


def test_weights_taken_out_do_not_change_any_more(trainer: Trainer) -> None:
    taken = trainer.weights()
    kept = taken["output_bias"].copy()
    trainer.advance(1)
    assert np.array_equal(taken["output_bias"], kept)
    assert not np.array_equal(trainer.weights()["output_bias"], kept)


def test_images_are_held_as_bytes(trainer: Trainer) -> None:
    held = (trainer._train, *trainer._held.values())
    assert {images.pixels.dtype for images in held} == {tf.uint8}
