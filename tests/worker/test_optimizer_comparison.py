"""Optimizers on losses with a known minimum, and briefly on real digits."""

from __future__ import annotations

import math
from unittest import mock

import numpy as np
import numpy.typing as npt
import pytest

from mnist_bench.data import mnist
from mnist_bench.data.dataset import Source
from mnist_bench.results.experiments import METHODS, LossCurve, OptimizerComparison
from mnist_bench.worker.experiments import optimizer_comparison
from mnist_bench.worker.experiments.optimizer_comparison import (
    RATES,
    best_curve,
    measure,
    next_point,
    rate_search,
    train_curve,
)

LONG = 30.0
"""A time limit that no training here reaches."""


class QuadraticLoss:
    """A quadratic loss: half the mean over images of (w - image)ᵀ A (w - image).

    Its minimum is the images' mean. It counts passes and records the order of samples. With a
    clock, a pass takes 1 s, an update 0.1 s, and scoring 1,000 s.
    """

    def __init__(
        self, clock: list[float] | None = None, *, curvature: tuple[float, ...] = (1.0, 9.0)
    ) -> None:
        self.clock = [0.0] if clock is None else clock
        self.images_2d = np.random.default_rng(0).standard_normal((20, 2)).astype(np.float32)
        self.curvature = np.array(curvature, np.float32)
        self.position = np.array([4.0, -3.0], np.float32)
        self.passes = 0
        self.order: list[int] = []

    @property
    def images(self) -> int:
        return len(self.images_2d)

    def weights(self) -> npt.NDArray[np.float32]:
        return self.position.copy()

    def set_weights(self, weights: npt.ArrayLike) -> None:
        self.position = np.asarray(weights, np.float32)

    def loss(self) -> float:
        difference = (self.position - self.images_2d).astype(np.float64)
        return float((difference**2 * self.curvature).sum(axis=1).mean() / 2)

    def loss_and_gradient(self) -> tuple[float, npt.NDArray[np.float32]]:
        self.passes += 1
        self.clock[0] += 1.0
        return self.loss(), self.curvature * (self.position - self.images_2d.mean(axis=0))

    def apply_updates(self, batches: npt.NDArray[np.int32], learning_rate: float) -> None:
        self.clock[0] += 0.1 * len(batches)
        for batch in batches:
            self.order += batch.tolist()
            center = self.images_2d[batch].mean(axis=0)
            self.position = self.position - np.float32(learning_rate) * self.curvature * (
                self.position - center
            )

    def score(self) -> tuple[float, float]:
        self.clock[0] += 1_000.0
        return self.loss(), 0.5


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A fake clock that the loss advances."""
    now = [0.0]
    monkeypatch.setattr(optimizer_comparison.time, "perf_counter", lambda: now[0])
    return now


# The methods


def test_full_batches_follow_equation_1(clock: list[float]) -> None:
    loss_function = QuadraticLoss(clock)
    initial, lowest = loss_function.weights(), loss_function.images_2d.mean(axis=0)
    curve = train_curve(loss_function, "full batch", 0.1, 0, seconds=6.0)
    least = QuadraticLoss()
    least.set_weights(lowest)
    factors = np.array([0.9, 0.1])  # 1 - rate · curvature
    expected = [
        least.loss()
        + float((((initial - lowest) * factors**k) ** 2 * loss_function.curvature).sum() / 2)
        for k in range(7)
    ]
    passes = [point.samples_seen // 20 for point in curve.points]
    assert passes == [0, 3, 4, 5, 6], "untrained, at least 50, 71 and 100 samples, and the last"
    losses = [point.loss for point in curve.points]
    assert losses == pytest.approx([expected[k] for k in passes], rel=1e-4)


def test_l_bfgs_finds_the_minimum() -> None:
    loss_function = QuadraticLoss(curvature=(1.0, 900.0))
    lowest = loss_function.images_2d.mean(axis=0)
    curve = train_curve(loss_function, "L-BFGS", None, 0, LONG)
    least = QuadraticLoss(curvature=(1.0, 900.0))
    least.set_weights(lowest)
    assert curve.ended == "converged"
    assert curve.points[-1].loss == pytest.approx(least.loss(), rel=1e-5)
    assert curve.points[-1].samples_seen == 20 * loss_function.passes, "line searches count"
    assert loss_function.passes < 100


@pytest.mark.parametrize("passes", range(1, 10))
def test_l_bfgs_stops_at_the_time_limit_with_its_last_accepted_step(
    passes: int, clock: list[float]
) -> None:
    loss_function = QuadraticLoss(clock, curvature=(3.0, 2.0))
    curve = train_curve(loss_function, "L-BFGS", None, 0, seconds=passes)
    assert (curve.ended, loss_function.passes) == ("time", passes)
    assert curve.points[-1].samples_seen == 20 * passes
    losses = [point.loss for point in curve.points]
    assert losses == sorted(losses, reverse=True)


def test_single_samples_follow_equation_2(clock: list[float]) -> None:
    loss_function = QuadraticLoss(clock)
    by_hand = QuadraticLoss()
    curve = train_curve(loss_function, "single samples", 0.05, 3, seconds=6.0)
    assert sorted(loss_function.order[:20]) == list(range(20)), "each image once per epoch"
    assert loss_function.order[:20] != loss_function.order[20:40]
    for image in loss_function.order:
        by_hand.apply_updates(np.array([[image]], np.int32), 0.05)
    assert curve.points[-1].loss == pytest.approx(by_hand.loss(), rel=1e-5)
    assert curve.points[-1].samples_seen == len(loss_function.order)
    assert [point.samples_seen for point in curve.points] == [0, 50, 71]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_timed_without_scoring_and_restores_the_weights(
    method: str, clock: list[float]
) -> None:
    loss_function, first = QuadraticLoss(clock), QuadraticLoss()
    curve = train_curve(loss_function, method, None if method == "L-BFGS" else 0.05, 0, seconds=8.0)
    assert (loss_function.weights() == first.weights()).all()
    assert (curve.points[0].loss, curve.points[0].seconds) == (first.loss(), 0)
    assert 4 < curve.points[-1].seconds < 30
    samples = [point.samples_seen for point in curve.points]
    assert len(samples) > 2
    assert samples == sorted(set(samples))


@pytest.mark.parametrize("method", ["single samples", "full batch"])
def test_a_non_finite_loss_ends_the_curve(method: str, clock: list[float]) -> None:
    with np.errstate(over="ignore", invalid="ignore"):
        curve = train_curve(QuadraticLoss(clock), method, 1e6, 0, seconds=50.0)
    assert curve.ended == "diverged"
    assert all(math.isfinite(point.loss) for point in curve.points)


def test_next_points() -> None:
    assert [next_point(n) for n in (0, 49, 50, 71, 100, 141)] == [50, 50, 71, 100, 141, 200]
    for samples_seen in range(0, 10**6, 997):
        assert samples_seen < next_point(samples_seen) <= max(50, 1.5 * samples_seen)


# The best rate


def test_the_rate_with_the_lowest_final_loss_is_chosen(clock: list[float]) -> None:
    rates = (0.01, 0.1, 0.3, 1e30)  # 1 - 0.3 · 9 is less than -1: it diverges, as larger ones do
    with np.errstate(over="ignore", invalid="ignore"):
        curves = [train_curve(QuadraticLoss(clock), "full batch", rate, 0, 9.0) for rate in rates]
    assert best_curve(curves).learning_rate == 0.1
    assert best_curve(curves[3:] * 2) is curves[3], "the first if all diverged"
    found = rate_search(curves)
    assert tuple(trial.learning_rate for trial in found.tried) == rates
    assert [trial.loss is None for trial in found.tried] == [False, False, False, True]
    assert found.tried[1].loss == best_curve(curves).points[-1].loss < found.tried[0].loss
    diverged = found.tried[3]
    assert (diverged.loss, diverged.samples_seen, diverged.seconds) == (None, 60, 3.0)
    assert found.seconds == 9.0 * 3 + 3.0


# Real digits


@pytest.fixture(scope="module")
def found(sample: Source) -> OptimizerComparison:
    """A fifth of a second a curve, of ten."""
    with mock.patch.object(mnist, "load", wraps=mnist.load) as load:
        result = measure(sample, shards=1, seed=1, seconds=2.3)
    load.assert_called_once_with(sample, with_test=False)  # the test images are never loaded
    return result


def test_all_methods_start_from_the_same_loss(found: OptimizerComparison) -> None:
    assert [curve.method for curve in found.curves] == [*METHODS]
    assert len({curve.points[0].loss for curve in found.curves}) == 1
    assert all(curve.points[0].samples_seen == 0 for curve in found.curves)
    assert (found.training_images, found.loss_images) == (4_000, 4_000)
    assert (found.validation_images, found.parameters) == (500, 7_858)
    assert found.seconds_a_curve == pytest.approx(0.2)


def test_every_method_uses_its_best_rate(found: OptimizerComparison) -> None:
    curves = {curve.method: curve for curve in found.curves}
    assert [each.method for each in found.searches] == [*RATES]
    assert set(RATES) == {*METHODS} - {"L-BFGS"}
    for each in found.searches:
        losses = {t.learning_rate: t.loss for t in each.tried if t.loss is not None}
        best = curves[each.method]
        assert [t.learning_rate for t in each.tried] == [*RATES[each.method]]
        assert losses[best.learning_rate] == best.points[-1].loss == min(losses.values())
    single = curves["single samples"]
    assert single.points[-1].loss < single.points[0].loss
    assert all(0 <= point.validation_accuracy <= 1 for point in single.points)


def test_losses_depend_only_on_the_seed(found: OptimizerComparison, sample: Source) -> None:
    again = measure(sample, shards=1, seed=1, seconds=1.0)

    def losses(curve: LossCurve) -> dict[int, float]:
        return {point.samples_seen: point.loss for point in curve.points}

    for one, other in zip(found.curves, again.curves, strict=True):
        both = losses(one).keys() & losses(other).keys()
        same_rate = one.learning_rate == other.learning_rate
        assert all(losses(one)[n] == losses(other)[n] for n in both if same_rate or not n)
