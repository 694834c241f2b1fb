"""One step of the trainer, held against the same step in plain NumPy and in Keras.

The reference below is written after the paper's program, in its order of operations, in float64,
with gradients by hand: it shares no code, no library and no rounding with the trainer. Only the
trainer's public face is used, so that its inside may change as long as the numbers stay.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from fakes import random_images
from numpy.lib.stride_tricks import sliding_window_view

from mnist_bench.data.dataset import Dataset, Images
from mnist_bench.scenarios.hyperparameters import PaperCnnHyperparameters
from mnist_bench.worker.trainer import Trainer

Array = npt.NDArray[np.float64]
Weights = dict[str, Array]

LEARNING_RATE = 0.002
BATCH = random_images(8, seed=44)
ONE = random_images(1, seed=55)
VALIDATION = random_images(30, seed=22)
TEST = random_images(70, seed=23)


def trainer(images: Images, *, dropout_rate: float = 0.0, **changes: Any) -> Trainer:
    """As many training images as a batch has: whatever their order, each step is on all."""
    hyperparameters = PaperCnnHyperparameters(
        learning_rate=LEARNING_RATE, batch_size=len(images.labels), dropout_rate=dropout_rate
    )
    return Trainer(Dataset(images, VALIDATION, TEST), hyperparameters, 4, **changes)


def weights_of(chosen: Trainer) -> Weights:
    return {name: values.astype(np.float64) for name, values in chosen.weights().items()}


# The network by hand


def patches(x: Array) -> Array:
    """Of each pixel the 5×5 around it, zeros beyond the edge: (n, h, w, 25·c)."""
    padded = np.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0)))
    windows = sliding_window_view(padded, (5, 5), axis=(1, 2))  # (n, h, w, c, 5, 5)
    return windows.transpose(0, 1, 2, 4, 5, 3).reshape(*x.shape[:3], -1)


def quarters(x: Array) -> Array:
    """The four pixels of each 2×2 field: (n, h/2, w/2, c, 4)."""
    n, height, width, channels = x.shape
    fields = x.reshape(n, height // 2, 2, width // 2, 2, channels)
    return fields.transpose(0, 1, 3, 5, 2, 4).reshape(n, height // 2, width // 2, channels, 4)


def whole(fields: Array) -> Array:
    """Back from `quarters`."""
    n, height, width, channels, _ = fields.shape
    x = fields.reshape(n, height, width, channels, 2, 2).transpose(0, 1, 4, 2, 5, 3)
    return x.reshape(n, 2 * height, 2 * width, channels)


@dataclass(frozen=True)
class Convolved:
    """A convolution with bias and ReLU, and the largest of each 2×2 field.

    Attributes:
        inputs: Patches, (n, h, w, 25·c).
        activations: Before the pool, (n, h, w, outputs).
        pooled: (n, h/2, w/2, outputs).
    """

    inputs: Array
    activations: Array
    pooled: Array


def convolved(x: Array, weights: Array, bias: Array) -> Convolved:
    inputs = patches(x)
    activations = np.maximum(inputs @ weights.reshape(-1, weights.shape[-1]) + bias, 0)
    return Convolved(inputs, activations, quarters(activations).max(axis=-1))


def back_through(layer: Convolved, pooled: Array) -> Array:
    """From the gradient of what was pooled to that of what was convolved, before the bias."""
    fields = quarters(layer.activations)
    first = fields.argmax(axis=-1)[..., np.newaxis] == np.arange(4)
    return whole(np.where(first, pooled[..., np.newaxis], 0)) * (layer.activations > 0)


def back_to_image(gradient: Array, weights: Array) -> Array:
    """From the gradient of what was convolved to that of the image: the kernel turned around."""
    turned = weights[::-1, ::-1].transpose(0, 1, 3, 2)
    return patches(gradient) @ turned.reshape(-1, turned.shape[-1])


def hidden(w: Weights, pixels: npt.NDArray[np.uint8]) -> tuple[Convolved, Convolved, Array]:
    x = pixels.astype(np.float64)[..., np.newaxis] / 255
    one = convolved(x, w["conv1_weights"], w["conv1_bias"])
    two = convolved(one.pooled, w["conv2_weights"], w["conv2_bias"])
    flat = two.pooled.reshape(len(x), -1)
    return one, two, np.maximum(flat @ w["dense_weights"] + w["dense_bias"], 0)


def softmax(logits: Array) -> Array:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def shares(w: Weights, pixels: npt.NDArray[np.uint8]) -> Array:
    """What the network says of images: softmax over the digits, (n, 10)."""
    return softmax(hidden(w, pixels)[2] @ w["output_weights"] + w["output_bias"])


def kernel_gradient(inputs: Array, outputs: Array, weights: Array) -> Array:
    """Of a convolution's weights, from its patches and the gradient of its outputs."""
    return np.einsum("nhwp,nhwo->po", inputs, outputs, optimize=True).reshape(weights.shape)


