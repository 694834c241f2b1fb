"""A trained network as an MLflow model, which loads it by `_load_pyfunc`.

A saved model has a copy of this package, `core`, `data` and `scenarios`: import nothing else here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from mnist_bench.core.npz import load_npz
from mnist_bench.models.layers import LayeredNetwork
from mnist_bench.models.networks import NETWORKS
from mnist_bench.scenarios.hyperparameters import HYPERPARAMETERS, FittedHyperparameters

_IMAGES_AT_ONCE = 500
"""A whole test split at once would take gigabytes."""


class ServedNetwork:
    """What MLflow calls with images."""

    def __init__(self, network: LayeredNetwork) -> None:
        self._network = network

    def predict(
        self, pixels: npt.NDArray[np.uint8], params: Mapping[str, object] | None = None
    ) -> npt.NDArray[np.float32]:
        """Probability of each digit, float32 (n, 10), of images of shape (n, 28, 28).

        Args:
            params: MLflow's; there are none.
        """
        del params
        pieces = [pixels[i : i + _IMAGES_AT_ONCE] for i in range(0, len(pixels), _IMAGES_AT_ONCE)]
        found = [tf.nn.softmax(self._network.logits(tf.constant(each))).numpy() for each in pieces]
        return np.concatenate([np.empty((0, 10), np.float32), *found])


def _load_pyfunc(folder: str) -> ServedNetwork:
    described = json.loads(Path(folder, "network.json").read_text(encoding="utf-8"))
    hyperparameters = HYPERPARAMETERS[described["model"]].model_validate(
        described["hyperparameters"]
    )
    if isinstance(hyperparameters, FittedHyperparameters):
        raise TypeError(f"{described['model']} has no weights")
    network = NETWORKS[type(hyperparameters)](0, hyperparameters, described["precision"])
    network.set_weights(load_npz(Path(folder, "weights.npz").read_bytes()))
    return ServedNetwork(network)
