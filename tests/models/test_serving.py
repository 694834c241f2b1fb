"""Networks as MLflow models: loaded from saved weights, they predict as before."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from fakes import random_images

from mnist_bench.core.limits import Precision
from mnist_bench.models.networks import NETWORKS
from mnist_bench.models.serving import _load_pyfunc
from mnist_bench.scenarios.hyperparameters import (
    AnyNetworkHyperparameters,
    FullyConnectedHyperparameters,
    Lenet5Hyperparameters,
    PaperCnnHyperparameters,
)

PIXELS = random_images(501, seed=4).pixels  # one more than at once


def save(folder: Path, **described: object) -> None:
    (folder / "network.json").write_text(json.dumps(described), encoding="utf-8")


@pytest.mark.parametrize(
    ("model", "hyperparameters", "precision"),
    [
        ("paper-cnn", PaperCnnHyperparameters(dense_units=16, average_decay=0.9), "float32"),
        (
            "paper-cnn",
            PaperCnnHyperparameters(dense_units=16, batch_normalization=True),
            "bfloat16",
        ),
        ("fully-connected", FullyConnectedHyperparameters(), "float32"),
        ("lenet-5", Lenet5Hyperparameters(), "float32"),
    ],
    ids=["averaged", "normalized bfloat16", "fully connected", "LeNet-5"],
)
def test_loaded_network_predicts_as_the_saved_one(
    tmp_path: Path, model: str, hyperparameters: AnyNetworkHyperparameters, precision: Precision
) -> None:
    network = NETWORKS[type(hyperparameters)](7, hyperparameters, precision)
    np.savez(tmp_path / "weights.npz", **network.weights())
    save(tmp_path, model=model, hyperparameters=hyperparameters.model_dump(), precision=precision)
    loaded = _load_pyfunc(str(tmp_path))
    found = loaded.predict(PIXELS)
    assert (found.shape, found.dtype) == ((501, 10), np.float32)
    assert found.sum(axis=1) == pytest.approx(1, abs=1e-5)
    expected = tf.nn.softmax(network.logits(tf.constant(PIXELS[:500]))).numpy()
    assert np.array_equal(found[:500], expected)
    assert loaded.predict(PIXELS[:0]).shape == (0, 10)


def test_model_without_weights_is_refused(tmp_path: Path) -> None:
    save(tmp_path, model="svm-rbf", hyperparameters={}, precision="float32")
    with pytest.raises(TypeError, match="svm-rbf has no weights"):
        _load_pyfunc(str(tmp_path))