def loss_and_gradients(
    w: Weights, images: Images, kept: Array | float = 1.0
) -> tuple[float, Weights]:
    """Mean cross-entropy of all training images, and its gradients.

    Args:
        w: Weights.
        images: Of the batch.
        kept: What dropout multiplies each of the dense layer's outputs by.
    """
    count = len(images.labels)
    labels = images.labels.astype(int)
    one, two, dense = hidden(w, images.pixels)
    dropped = dense * kept
    said = softmax(dropped @ w["output_weights"] + w["output_bias"])
    loss = -np.log(said[np.arange(count), labels]).mean()

    logits = (said - np.eye(10)[labels]) / count
    wide = (logits @ w["output_weights"].T) * kept * (dense > 0)
    flat = two.pooled.reshape(count, -1)
    second = back_through(two, (wide @ w["dense_weights"].T).reshape(two.pooled.shape))
    first = back_through(one, back_to_image(second, w["conv2_weights"]))
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
    """A step of the trainer, and what it should have been from the very same weights.

    Attributes:
        loss: The trainer's.
        before: Its weights before the step.
        after: And after it.
        their_loss: The reference's.
        theirs: The reference's change of each weight.
        allowed: How far the trainer's change may be from it.
    """

    loss: float
    before: Weights
    after: Weights
    their_loss: float
    theirs: Weights
    allowed: Weights


class Adam:
    """As in TensorFlow 1: epsilon is added outside of the corrected root."""

    def __init__(self) -> None:
        self._step = 0
        self._first: Weights = {}
        self._second: Weights = {}

    def changes(self, gradients: Weights) -> tuple[Weights, Weights]:
        """What a step adds to the weights, and how far rounding may take float32 from that.

        A gradient in float32 is a sum of products whose rounding errors are some units of 2^-24
        of the largest of them; 1e-6 of a layer's largest gradient covers them. Adam divides by
        the gradient's own size, so where that is small the error is large: up to a whole step in
        the other direction. Both moments carry it, hence thrice. The 1e-4 is for Adam's own
        operations and for the weight, which float32 keeps to 1e-8.
        """
        self._step += 1
        rate = LEARNING_RATE * sqrt(1 - 0.999**self._step) / (1 - 0.9**self._step)
        changes, allowed = {}, {}
        for name, gradient in gradients.items():
            first = 0.9 * self._first.get(name, 0) + 0.1 * gradient
            second = 0.999 * self._second.get(name, 0) + 0.001 * gradient**2
            self._first[name], self._second[name] = first, second
            changes[name] = -rate * first / (np.sqrt(second) + 1e-8)
            size = np.sqrt(second / (1 - 0.999**self._step))
            error = 3e-6 * np.abs(gradient).max() / np.maximum(size, 1e-30)
            error[size == 0] = 0  # behind a unit that does not fire nothing moves
            allowed[name] = LEARNING_RATE * (1e-4 + np.minimum(error, 2))
        return changes, allowed


