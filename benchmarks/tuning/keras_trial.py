"""One trial in Keras, as its documentation shows a training: `compile`, and one `fit`.

Started by `keras_loop.py` in a process of its own. Reads a `TrialTask` on standard input, prints a
`Scored` as its last line.
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
"""Hyperparameters that this program has; all others must be the paper's."""
_SCORED_AT_ONCE = 500
"""What was the fastest in benchmarks/peers."""


class TrialTask(Record):
    """What is to be trained.

    Attributes:
        source: The images, found and verified.
        hyperparameters: Of the network and its training.
        steps: Updates.
        scorings: Of the validation images, at equal distances, the last one at the end.
        seed: Of weights, batches and dropout.
    """

    source: Source
    hyperparameters: PaperCnnHyperparameters
    steps: int
    scorings: int
    seed: int


class Scored(Record):
    """What came of it.

    Attributes:
        validation_accuracies: In their order.
    """

    validation_accuracies: tuple[float, ...]


def main() -> None:
    """Serve one task."""
    task = TrialTask.model_validate_json(sys.stdin.readline())
    print(Scored(validation_accuracies=trained(task)).model_dump_json())


def trained(task: TrialTask) -> tuple[float, ...]:
    """Train, and score the validation images on the way."""
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
    """Without end: arrays that an epoch of `fit` leaves unfinished would cut the next one short."""
    import tensorflow as tf

    held = tf.data.Dataset.from_tensor_slices((_scaled(images), images.labels))
    shuffled = held.shuffle(len(images.labels)).repeat()
    return shuffled.batch(batch_size).prefetch(tf.data.AUTOTUNE)


def _scaled(images: Images) -> npt.NDArray[np.float32]:
    """float32 (n, 28, 28, 1) in [0, 1]."""
    return images.pixels[..., np.newaxis].astype(np.float32) / np.float32(255)


def _compiled(asked: PaperCnnHyperparameters) -> Any:
    import keras

    model = _network(asked)
    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate=asked.learning_rate, epsilon=1e-8),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def _network(asked: PaperCnnHyperparameters) -> Any:
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
            convolution(asked.conv1_filters, asked.conv1_kernel_size),
            layers.MaxPooling2D(2),
            convolution(asked.conv2_filters, asked.conv2_kernel_size),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(asked.dense_units, activation="relu", **start()),
            layers.Dropout(asked.dropout_rate),
            layers.Dense(10, **start()),
        ]
    )


if __name__ == "__main__":
    main()
