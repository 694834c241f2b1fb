"""Steps of the trainer, compared with the same steps in plain NumPy.

The reference follows the paper's program and its order of operations, in float64, with gradients
by hand: it shares no code and no library with the trainer. Only the trainer's public interface is
used.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from math import sqrt
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from fakes import random_images
from numpy.lib.stride_tricks import sliding_window_view

from mnist_bench.data.dataset import Dataset, Images
from mnist_bench.scenarios.hyperparameters import PaperCnnHyperparameters
from mnist_bench.worker.trainer import Trainer, shuffled_batches

Array = npt.NDArray[np.float64]
Weights = dict[str, Array]

LEARNING_RATE = 0.002
SEED = 4
BATCH = random_images(8, seed=44)
ONE = random_images(1, seed=55)
MANY = random_images(20, seed=66)
VALIDATION = random_images(10, seed=22)
TEST = random_images(20, seed=23)


def make_trainer(
    images: Images, *, dropout_rate: float = 0.0, batch_size: int | None = None, **changes: Any
) -> Trainer:
    """A trainer whose batch contains all training images, unless it is smaller."""
    hyperparameters = PaperCnnHyperparameters(
        learning_rate=LEARNING_RATE,
        batch_size=batch_size or len(images.labels),
        dropout_rate=dropout_rate,
    )
    return Trainer(Dataset(images, VALIDATION, TEST), hyperparameters, SEED, **changes)


def weights_of(trainer: Trainer) -> Weights:
    return {name: values.astype(np.float64) for name, values in trainer.weights().items()}


# The network by hand


def patches(x: Array) -> Array:
    """The 5×5 pixels around each pixel, zeros beyond the edge: (n, h, w, 25·c)."""
    padded = np.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0)))
    windows = sliding_window_view(padded, (5, 5), axis=(1, 2))  # (n, h, w, c, 5, 5)
    return windows.transpose(0, 1, 2, 4, 5, 3).reshape(*x.shape[:3], -1)


def blocks_of(x: Array) -> Array:
    """The four pixels of each 2×2 block: (n, h/2, w/2, c, 4)."""
    n, height, width, channels = x.shape
    blocks = x.reshape(n, height // 2, 2, width // 2, 2, channels)
    return blocks.transpose(0, 1, 3, 5, 2, 4).reshape(n, height // 2, width // 2, channels, 4)


def unblock(blocks: Array) -> Array:
    """Inverse of `blocks_of`."""
    n, height, width, channels, _ = blocks.shape
    x = blocks.reshape(n, height, width, channels, 2, 2).transpose(0, 1, 4, 2, 5, 3)
    return x.reshape(n, 2 * height, 2 * width, channels)


@dataclass(frozen=True)
class Convolved:
    """A convolution with bias and ReLU, and the maximum of each 2×2 block.

    Attributes:
        inputs: Patches, (n, h, w, 25·c).
        activations: Before pooling, (n, h, w, outputs).
        pooled: (n, h/2, w/2, outputs).
    """

    inputs: Array
    activations: Array
    pooled: Array


def convolved(x: Array, weights: Array, bias: Array) -> Convolved:
    inputs = patches(x)
    activations = np.maximum(inputs @ weights.reshape(-1, weights.shape[-1]) + bias, 0)
    return Convolved(inputs, activations, blocks_of(activations).max(axis=-1))


def backpropagate(layer: Convolved, pooled: Array) -> Array:
    """From the gradient of the pooled values to that of the convolution."""
    blocks = blocks_of(layer.activations)
    first = blocks.argmax(axis=-1)[..., np.newaxis] == np.arange(4)
    return unblock(np.where(first, pooled[..., np.newaxis], 0)) * (layer.activations > 0)


def back_to_image(gradient: Array, weights: Array) -> Array:
    """From the gradient of the convolution to that of its input, by the rotated kernel."""
    rotated = weights[::-1, ::-1].transpose(0, 1, 3, 2)
    return patches(gradient) @ rotated.reshape(-1, rotated.shape[-1])


def hidden(w: Weights, pixels: npt.NDArray[np.uint8]) -> tuple[Convolved, Convolved, Array]:
    x = pixels.astype(np.float64)[..., np.newaxis] / 255
    one = convolved(x, w["conv1_weights"], w["conv1_bias"])
    two = convolved(one.pooled, w["conv2_weights"], w["conv2_bias"])
    flat = two.pooled.reshape(len(x), -1)
    return one, two, np.maximum(flat @ w["dense_weights"] + w["dense_bias"], 0)


def softmax(logits: Array) -> Array:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def probabilities(w: Weights, pixels: npt.NDArray[np.uint8]) -> Array:
    """Probabilities of the digits, (n, 10)."""
    return softmax(hidden(w, pixels)[2] @ w["output_weights"] + w["output_bias"])


def kernel_gradient(inputs: Array, outputs: Array, weights: Array) -> Array:
    """Gradient of a convolution's weights, from its patches and the gradient of its outputs."""
    return np.einsum("nhwp,nhwo->po", inputs, outputs, optimize=True).reshape(weights.shape)