def follow(chosen: Trainer, images: Images, steps: int) -> list[Step]:
    """Steps of the trainer, each held against the reference from where the trainer stood."""
    adam, followed = Adam(), []
    for _ in range(steps):
        before = weights_of(chosen)
        (loss,) = chosen.advance(1)
        their_loss, gradients = loss_and_gradients(before, images)
        theirs, allowed = adam.changes(gradients)
        followed.append(Step(loss, before, weights_of(chosen), their_loss, theirs, allowed))
    return followed


def assert_changes(step: Step, theirs: Weights, *, times: int = 1) -> None:
    """That the step is the other one, and that not all of a layer can hide in rounding.

    Where the network is sure of a digit, its gradients are next to nothing: of the outputs'
    weights only some are held closely.
    """
    for name, allowed in step.allowed.items():
        changes = step.after[name] - step.before[name]
        assert np.all(np.abs(changes - theirs[name]) <= times * allowed), name
        assert (allowed <= 0.02 * LEARNING_RATE).mean() > 0.2, name
        assert np.abs(changes).max() > 0.1 * LEARNING_RATE, name


@pytest.fixture(scope="module")
def followed() -> list[Step]:
    """Three steps: from the second on Adam's moments count."""
    return follow(trainer(BATCH), BATCH, 3)


def test_the_hand_made_gradients_are_gradients(followed: list[Step]) -> None:
    """Against the loss a little to either side: the reference has to be right itself."""
    weights = {name: values.copy() for name, values in followed[0].before.items()}
    _, gradients = loss_and_gradients(weights, BATCH)
    for name, values in weights.items():
        steepest = np.unravel_index(np.abs(gradients[name]).argmax(), values.shape)
        start, losses = values[steepest], []
        for side in (start + 1e-6, start - 1e-6):
            values[steepest] = side
            losses.append(loss_and_gradients(weights, BATCH)[0])
        values[steepest] = start
        slope = (losses[0] - losses[1]) / 2e-6
        assert slope == pytest.approx(gradients[name][steepest], rel=1e-6), name


def test_steps_are_those_of_numpy(followed: list[Step]) -> None:
    for step in followed:
        assert step.loss == pytest.approx(step.their_loss, rel=1e-5)
        assert_changes(step, step.theirs)


def test_steps_in_parts_are_those_of_numpy() -> None:
    """Eight images in three parts, the dense layer's inputs too: the sums are cut unevenly."""
    for step in follow(trainer(BATCH, parts=3), BATCH, 3):
        assert step.loss == pytest.approx(step.their_loss, rel=1e-5)
        assert_changes(step, step.theirs)


def test_more_parts_than_images_are_as_many_as_images() -> None:
    (step,) = follow(trainer(ONE, parts=3), ONE, 1)
    assert step.loss == pytest.approx(step.their_loss, rel=1e-5)
    assert_changes(step, step.theirs)


