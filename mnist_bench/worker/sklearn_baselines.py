"""scikit-learn baselines: support vector machine, logistic regression, k-nearest neighbours.

Each is fitted in one step, on one row of 784 float32 numbers per image; scikit-learn computes in
double precision where the method requires it.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC

from mnist_bench.data.dataset import Dataset
from mnist_bench.measurement.timing import median_seconds
from mnist_bench.results.run import Split
from mnist_bench.scenarios.hyperparameters import (
    AnyFittedHyperparameters,
    LogisticHyperparameters,
    NeighboursHyperparameters,
    SvmHyperparameters,
)
from mnist_bench.worker.scores import Scores, scores_of

_SVM_CACHE_MEBIBYTES = 500
"""Cache of kernel values; with scikit-learn's default of 200 many are recomputed."""
_SVM_CHUNK_IMAGES = 500
"""Images per prediction task of a thread."""
_CALIBRATION_SIZE = 1024
"""Rows and columns of the calibration's matrices: 2.1 GFLOP per product."""


class Baseline:
    """A scikit-learn method as a training of one step.

    The result is deterministic, bit for bit, on the same machine with the same threads.

    Args:
        dataset: The splits.
        hyperparameters: Their type selects the method.
        seed: Selects the training images if not all are used; has no other effect.
        threads: Used where the method can; the fit of a support vector machine uses one.
    """

    def __init__(
        self, dataset: Dataset, hyperparameters: AnyFittedHyperparameters, seed: int, threads: int
    ) -> None:
        self.step = 0
        self._threads = threads
        selected = _sample_indices(len(dataset.train.labels), hyperparameters.train_images, seed)
        self._rows = _flatten_images(dataset.train.pixels[selected])
        self._labels = dataset.train.labels[selected]
        self._scored = dataset.scored
        self._estimator = _estimator(hyperparameters)

    def advance(self, steps: int) -> npt.NDArray[np.float32]:
        """Fit the method, which is its only step.

        Returns:
            NaN, float32 (1,): the methods have no loss that compares with a network's.
        """
        if steps != 1 or self.step:
            raise ValueError("a method that is fitted at once has exactly one step")
        self._estimator.fit(self._rows, self._labels)
        self.step = 1
        return np.full(1, np.nan, np.float32)

    def evaluate(self, split: Split) -> Scores:
        """Score every image of a split; a support vector machine's probabilities are NaN."""
        images = self._scored[split]
        rows = _flatten_images(images.pixels)
        if isinstance(self._estimator, SVC):
            label = self._predict_in_chunks(rows)
            probability = np.full(len(label), np.nan, np.float16)
        else:
            # (n, digits in the training images)
            probabilities = self._estimator.predict_proba(rows)
            label = self._estimator.classes_[probabilities.argmax(axis=1)]
            probability = probabilities.max(axis=1).astype(np.float16)
        return scores_of(label, probability, images.labels)

    def weights(self) -> dict[str, npt.NDArray[np.float32]]:
        """Empty: these methods have no weights to save."""
        return {}

    def _predict_in_chunks(self, rows: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
        """Digits predicted by the support vector machine, uint8 (n,).

        scikit-learn predicts on one thread, so the images are distributed over several threads.
        """
        chunks = np.array_split(rows, range(_SVM_CHUNK_IMAGES, len(rows), _SVM_CHUNK_IMAGES))
        with ThreadPoolExecutor(self._threads) as pool:
            digits: Iterable[npt.NDArray[np.uint8]] = pool.map(self._estimator.predict, chunks)
            return np.concatenate(list(digits))


def calibrate(threads: int) -> float:
    """Median seconds of a product of fixed matrices, after warm-up.

    Args:
        threads: Thread limit of BLAS; the product grows in proportion.
    """
    left = np.full((threads * _CALIBRATION_SIZE, _CALIBRATION_SIZE), 0.5, np.float32)
    right = np.full((_CALIBRATION_SIZE, _CALIBRATION_SIZE), 2.0, np.float32)
    return median_seconds(lambda: left @ right)


def _estimator(hyperparameters: AnyFittedHyperparameters) -> Any:
    match hyperparameters:
        case SvmHyperparameters(C=c, gamma=gamma):
            return SVC(kernel="rbf", C=c, gamma=gamma, cache_size=_SVM_CACHE_MEBIBYTES)
        case LogisticHyperparameters():
            return LogisticRegression(
                solver="lbfgs", C=hyperparameters.C, max_iter=hyperparameters.max_iterations
            )
        case NeighboursHyperparameters():
            # In 784 dimensions a tree search visits nearly every image anyway.
            return KNeighborsClassifier(hyperparameters.neighbours, algorithm="brute")


def _sample_indices(images: int, count: int, seed: int) -> npt.NDArray[np.intp]:
    """Sorted indices of `count` random images; all indices if `count` equals `images`."""
    return np.sort(np.random.default_rng(seed).choice(images, count, replace=False))


def _flatten_images(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Scale to [0, 1], one row per image: uint8 (n, 28, 28) to float32 (n, 784)."""
    return np.divide(pixels.reshape(len(pixels), -1), np.float32(255), dtype=np.float32)