def loss_and_gradients(
    w: Weights, images: Images, dropout_factor: Array | float = 1.0
) -> tuple[float, Weights]:
    """Mean cross-entropy of a batch, and its gradients.

    Args:
        w: Weights.
        images: The batch.
        dropout_factor: Dropout's factor of each of the dense layer's outputs.
    """
    count = len(images.labels)
    labels = images.labels.astype(int)
    one, two, dense = hidden(w, images.pixels)
    dropped = dense * dropout_factor
    predicted = softmax(dropped @ w["output_weights"] + w["output_bias"])
    loss = -np.log(predicted[np.arange(count), labels]).mean()

    logits = (predicted - np.eye(10)[labels]) / count
    wide = (logits @ w["output_weights"].T) * dropout_factor * (dense > 0)
    flat = two.pooled.reshape(count, -1)
    second = backpropagate(two, (wide @ w["dense_weights"].T).reshape(two.pooled.shape))
    first = backpropagate(one, back_to_image(second, w["conv2_weights"]))
    return float(loss), {
        "conv1_weights": kernel_gradient(one.inputs, first, w["conv1_weights"]),
        "conv1_bias": first.sum(axis=(0, 1, 2)),
        "conv2_weights": kernel_gradient(two.inputs, second, w["conv2_weights"]),
        "conv2_bias": second.sum(axis=(0, 1, 2)),
        "dense_weights": flat.T @ wide,
        "dense_bias": wide.sum(axis=0),
        "output_weights": dropped.T @ logits,
        "output_bias": logits.sum(axis=0),
    }


# Adam by hand


@dataclass(frozen=True)
class Step:
    """A step of the trainer, and the expected step from the same weights.

    Attributes:
        loss: The trainer's loss.
        before: The trainer's weights before the step.
        after: The trainer's weights after the step.
        expected_loss: The reference's loss.
        expected_changes: The reference's change of each weight.
        tolerance: Largest allowed difference of the changes.
    """

    loss: float
    before: Weights
    after: Weights
    expected_loss: float
    expected_changes: Weights
    tolerance: Weights


class Adam:
    """Adam as in TensorFlow 1, where epsilon is added outside of the corrected root."""

    def __init__(self) -> None:
        self._step = 0
        self._first: Weights = {}
        self._second: Weights = {}

    def changes(self, gradients: Weights) -> tuple[Weights, Weights]:
        """Changes of the weights in a step, and their tolerance for rounding in float32.

        A gradient in float32 is a sum of products with rounding errors of some 2^-24 of the
        largest of them; 1e-6 of a layer's largest gradient covers them. Adam divides by the
        gradient's size, so the error is large where that is small: up to a full step in the other
        direction. Both moments carry it, hence the factor 3. The 1e-4 is for Adam's operations and
        for the weight, which float32 stores to 1e-8.
        """
        self._step += 1
        rate = LEARNING_RATE * sqrt(1 - 0.999**self._step) / (1 - 0.9**self._step)
        changes, tolerance = {}, {}
        for name, gradient in gradients.items():
            first = 0.9 * self._first.get(name, 0) + 0.1 * gradient
            second = 0.999 * self._second.get(name, 0) + 0.001 * gradient**2
            self._first[name], self._second[name] = first, second
            changes[name] = -rate * first / (np.sqrt(second) + 1e-8)
            size = np.sqrt(second / (1 - 0.999**self._step))
            error = 3e-6 * np.abs(gradient).max() / np.maximum(size, 1e-30)
            error[size == 0] = 0  # the weights of an inactive unit do not change
            tolerance[name] = LEARNING_RATE * (1e-4 + np.minimum(error, 2))
        return changes, tolerance


def follow(trainer: Trainer, *batches: Images) -> list[Step]:
    """Steps of the trainer, each with the reference step from the trainer's weights."""
    adam, followed = Adam(), []
    for batch in batches:
        before = weights_of(trainer)
        (loss,) = trainer.advance(1)
        expected_loss, gradients = loss_and_gradients(before, batch)
        changes, tolerance = adam.changes(gradients)
        followed.append(Step(loss, before, weights_of(trainer), expected_loss, changes, tolerance))
    return followed


def assert_step(step: Step) -> None:
    """Assert that the step agrees, and that enough of each layer has a small tolerance.

    Where the network is certain of a digit, its gradients are almost 0: only some of the output
    layer's weights have a small tolerance.
    """
    assert step.loss == pytest.approx(step.expected_loss, rel=1e-5)
    for name, tolerance in step.tolerance.items():
        changes = step.after[name] - step.before[name]
        assert np.all(np.abs(changes - step.expected_changes[name]) <= tolerance), name
        assert (tolerance <= 0.02 * LEARNING_RATE).mean() > 0.2, name
        assert np.abs(changes).max() > 0.1 * LEARNING_RATE, name


