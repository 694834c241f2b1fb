"""Techniques that are no networks, of scikit-learn: support vectors, regression, neighbours.

Each is fitted in one step, single images in one row of 784 numbers. The images are handed over as
float32; scikit-learn computes in double precision where its method asks for that.
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
from threadpoolctl import threadpool_limits

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
"""Of kernel values that are kept; scikit-learn's own 200 make it compute them over again."""
_SVM_SCORED_AT_ONCE = 500
"""Images that a thread scores before it takes the next ones."""
_CALIBRATED_SIZE = 1024
"""Rows and columns of the calibration's matrices: 2.1 GFLOP a product."""


class Baseline:
    """One method, before and after its fit: a training of one step.

    The same images give the same result, bit for bit, on the same machine with the same threads.
    The seed draws the images where not all are used, and is used for nothing else.

    Args:
        dataset: Images.
        hyperparameters: Which method, and what may be chosen of it.
        seed: Draws the images.
        threads: As many at a time compute, where the method can use several; the fit of a support
            vector machine can't.
    """

    def __init__(
        self, dataset: Dataset, hyperparameters: AnyFittedHyperparameters, seed: int, threads: int
    ) -> None:
        self.step = 0
        self._threads = threads
        chosen = _drawn(len(dataset.train.labels), hyperparameters.train_images, seed)
        self._rows = _rows(dataset.train.pixels[chosen])
        self._labels = dataset.train.labels[chosen]
        self._scored = dataset.scored
        self._estimator = _estimator(hyperparameters)

    def advance(self, steps: int) -> npt.NDArray[np.float32]:
        """Fit: the one step that there is.

        Returns:
            NaN, float32 (1,): the methods have no loss in common with networks.

        Raises:
            ValueError: Another number of steps, or a second fit.
        """
        if steps != 1 or self.step:
            raise ValueError("a method that is fitted at once has one step")
        self._estimator.fit(self._rows, self._labels)
        self.step = 1
        return np.full(1, np.nan, np.float32)

    def evaluate(self, split: Split) -> Scores:
        """Score every image of a split; a support vector machine has no probabilities: NaN."""
        images = self._scored[split]
        rows = _rows(images.pixels)
        if isinstance(self._estimator, SVC):
            label = self._voted(rows)
            probability = np.full(len(label), np.nan, np.float16)
        else:
            shares = self._estimator.predict_proba(rows)  # (n, digits that it was fitted to)
            label = self._estimator.classes_[shares.argmax(axis=1)]
            probability = shares.max(axis=1).astype(np.float16)
        return scores_of(label, probability, images.labels)

    def weights(self) -> dict[str, npt.NDArray[np.float32]]:
        """Nothing: no scenario can ask for them."""
        return {}

    def _voted(self, rows: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
        """Digits by the votes of the machine's 45 pairs: uint8 (n,).

        It scores on one thread; several of ours share the images.
        """
        pieces = np.array_split(rows, range(_SVM_SCORED_AT_ONCE, len(rows), _SVM_SCORED_AT_ONCE))
        with ThreadPoolExecutor(self._threads) as pool:
            digits: Iterable[npt.NDArray[np.uint8]] = pool.map(self._estimator.predict, pieces)
            return np.concatenate(list(digits))


def limit(threads: int) -> None:
    """Hold the libraries' own threads, of BLAS and OpenMP, to so many from now on."""
    threadpool_limits(threads)


def calibrate(threads: int) -> float:
    """Seconds of a fixed product of matrices, as large as it has threads; warmed up.

    Args:
        threads: That BLAS was held to.
    """
    left = np.full((threads * _CALIBRATED_SIZE, _CALIBRATED_SIZE), 0.5, np.float32)
    right = np.full((_CALIBRATED_SIZE, _CALIBRATED_SIZE), 2.0, np.float32)
    return median_seconds(lambda: left @ right)


def _estimator(asked: AnyFittedHyperparameters) -> Any:
    match asked:
        case SvmHyperparameters():
            return SVC(kernel="rbf", C=asked.C, gamma=asked.gamma, cache_size=_SVM_CACHE_MEBIBYTES)
        case LogisticHyperparameters():
            return LogisticRegression(solver="lbfgs", C=asked.C, max_iter=asked.max_iterations)
        case NeighboursHyperparameters():
            # A tree over 784 dimensions looks at nearly every image all the same.
            return KNeighborsClassifier(asked.neighbours, algorithm="brute")


def _drawn(images: int, count: int, seed: int) -> npt.NDArray[np.intp]:
    """Places of some images, rising; of all, whatever the seed."""
    return np.sort(np.random.default_rng(seed).choice(images, count, replace=False))


def _rows(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """From bytes to [0, 1], an image a row: uint8 (n, 28, 28) to float32 (n, 784)."""
    return np.divide(pixels.reshape(len(pixels), -1), np.float32(255), dtype=np.float32)
