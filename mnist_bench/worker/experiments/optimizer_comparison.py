"""Claim 8: one network trained by single samples, mini-batches, full batches and L-BFGS.

All methods start from the same weights and minimize the same loss on the same images. Equations 1
and 2 of the paper (II.B) are taken literally: a constant factor times a gradient, no momentum.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import scipy.optimize

from mnist_bench.data import mnist
from mnist_bench.data.dataset import Source
from mnist_bench.results.experiments import (
    METHODS,
    LossCurve,
    LossPoint,
    Method,
    OptimizerComparison,
    RateSearch,
    RateTrial,
)
from mnist_bench.worker.experiments.loss_surface import LossSurface
from mnist_bench.worker.trainer import shuffled_batches

Vector: TypeAlias = np.ndarray[tuple[int], np.dtype[np.float64]]
"""SciPy's type of weights and gradients."""

RATES: dict[Method, tuple[float, ...]] = {
    "single samples": (0.003, 0.01, 0.03),
    "mini-batches of 50": (0.03, 0.1, 0.3),
    "full batch": (0.1, 0.3, 1.0),
}
"""Learning rates from which the best of each method is chosen; L-BFGS needs none. With three times
the largest, no method learned anything."""
_BATCH_SIZES: dict[Method, int] = {"single samples": 1, "mini-batches of 50": 50}
_CURVES_IN_BUDGET = 11.5
"""Total time as a multiple of one curve's: ten curves, and scoring."""
_UPDATES_PER_CALL = 200
"""Updates between two readings of the clock."""
_UNLIMITED = 10**9
"""Iteration limit that is never reached: time ends the training."""
_FIRST_POINT, _POINT_RATIO = 50, math.sqrt(2)
"""Samples before the first scored point, and the ratio from one point to the next."""


def measure(source: Source, shards: int, seed: int, seconds: float) -> OptimizerComparison:
    """Train with every method and its best learning rate; the test images are never loaded.

    Args:
        source: The images.
        shards: Pieces of a full batch that are computed concurrently.
        seed: Seed of the weights and of the order of the samples.
        seconds: Approximate total time, including rate searches and scoring.
    """
    dataset = mnist.load(source, with_test=False)
    loss_function = LossSurface(dataset, seed, shards)
    seconds_a_curve = seconds / _CURVES_IN_BUDGET
    curves_by_method = {
        method: [train_curve(loss_function, method, rate, seed, seconds_a_curve) for rate in rates]
        for method, rates in ((method, RATES.get(method, (None,))) for method in METHODS)
    }
    return OptimizerComparison(
        curves=tuple(best_curve(curves) for curves in curves_by_method.values()),
        searches=tuple(
            rate_search(curves) for method, curves in curves_by_method.items() if method in RATES
        ),
        seconds_a_curve=seconds_a_curve,
        parameters=len(loss_function.weights()),
        filters=loss_function.filters,
        training_images=loss_function.images,
        loss_images=loss_function.loss_images,
        validation_images=len(dataset.validation.labels),
    )


def best_curve(curves: Sequence[LossCurve]) -> LossCurve:
    """The curve of the lowest final loss; the first if all diverged.

    Whole curves are compared, because a rate that leads after a few steps may diverge later.
    """
    finite = [curve for curve in curves if curve.ended != "diverged"]
    return min(finite, key=lambda curve: curve.points[-1].loss, default=curves[0])


def rate_search(curves: Sequence[LossCurve]) -> RateSearch:
    """Summary of a method's curves, one per learning rate."""
    return RateSearch(
        method=curves[0].method,
        tried=tuple(
            RateTrial(
                learning_rate=curve.learning_rate,
                samples_seen=curve.samples_seen,
                seconds=curve.seconds,
                loss=None if curve.ended == "diverged" else curve.points[-1].loss,
            )
            for curve in curves
            if curve.learning_rate is not None
        ),
    )


def train_curve(
    loss_function: LossSurface,
    method: Method,
    learning_rate: float | None,
    seed: int,
    seconds: float,
) -> LossCurve:
    """Train by one method, then restore the initial weights.

    Args:
        loss_function: The loss, at the initial weights.
        method: One of `METHODS`.
        learning_rate: None for L-BFGS.
        seed: Seed of the order of the samples.
        seconds: Training time; the update in progress is completed.
    """
    initial_weights = loss_function.weights()
    training = _Training(loss_function, seconds)
    if learning_rate is None:
        training.by_l_bfgs()
    elif method in _BATCH_SIZES:
        batches = shuffled_batches(loss_function.images, _BATCH_SIZES[method], seed)
        training.by_batches(learning_rate, batches)
    else:
        training.by_full_batches(learning_rate)
    took_seconds = training.seconds
    training.score()
    loss_function.set_weights(initial_weights)
    return LossCurve(
        method=method,
        learning_rate=learning_rate,
        points=tuple(training.points),
        ended=training.ended,
        samples_seen=training.samples_seen,
        seconds=took_seconds,
    )


