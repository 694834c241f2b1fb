"""Keras as its documentation shows it: `compile`, `fit` on NumPy arrays, `evaluate`."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from measured import BATCH_SIZE, Task

from mnist_bench.data.dataset import Dataset, Images

_SCORED_AT_ONCE = (32, 500, 1_000)
"""Batch sizes of an evaluation; 32 is the default of `evaluate`."""


class KerasFit:
    """The network as a Keras model.

    Args:
        dataset: Images; stored as scaled float32 arrays, as the documentation's examples do.
        seed: Of weights, batches and dropout.
    """

    settings = (
        "TensorFlow backend, float32, defaults of `fit`, threads and Adam but for its epsilon of "
        "1e-8, no progress bar; scored by `evaluate`"
    )

    def __init__(self, dataset: Dataset, seed: int) -> None:
        import keras

        keras.utils.set_random_seed(seed)
        self._train = (_scaled(dataset.train), dataset.train.labels)
        self._test = (_scaled(dataset.test_images), dataset.test_images.labels)
        self._model = _model()
        self._model.compile(
            optimizer=keras.optimizers.Adam(learning_rate=1e-3, epsilon=1e-8),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )

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

    @property
    def ways(self) -> Mapping[str, Callable[[], float]]:
        """`evaluate` by batch size."""
        return {
            f"{count:,} at once": lambda count=count: self._accuracy(count)  # type: ignore[misc]
            for count in _SCORED_AT_ONCE
        }

    def _accuracy(self, images_at_once: int) -> float:
        metrics = self._model.evaluate(
            *self._test, batch_size=images_at_once, verbose=0, return_dict=True
        )
        return float(metrics["accuracy"])


def _scaled(images: Images) -> npt.NDArray[np.float32]:
    """float32 (n, 28, 28, 1) in [0, 1]."""
    return images.pixels[..., np.newaxis].astype(np.float32) / np.float32(255)


def _model() -> Any:
    import keras

    layers = keras.layers

    def start() -> dict[str, Any]:
        weights = keras.initializers.TruncatedNormal(stddev=0.1)
        return {"kernel_initializer": weights, "bias_initializer": keras.initializers.Constant(0.1)}

    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(32, 5, padding="same", activation="relu", **start()),
            layers.MaxPooling2D(2),
            layers.Conv2D(64, 5, padding="same", activation="relu", **start()),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(1024, activation="relu", **start()),
            layers.Dropout(0.5),
            layers.Dense(10, **start()),
        ]
    )


def prepare(_threads: int) -> None:
    """Import Keras, with its default threads."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    import keras  # noqa: F401


def make(task: Task, dataset: Dataset) -> KerasFit:
    """The compiled model."""
    return KerasFit(dataset, task.seed)
