"""The methods on hills whose lowest point is known, and all of them on real digits for a moment."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnist_bench.data import mnist
from mnist_bench.data.dataset import Source
from mnist_bench.results.experiments import METHODS, LossCurve, OptimizerComparison
from mnist_bench.worker.experiments import optimizer_comparison
from mnist_bench.worker.experiments.optimizer_comparison import (
    RATES,
    best,
    descended,
    measured,
    next_point,
    searched,
)

LONG = 30.0
"""Seconds that no hill here takes: passes end it."""


class Bowl:
    """A quadratic loss: half the mean over images of (w - image)ᵀ A (w - image).

    Its lowest point is the images' mean. It counts what it is asked.
    """

    def __init__(self, *, steepness: tuple[float, ...] = (1.0, 9.0)) -> None:
        self.centres = np.random.default_rng(0).standard_normal((20, 2)).astype(np.float32)
        self.steepness = np.array(steepness, np.float32)
        self.at = np.array([4.0, -3.0], np.float32)
        self.passes = 0
        self.order: list[int] = []

    @property
    def images(self) -> int:
        return len(self.centres)

    def weights(self) -> npt.NDArray[np.float32]:
        return self.at.copy()

    def take(self, weights: npt.ArrayLike) -> None:
        self.at = np.asarray(weights, np.float32)

    def loss(self) -> float:
        apart = (self.at - self.centres).astype(np.float64)
        return float((apart**2 * self.steepness).sum(axis=1).mean() / 2)

    def whole(self) -> tuple[float, npt.NDArray[np.float32]]:
        self.passes += 1
        return self.loss(), self.steepness * (self.at - self.centres.mean(axis=0))

    def descend(self, batches: npt.NDArray[np.int32], learning_rate: float) -> None:
        for batch in batches:
            self.order += batch.tolist()
            centre = self.centres[batch].mean(axis=0)
            self.at = self.at - np.float32(learning_rate) * self.steepness * (self.at - centre)

    def scored(self) -> tuple[float, float]:
        return self.loss(), 0.5


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that a hill moves on; nobody waits."""
    now = [0.0]
    monkeypatch.setattr(optimizer_comparison.time, "perf_counter", lambda: now[0])
    return now


class Timed(Bowl):
    """A pass takes a second, an update of single samples a tenth, and scoring a thousand."""

    def __init__(self, clock: list[float], **changes: object) -> None:
        super().__init__(**changes)
        self.clock = clock

    def whole(self) -> tuple[float, npt.NDArray[np.float32]]:
        self.clock[0] += 1.0
        return super().whole()

    def descend(self, batches: npt.NDArray[np.int32], learning_rate: float) -> None:
        self.clock[0] += 0.1 * len(batches)
        super().descend(batches, learning_rate)

    def scored(self) -> tuple[float, float]:
        self.clock[0] += 1_000.0
        return super().scored()


# The methods


