"""One trial in Keras, trained as in its documentation: `compile` and one `fit`.

Started by `keras_loop.py`. Reads a `TrialTask` from standard input, prints a `Scored` as its last
line.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np
import numpy.typing as npt

from mnist_bench.core.records import Record
from mnist_bench.data import mnist
from mnist_bench.data.dataset import Images, Source
from mnist_bench.scenarios.hyperparameters import PaperCnnHyperparameters

SETTINGS = (
    "TensorFlow backend, float32, defaults of `fit`, threads and Adam but for its epsilon of 1e-8, "
    "no progress bar; batches by `tf.data`, shuffled over all images; validation by `fit` itself, "
    "500 images at once"
)
KNOWN = frozenset(
    {
        "learning_rate",
        "dropout_rate",
        "conv1_filters",
        "conv1_kernel_size",
        "conv2_filters",
        "conv2_kernel_size",
        "dense_units",
    }
)
"""Supported hyperparameters; all others must have the paper's values."""
_SCORED_AT_ONCE = 500
"""The fastest batch size in benchmarks/peers."""


class TrialTask(Record):
    """Task of a trial.

    Attributes:
        source: The images, found and verified.
        hyperparameters: Of the network and its training.
        steps: Step count.
        scorings: Number of validations, equally spaced, the last one at the end.
        seed: Of weights, batches and dropout.
    """

    source: Source
    hyperparameters: PaperCnnHyperparameters
    steps: int
    scorings: int
    seed: int


class Scored(Record):
    """Validation accuracies of a trial, in order."""

    validation_accuracies: tuple[float, ...]


def main() -> None:
    """Run one task."""
    task = TrialTask.model_validate_json(sys.stdin.readline())
    print(Scored(validation_accuracies=trained(task)).model_dump_json())


def trained(task: TrialTask) -> tuple[float, ...]:
    """Train with intermediate validations."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    import keras

    keras.utils.set_random_seed(task.seed)
    dataset = mnist.load(task.source, with_test=False)
    model = _compiled(task.hyperparameters)
    history = model.fit(
        _batches(dataset.train, task.hyperparameters.batch_size),
        epochs=task.scorings,
        steps_per_epoch=task.steps // task.scorings,
        validation_data=(_scaled(dataset.validation), dataset.validation.labels),
        validation_batch_size=_SCORED_AT_ONCE,
        verbose=0,
    )
    return tuple(map(float, history.history["val_accuracy"]))


def _batches(images: Images, batch_size: int) -> Any:
    """Endless batches: with finite arrays, an unfinished epoch of `fit` shortens the next one."""
    import tensorflow as tf

    examples = tf.data.Dataset.from_tensor_slices((_scaled(images), images.labels))
    shuffled = examples.shuffle(len(images.labels)).repeat()
    return shuffled.batch(batch_size).prefetch(tf.data.AUTOTUNE)


def _scaled(images: Images) -> npt.NDArray[np.float32]:
    """float32 (n, 28, 28, 1) in [0, 1]."""
    return images.pixels[..., np.newaxis].astype(np.float32) / np.float32(255)


def _compiled(hyperparameters: PaperCnnHyperparameters) -> Any:
    import keras

    model = _network(hyperparameters)
    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate=hyperparameters.learning_rate, epsilon=1e-8),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def _network(hyperparameters: PaperCnnHyperparameters) -> Any:
    import keras

    layers = keras.layers

    def start() -> dict[str, Any]:
        weights = keras.initializers.TruncatedNormal(stddev=0.1)
        return {"kernel_initializer": weights, "bias_initializer": keras.initializers.Constant(0.1)}

    def convolution(filters: int, side: int) -> Any:
        return layers.Conv2D(filters, side, padding="same", activation="relu", **start())

    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            convolution(hyperparameters.conv1_filters, hyperparameters.conv1_kernel_size),
            layers.MaxPooling2D(2),
            convolution(hyperparameters.conv2_filters, hyperparameters.conv2_kernel_size),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(hyperparameters.dense_units, activation="relu", **start()),
            layers.Dropout(hyperparameters.dropout_rate),
            layers.Dense(10, **start()),
        ]
    )


if __name__ == "__main__":
    main()
