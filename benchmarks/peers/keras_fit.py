"""Keras as its documentation shows it: `compile`, `fit` on NumPy arrays, `evaluate`."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from contenders import BATCH_SIZE, Task, flat_and_scaled

from mnist_bench.data import mnist
from mnist_bench.data.dataset import Images
from mnist_bench.scenarios.hyperparameters import PaperCnnHyperparameters

SETTINGS = (
    "TensorFlow backend, float32, defaults of `fit`, threads and Adam but for its epsilon of "
    "1e-8, no progress bar"
)
_SCORED_AT_ONCE = (32, 500, 1_000)
"""Batch sizes of an evaluation; 32 is the default of `evaluate`."""


class KerasFit:
    """The network as a Keras model; images are stored as scaled float32 arrays."""

    settings = f"{SETTINGS}; scored by `evaluate`"

    def __init__(self, task: Task) -> None:
        import keras

        keras.utils.set_random_seed(task.seed)
        dataset = mnist.load(task.source)
        self._train = (scaled(dataset.train), dataset.train.labels)
        self._test = (scaled(dataset.test_images), dataset.test_images.labels)
        self._model = compiled(PaperCnnHyperparameters())
        self.ways: dict[str, Callable[[], float]] = {
            f"{count:,} at once": lambda count=count: self._accuracy(count)  # type: ignore[misc]
            for count in _SCORED_AT_ONCE
        }

    def train(self, stops: Sequence[int], reached: Callable[[], None]) -> None:
        """Train to the last stop in one call of `fit`, since each call starts a new epoch."""
        import keras

        remaining = list(stops)
        done = itertools.count(1)

        def after_batch(batch: int, logs: Any) -> None:  # noqa: ARG001  # Keras's names
            if next(done) in remaining[:1]:
                remaining.pop(0)
                reached()

        epoch_steps = len(self._train[1]) // BATCH_SIZE
        self._model.fit(
            *self._train,
            batch_size=BATCH_SIZE,
            epochs=-(-stops[-1] // epoch_steps),
            steps_per_epoch=min(stops[-1], epoch_steps),
            verbose=0,
            callbacks=[keras.callbacks.LambdaCallback(on_train_batch_end=after_batch)],
        )

    def _accuracy(self, images_at_once: int) -> float:
        metrics = self._model.evaluate(
            *self._test, batch_size=images_at_once, verbose=0, return_dict=True
        )
        return float(metrics["accuracy"])


def scaled(images: Images) -> npt.NDArray[np.float32]:
    """float32 (n, 28, 28, 1) in [0, 1]."""
    return flat_and_scaled(images).reshape(-1, 28, 28, 1)


def compiled(hyperparameters: PaperCnnHyperparameters) -> Any:
    """The compiled model."""
    import keras

    layers = keras.layers

    def start() -> dict[str, Any]:
        weights = keras.initializers.TruncatedNormal(stddev=0.1)
        return {"kernel_initializer": weights, "bias_initializer": keras.initializers.Constant(0.1)}

    def convolution(filters: int, side: int) -> Any:
        return layers.Conv2D(filters, side, padding="same", activation="relu", **start())

    model = keras.Sequential(
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
    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate=hyperparameters.learning_rate, epsilon=1e-8),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def prepare(_threads: int) -> None:
    """Import Keras, with its default threads."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    import keras  # noqa: F401


make = KerasFit