def test_full_batches_follow_equation_1(clock: list[float]) -> None:
    hill = Timed(clock)
    first, lowest = hill.weights(), hill.centres.mean(axis=0)
    curve = descended(hill, "full batch", 0.1, 0, seconds=6.0)
    least = Bowl()
    least.take(lowest)
    shrunk = np.array([0.9, 0.1])  # 1 - rate · steepness
    expected = [
        least.loss() + float((((first - lowest) * shrunk**k) ** 2 * hill.steepness).sum() / 2)
        for k in range(7)
    ]
    passes = [point.samples_seen // 20 for point in curve.points]
    assert passes == [0, 3, 4, 5, 6], "untrained, 50, 71 and 100 samples or more, the last"
    got = [point.loss for point in curve.points]
    assert got == pytest.approx([expected[k] for k in passes], rel=1e-4)


def test_l_bfgs_finds_the_lowest_point() -> None:
    hill = Bowl(steepness=(1.0, 900.0))
    lowest = hill.centres.mean(axis=0)
    curve = descended(hill, "L-BFGS", None, 0, LONG)
    least = Bowl(steepness=(1.0, 900.0))
    least.take(lowest)
    assert curve.ended == "converged"
    assert curve.points[-1].loss == pytest.approx(least.loss(), rel=1e-5)
    assert curve.points[-1].samples_seen == 20 * hill.passes, "line searches count"
    assert hill.passes < 100


def test_l_bfgs_ends_when_time_is_over(clock: list[float]) -> None:
    hill = Timed(clock, steepness=(1.0, 900.0))
    curve = descended(hill, "L-BFGS", None, 0, seconds=4.0)
    assert (curve.ended, hill.passes) == ("time", 4)
    assert curve.points[-1].samples_seen == 80
    assert curve.points[-1].loss < curve.points[0].loss


def test_single_samples_follow_equation_2(clock: list[float]) -> None:
    hill = Timed(clock)
    by_hand = Bowl()
    curve = descended(hill, "single samples", 0.05, 3, seconds=6.0)
    assert sorted(hill.order[:20]) == list(range(20)), "each image once an epoch"
    assert hill.order[:20] != hill.order[20:40]
    for image in hill.order:
        by_hand.descend(np.array([[image]], np.int32), 0.05)
    assert curve.points[-1].loss == pytest.approx(by_hand.loss(), rel=1e-5)
    assert curve.points[-1].samples_seen == len(hill.order)
    assert [point.samples_seen for point in curve.points] == [0, 50, 71]


@pytest.mark.parametrize("method", METHODS)
def test_scoring_stands_outside_of_the_clock(method: str, clock: list[float]) -> None:
    rate = None if method == "L-BFGS" else 0.05
    curve = descended(Timed(clock), method, rate, 0, seconds=8.0)
    assert curve.points[0].seconds == 0
    assert 4 < curve.points[-1].seconds < 30
    assert len(curve.points) > 2


@pytest.mark.parametrize("method", METHODS)
def test_all_begin_and_end_at_the_first_weights(method: str, clock: list[float]) -> None:
    hill, first = Timed(clock), Bowl()
    curve = descended(hill, method, None if method == "L-BFGS" else 0.05, 0, seconds=5.0)
    assert (hill.weights() == first.weights()).all()
    assert curve.points[0].loss == first.loss()
    seen = [point.samples_seen for point in curve.points]
    assert seen == sorted(set(seen))


@pytest.mark.parametrize("method", ["single samples", "full batch"])
def test_a_loss_that_is_no_number_ends_the_curve(method: str, clock: list[float]) -> None:
    with np.errstate(over="ignore", invalid="ignore"):
        curve = descended(Timed(clock), method, 1e6, 0, seconds=50.0)
    assert curve.ended == "diverged"
    assert all(math.isfinite(point.loss) for point in curve.points)


@given(st.integers(0, 10**8))
def test_the_next_point_lies_ahead_but_not_far(samples_seen: int) -> None:
    point = next_point(samples_seen)
    assert samples_seen < point <= max(50, 1.5 * samples_seen)


def test_points_by_hand() -> None:
    assert [next_point(seen) for seen in (0, 49, 50, 71, 100, 141)] == [50, 50, 71, 100, 141, 200]


# The best rate


def test_the_rate_of_the_least_loss_is_kept(clock: list[float]) -> None:
    hill = Timed(clock)
    with np.errstate(over="ignore", invalid="ignore"):
        curves = [descended(hill, "full batch", r, 0, 5.0) for r in (0.01, 0.1, 0.3, 1e30)]
    # 1 - 0.3 · 9 is less than -1: with that rate and larger ones it goes up.
    assert best(curves).learning_rate == 0.1
    found = searched(curves)
    assert [each.learning_rate for each in found.tried] == [0.01, 0.1, 0.3, 1e30]
    assert [each.loss is None for each in found.tried] == [False, False, False, True]
    assert found.tried[1].loss == best(curves).points[-1].loss < found.tried[0].loss


def test_a_rate_that_diverged_has_its_price(clock: list[float]) -> None:
    with np.errstate(over="ignore", invalid="ignore"):
        curve = descended(Timed(clock), "full batch", 1e30, 0, seconds=9.0)
    (tried,) = searched([curve]).tried
    assert (tried.loss, tried.samples_seen, tried.seconds) == (None, 60, 3.0)
    assert searched([curve, curve]).seconds == 6.0


def test_where_all_diverged_the_first_stands(clock: list[float]) -> None:
    with np.errstate(over="ignore", invalid="ignore"):
        curves = [descended(Timed(clock), "full batch", r, 0, 5.0) for r in (1e30, 1e31)]
    assert best(curves) is curves[0]


def test_every_method_but_l_bfgs_has_rates() -> None:
    assert set(RATES) == {*METHODS} - {"L-BFGS"}
    assert all(list(rates) == sorted(set(rates)) for rates in RATES.values())


# Real digits


@pytest.fixture(scope="module")
def found(sample: Source) -> OptimizerComparison:
    return measured(sample, parts=1, seed=1, seconds=11.5)


def test_all_methods_from_one_beginning(found: OptimizerComparison, sample: Source) -> None:
    assert [curve.method for curve in found.curves] == [*METHODS]
    assert len({curve.points[0].loss for curve in found.curves}) == 1
    assert all(curve.points[0].samples_seen == 0 for curve in found.curves)
    assert (found.training_images, found.loss_images) == (4_000, 4_000)
    assert (found.validation_images, found.parameters) == (500, 7_858)
    assert found.seconds_a_curve == pytest.approx(1.0)


def test_each_takes_its_own_best_rate(found: OptimizerComparison) -> None:
    curves = {curve.method: curve for curve in found.curves}
    assert [each.method for each in found.searches] == [*RATES]
    for each in found.searches:
        losses = {t.learning_rate: t.loss for t in each.tried if t.loss is not None}
        kept = curves[each.method]
        assert [t.learning_rate for t in each.tried] == [*RATES[each.method]]
        assert losses[kept.learning_rate] == kept.points[-1].loss == min(losses.values())


def test_it_learns(found: OptimizerComparison) -> None:
    single = next(curve for curve in found.curves if curve.method == "single samples")
    assert single.points[-1].loss < single.points[0].loss
    assert all(0 <= point.validation_accuracy <= 1 for point in single.points)


def test_the_test_images_are_never_loaded(sample: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    honest = mnist.load

    def load(source: Source, *, with_test: bool = True) -> object:
        asked.append(with_test)
        return honest(source, with_test=with_test)

    monkeypatch.setattr(mnist, "load", load)
    measured(sample, parts=1, seed=1, seconds=0.001)
    assert asked == [False]


def test_losses_depend_on_the_seed_alone(found: OptimizerComparison, sample: Source) -> None:
    again = measured(sample, parts=1, seed=1, seconds=2.0)

    def told(curve: LossCurve) -> dict[int, float]:
        return {point.samples_seen: point.loss for point in curve.points}

    for one, other in zip(found.curves, again.curves, strict=True):
        both = told(one).keys() & told(other).keys()
        same_rate = one.learning_rate == other.learning_rate
        assert all(told(one)[seen] == told(other)[seen] for seen in both if same_rate or not seen)
