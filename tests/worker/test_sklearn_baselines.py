"""scikit-learn baselines, compared with results by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from mnist_bench.data.dataset import Dataset, Images
from mnist_bench.scenarios.hyperparameters import (
    AnyFittedHyperparameters,
    LogisticHyperparameters,
    NeighboursHyperparameters,
    SvmHyperparameters,
)
from mnist_bench.worker import sklearn_baselines
from mnist_bench.worker.sklearn_baselines import Baseline


def images(*shades: tuple[int, int]) -> Images:
    """Uniform images with their digit, whose distances are those of their shades."""
    pixels = [np.full((28, 28), shade, np.uint8) for shade, _ in shades]
    return Images(np.stack(pixels), np.array([digit for _, digit in shades], np.uint8))


LINE = images(*((shade, shade // 50) for shade in range(0, 250, 10)))
"""Five digits, 0 to 4, with five shades each."""
QUERIES = images((2, 0), (46, 1), (104, 2), (149, 2), (201, 4), (249, 4))
"""46 is nearest to 50, a 1; 149 to 150, a 3: the fourth label is wrong."""
DATASET = Dataset(train=LINE, validation=QUERIES, test=images((0, 0), (240, 3)))


def fitted(
    hyperparameters: AnyFittedHyperparameters, seed: int = 0, dataset: Dataset = DATASET
) -> Baseline:
    baseline = Baseline(dataset, hyperparameters, seed, threads=2)
    baseline.advance(1)
    return baseline


@pytest.mark.parametrize(
    ("neighbours", "probabilities"),
    # Neighbours of 46: 50, 40 and 60, two of them a 1; of 104: 100, 110 and 90.
    [(1, [1] * 6), (3, [1, 2 / 3, 2 / 3, 2 / 3, 2 / 3, 1])],
)
def test_neighbours_vote_by_hand(neighbours: int, probabilities: list[float]) -> None:
    hyperparameters = NeighboursHyperparameters(train_images=25, neighbours=neighbours)
    scores = fitted(hyperparameters).evaluate("validation")
    assert scores.label.tolist() == [0, 1, 2, 3, 4, 4]
    assert scores.probability.tolist() == np.array(probabilities, np.float16).tolist()
    assert (scores.label.dtype, scores.probability.dtype) == (np.uint8, np.float16)
    assert scores.accuracy == 5 / 6


@pytest.mark.parametrize(
    "hyperparameters",
    [
        SvmHyperparameters(train_images=25, C=100.0, gamma=1.0),
        LogisticHyperparameters(train_images=25, C=1e6, max_iterations=5_000),
    ],
)
def test_separable_images_are_classified(hyperparameters: AnyFittedHyperparameters) -> None:
    dataset = Dataset(train=LINE, validation=LINE, test=DATASET.test)
    baseline = fitted(hyperparameters, dataset=dataset)
    assert baseline.evaluate("validation").accuracy >= 0.9
    assert baseline.evaluate("test").accuracy == 0.5  # 240 is a 4, labeled as a 3


def test_a_support_vector_machine_gives_no_probability() -> None:
    scores = fitted(SvmHyperparameters(train_images=25)).evaluate("test")
    assert scores.probability.shape == (2,)
    assert np.isnan(scores.probability).all()


def test_a_regression_gives_the_probability_of_its_digit() -> None:
    baseline = fitted(LogisticHyperparameters(train_images=25))
    scores = baseline.evaluate("test")
    rows = np.stack([np.zeros(784), np.full(784, 240 / 255)]).astype(np.float32)
    probabilities = baseline._estimator.predict_proba(rows)
    assert scores.label.tolist() == probabilities.argmax(axis=1).tolist()
    assert scores.probability == pytest.approx(probabilities.max(axis=1), abs=1e-3)
    assert 1 / 5 < scores.probability[0] < 1


def test_chunked_prediction_agrees_with_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    baseline = fitted(SvmHyperparameters(train_images=25, C=100.0, gamma=1.0))
    whole = baseline.evaluate("validation").label
    monkeypatch.setattr(sklearn_baselines, "_SVM_CHUNK_IMAGES", 4)
    assert baseline.evaluate("validation").label.tolist() == whole.tolist()
    assert (
        whole.tolist()
        == baseline._estimator.predict(sklearn_baselines._flatten_images(QUERIES.pixels)).tolist()
    )


def test_exactly_one_step_is_allowed() -> None:
    dataset = replace(DATASET, test=None)
    baseline = Baseline(dataset, NeighboursHyperparameters(train_images=25), 0, threads=1)
    with pytest.raises(ValueError, match="one step"):
        baseline.advance(2)
    assert baseline.step == 0
    losses = baseline.advance(1)
    assert (losses.dtype, losses.shape, np.isnan(losses).all()) == (np.float32, (1,), True)
    assert (baseline.step, baseline.weights()) == (1, {})
    with pytest.raises(ValueError, match="one step"):
        baseline.advance(1)
    with pytest.raises(KeyError):  # the test split was not loaded
        baseline.evaluate("test")


def sampled(seed: int, count: int) -> npt.NDArray[np.intp]:
    return sklearn_baselines._sample_indices(25, count, seed)


def test_the_seed_selects_the_images_if_not_all_are_used() -> None:
    assert sampled(3, 10).tolist() == sampled(3, 10).tolist() != sampled(4, 10).tolist()
    assert sampled(3, 10).tolist() == sorted(set(sampled(3, 10).tolist()))
    assert sampled(3, 25).tolist() == sampled(4, 25).tolist() == list(range(25))
    baseline = fitted(NeighboursHyperparameters(train_images=10, neighbours=1), seed=3)
    assert baseline._estimator.n_samples_fit_ == 10