def test_steps_are_those_of_keras(followed: list[Step], keras: Any) -> None:
    layers = keras.layers
    model = keras.Sequential([
        keras.Input((28, 28, 1)),
        layers.Conv2D(32, 5, padding="same", activation="relu"),
        layers.MaxPooling2D(),
        layers.Conv2D(64, 5, padding="same", activation="relu"),
        layers.MaxPooling2D(),
        layers.Flatten(),
        layers.Dense(1024, activation="relu"),
        layers.Dense(10),
    ])  # fmt: skip
    model.compile(
        keras.optimizers.Adam(LEARNING_RATE, beta_1=0.9, beta_2=0.999, epsilon=1e-8),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    pixels = BATCH.pixels[..., np.newaxis].astype(np.float32) / 255
    for step in followed:
        model.set_weights(list(step.before.values()))  # Adam's moments stay
        loss = model.train_on_batch(pixels, BATCH.labels)
        assert step.loss == pytest.approx(float(loss), rel=1e-5)
        theirs = dict(zip(step.before, model.get_weights(), strict=True))
        changes = {name: theirs[name] - before for name, before in step.before.items()}
        assert_changes(step, changes, times=2)  # both round


@pytest.fixture(scope="module")
def keras(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_BACKEND", "tensorflow")
        patch.setenv("KERAS_HOME", str(tmp_path_factory.mktemp("keras")))  # it writes there
        return pytest.importorskip("keras")


# Dropout


@pytest.mark.parametrize("rate", [0.25, 0.5])
def test_a_step_with_dropout_is_that_of_numpy(rate: float) -> None:
    """What was dropped shows in the weights: those behind a unit that is dropped do not move."""
    chosen = trainer(ONE, dropout_rate=rate)
    before = weights_of(chosen)
    (loss,) = chosen.advance(1)
    after = weights_of(chosen)
    moved = (after["output_weights"] != before["output_weights"]).any(axis=1)
    fires = hidden(before, ONE.pixels)[2][0] > 0
    assert not moved[~fires].any()
    deviation = sqrt(rate * (1 - rate) / fires.sum())
    assert 1 - moved[fires].mean() == pytest.approx(rate, abs=6 * deviation)

    their_loss, gradients = loss_and_gradients(before, ONE, moved / (1 - rate))
    assert loss == pytest.approx(their_loss, rel=1e-5)
    assert their_loss > 1  # else no gradient were left to hold anything against
    theirs, allowed = Adam().changes(gradients)
    assert_changes(Step(loss, before, after, their_loss, theirs, allowed), theirs)


# Scoring


@pytest.mark.parametrize("parts", [1, 3])
def test_scores_are_those_of_numpy(parts: int) -> None:
    chosen = trainer(BATCH, dropout_rate=0.5, parts=parts)
    chosen.advance(2)
    weights = weights_of(chosen)
    for split, images in (("test", TEST), ("validation", VALIDATION)):
        said, scores = shares(weights, images.pixels), chosen.evaluate(split)
        second, first = np.sort(said, axis=1)[:, -2:].T
        assert (first - second).min() > 1e-5  # nowhere does rounding choose the digit
        assert np.array_equal(scores.label, said.argmax(axis=1))
        # float16 keeps a share to 2^-11 of itself.
        np.testing.assert_allclose(scores.probability, first, rtol=1e-3)
        assert scores.accuracy == np.mean(said.argmax(axis=1) == images.labels)


# bfloat16


@pytest.mark.parametrize("parts", [1, 3])
def test_a_step_in_bfloat16_is_near_and_keeps_float32_weights(
    followed: list[Step], parts: int
) -> None:
    """Each rounding errs by up to 2^-9, so sums of many by less than some percent of their size."""
    chosen = trainer(BATCH, precision="bfloat16", parts=parts)
    assert {values.dtype for values in chosen.weights().values()} == {np.dtype(np.float32)}
    exact = followed[0]
    for name, values in weights_of(chosen).items():
        assert np.array_equal(values, exact.before[name]), name  # the same first weights
    (loss,) = chosen.advance(1)
    assert loss == pytest.approx(exact.their_loss, rel=0.03)
    assert loss != exact.loss  # it is not float32 by another name
    assert {values.dtype for values in chosen.weights().values()} == {np.dtype(np.float32)}

    # The first step of Adam goes by the gradient's sign: right wherever it is no small one.
    _, gradients = loss_and_gradients(exact.before, BATCH)
    for name, after in weights_of(chosen).items():
        change = after - exact.before[name]
        large = np.abs(gradients[name]) > 0.1 * np.abs(gradients[name]).max()
        wrong = np.abs(change - exact.theirs[name]) > 0.01 * LEARNING_RATE
        assert wrong[large].mean() < 0.01, name