def next_point(samples_seen: int) -> int:
    """Samples after which a training is scored next: 50, 71, 100, 141, 200 and so on."""
    points = (round(_FIRST_POINT * _POINT_RATIO**power) for power in itertools.count())
    return next(point for point in points if point > samples_seen)


class _TimeLimitError(Exception):
    """Stops SciPy's minimization."""


class _Training:
    """A training that records its loss curve, with a clock that stops during scoring."""

    def __init__(self, loss_function: LossSurface, seconds: float) -> None:
        self.points: list[LossPoint] = []
        self.ended: Literal["time", "diverged", "converged"] = "time"
        self.samples_seen = 0
        self._loss = loss_function
        self._limit_seconds = seconds
        self._scoring_seconds = 0.0
        self._start = time.perf_counter()
        self.score()

    @property
    def seconds(self) -> float:
        """Training time so far."""
        return time.perf_counter() - self._start - self._scoring_seconds

    def by_batches(self, rate: float, batches: Iterator[npt.NDArray[np.int32]]) -> None:
        """Train by equation 2, generalized from one sample to a batch."""
        while self._should_continue():
            first = next(batches)
            to_next_point = next_point(self.points[-1].samples_seen) - self.samples_seen
            updates = math.ceil(min(_UPDATES_PER_CALL, to_next_point / len(first)))
            stacked = np.stack([first, *(next(batches) for _ in range(updates - 1))])
            self._loss.apply_updates(stacked, rate)
            self._count(stacked.size)

    def by_full_batches(self, rate: float) -> None:
        """Train by equation 1."""
        while self._should_continue():
            _, gradient = self._loss.loss_and_gradient()
            self._loss.set_weights(self._loss.weights() - np.float32(rate) * gradient)
            self._count(self._loss.images)

    def by_l_bfgs(self) -> None:
        """Train by L-BFGS: curvature from the last gradients, a line search for each step."""
        accepted: Vector = self._loss.weights().astype(np.float64).reshape(-1)

        def loss_and_gradient(weights: Vector) -> tuple[float, Vector]:
            if not self._should_continue():
                raise _TimeLimitError
            self._loss.set_weights(weights)
            loss, gradient = self._loss.loss_and_gradient()
            self.samples_seen += self._loss.images
            return loss, gradient.astype(np.float64).reshape(-1)

        def on_step(xk: Vector) -> None:  # SciPy passes the weights to a parameter of this name
            nonlocal accepted
            accepted = xk.copy()
            self._loss.set_weights(accepted)  # the last evaluation need not be the accepted step
            self._count(0)

        with suppress(_TimeLimitError):
            scipy.optimize.minimize(
                loss_and_gradient,
                accepted,
                jac=True,
                method="L-BFGS-B",
                callback=on_step,
                # No tolerance: it runs while there is time and a step still reduces the loss.
                options={"maxiter": _UNLIMITED, "maxfun": _UNLIMITED, "ftol": 0.0, "gtol": 0.0},
            )
            self.ended = "converged" if self.ended == "time" else self.ended
        self._loss.set_weights(accepted)

    def score(self) -> None:
        """Score the current weights, unless they are scored already."""
        is_scored = self.points and self.points[-1].samples_seen == self.samples_seen
        if self.ended == "diverged" or is_scored:
            return
        start, seconds = time.perf_counter(), self.seconds
        loss, accuracy = self._loss.score()
        self._scoring_seconds += time.perf_counter() - start
        if not math.isfinite(loss):
            self.ended = "diverged"
            return
        point = LossPoint(
            samples_seen=self.samples_seen,
            seconds=seconds,
            loss=loss,
            validation_accuracy=accuracy,
        )
        self.points.append(point)

    def _should_continue(self) -> bool:
        """Whether there is time left and the last known loss is finite."""
        return self.ended == "time" and self.seconds < self._limit_seconds

    def _count(self, samples: int) -> None:
        """Count samples, and score the weights if the next point is reached."""
        self.samples_seen += samples
        if self.samples_seen >= next_point(self.points[-1].samples_seen):
            self.score()