@pytest.fixture(scope="module")
def followed() -> list[Step]:
    """Three steps, because Adam's moments matter from the second on."""
    return follow(make_trainer(BATCH), BATCH, BATCH, BATCH)


def test_reference_gradients_agree_with_finite_differences(followed: list[Step]) -> None:
    """The reference itself has to be correct."""
    weights = {name: values.copy() for name, values in followed[0].before.items()}
    images = Images(BATCH.pixels[:2], BATCH.labels[:2])
    _, gradients = loss_and_gradients(weights, images)
    for name, values in weights.items():
        steepest = np.unravel_index(np.abs(gradients[name]).argmax(), values.shape)
        start, losses = values[steepest], []
        for side in (start + 1e-6, start - 1e-6):
            values[steepest] = side
            predicted = probabilities(weights, images.pixels)
            losses.append(-np.log(predicted[range(2), images.labels]).mean())
        values[steepest] = start
        slope = (losses[0] - losses[1]) / 2e-6
        assert slope == pytest.approx(gradients[name][steepest], rel=1e-6), name


def test_steps_agree_with_numpy(followed: list[Step]) -> None:
    for step in followed:
        assert_step(step)


def test_sharded_steps_on_shuffled_batches_agree_with_numpy() -> None:
    """Seven images and the dense layer's inputs in three shards, which are of unequal length."""
    batches = [
        Images(MANY.pixels[batch], MANY.labels[batch])
        for batch in islice(shuffled_batches(20, 7, SEED), 3)
    ]
    for step in follow(make_trainer(MANY, batch_size=7, shards=3), *batches):
        assert_step(step)


def test_more_shards_than_images() -> None:
    (step,) = follow(make_trainer(ONE, shards=3), ONE)
    assert_step(step)


# Dropout


def test_a_step_with_dropout_agrees_with_numpy() -> None:
    """The weights of a dropped unit do not change, which shows what was dropped."""
    rate = 0.25
    trainer = make_trainer(ONE, dropout_rate=rate)
    before = weights_of(trainer)
    (loss,) = trainer.advance(1)
    after = weights_of(trainer)
    moved = (after["output_weights"] != before["output_weights"]).any(axis=1)
    active = hidden(before, ONE.pixels)[2][0] > 0
    assert not moved[~active].any()
    deviation = sqrt(rate * (1 - rate) / active.sum())
    assert 1 - moved[active].mean() == pytest.approx(rate, abs=6 * deviation)

    expected_loss, gradients = loss_and_gradients(before, ONE, moved / (1 - rate))
    assert expected_loss > 1  # otherwise the gradients would be too small to compare
    assert_step(Step(loss, before, after, expected_loss, *Adam().changes(gradients)))


# Scoring


def test_scores_agree_with_numpy() -> None:
    trainer = make_trainer(BATCH, dropout_rate=0.5, shards=3)
    trainer.advance(2)
    weights = weights_of(trainer)
    for split, images in (("test", TEST), ("validation", VALIDATION)):
        expected, scores = probabilities(weights, images.pixels), trainer.evaluate(split)
        second, first = np.sort(expected, axis=1)[:, -2:].T
        assert (first - second).min() > 1e-5  # rounding does not decide any digit
        assert np.array_equal(scores.label, expected.argmax(axis=1))
        # float16 has a relative precision of 2^-11.
        np.testing.assert_allclose(scores.probability, first, rtol=1e-3)
        assert scores.accuracy == np.mean(expected.argmax(axis=1) == images.labels)


# bfloat16


def test_a_step_in_bfloat16_is_close_and_keeps_float32_weights(followed: list[Step]) -> None:
    """Each rounding error is up to 2^-9, so that of a sum is below some percent of its size."""
    trainer = make_trainer(BATCH, precision="bfloat16", shards=3)
    assert {values.dtype for values in trainer.weights().values()} == {np.dtype(np.float32)}
    exact = followed[0]
    for name, values in weights_of(trainer).items():
        assert np.array_equal(values, exact.before[name]), name  # the same initial weights
    (loss,) = trainer.advance(1)
    assert loss == pytest.approx(exact.expected_loss, rel=0.03)
    assert loss != exact.loss  # it is really not float32
    assert {values.dtype for values in trainer.weights().values()} == {np.dtype(np.float32)}

    # The first step of Adam depends on the gradient's sign, which is certain if it is large.
    _, gradients = loss_and_gradients(exact.before, BATCH)
    for name, after in weights_of(trainer).items():
        change = after - exact.before[name]
        large = np.abs(gradients[name]) > 0.1 * np.abs(gradients[name]).max()
        wrong = np.abs(change - exact.expected_changes[name]) > 0.01 * LEARNING_RATE
        assert wrong[large].mean() < 0.01, name
