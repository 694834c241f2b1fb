"""Claim 8: one network trained by single samples, mini-batches, full batches and L-BFGS.

All begin with the same weights and go down the same loss on the same images. Equations 1 and 2 of
the paper (II.B) are taken literally: a constant factor times a gradient, no momentum.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, Protocol, TypeAlias

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
from mnist_bench.worker.experiments.loss_surface import LossSurface, Weights
from mnist_bench.worker.trainer import shuffled_batches

Vector: TypeAlias = np.ndarray[tuple[int], np.dtype[np.float64]]
"""As SciPy hands it on."""

RATES: dict[Method, tuple[float, ...]] = {
    "single samples": (0.003, 0.01, 0.03),
    "mini-batches of 50": (0.03, 0.1, 0.3),
    "full batch": (0.1, 0.3, 1.0),
}
"""Learning rates of which each method has its own best; L-BFGS needs none. With three times the
largest of each nothing was learned."""
_BATCH_SIZES: dict[Method, int] = {"single samples": 1, "mini-batches of 50": 50}
_CURVES_WORTH = 11.5
"""The whole takes so many times as long as one curve: ten of these, and the scoring."""
_UPDATES_AT_ONCE = 200
"""Between two looks at the clock."""
_NO_END = 10**9
"""Of iterations: time ends them."""
_FIRST_POINT, _POINT_RATIO = 50, math.sqrt(2)
"""Samples of the first scored state, and how many times as many the next one has seen."""


class LossFunction(Protocol):
    """What can be gone down: a loss of weights, over images."""

    @property
    def images(self) -> int:
        """That one pass looks at."""
        ...

    def weights(self) -> Weights:
        """Where it stands: float32 (parameters,)."""
        ...

    def take(self, weights: npt.ArrayLike) -> None:
        """Stand elsewhere: (parameters,)."""
        ...

    def whole(self) -> tuple[float, Weights]:
        """Mean loss over all the images, and its gradient, float32 (parameters,)."""
        ...

    def descend(self, batches: npt.NDArray[np.int32], learning_rate: float) -> None:
        """An update for each batch of indices, int32 (updates, batch size)."""
        ...

    def scored(self) -> tuple[float, float]:
        """Mean loss over the fixed images, and the validation accuracy."""
        ...


def measured(source: Source, parts: int, seed: int, seconds: float) -> OptimizerComparison:
    """Each method's curve with its own best learning rate; the test images are never loaded.

    Args:
        source: The images.
        parts: So many pieces of a full batch are in work at the same time.
        seed: Of the weights and of the samples' order.
        seconds: About what the whole may take, searches and scoring included.

    Raises:
        BenchError: The images are gone or have changed.
    """
    dataset = mnist.load(source, with_test=False)
    hill = LossSurface(dataset, seed, parts)
    seconds_a_curve = seconds / _CURVES_WORTH
    tried = {
        method: [descended(hill, method, rate, seed, seconds_a_curve) for rate in rates]
        for method, rates in ((method, RATES.get(method, (None,))) for method in METHODS)
    }
    return OptimizerComparison(
        curves=tuple(best(curves) for curves in tried.values()),
        searches=tuple(searched(curves) for method, curves in tried.items() if method in RATES),
        seconds_a_curve=seconds_a_curve,
        parameters=len(hill.weights()),
        filters=hill.filters,
        training_images=hill.images,
        loss_images=hill.loss_images,
        validation_images=len(dataset.validation.labels),
    )


def best(curves: Sequence[LossCurve]) -> LossCurve:
    """The one of the least loss at its end; where none came to a number, the first.

    Whole curves are compared: after a few steps a rate may lead that goes astray later.
    """
    numbers = [curve for curve in curves if curve.ended != "diverged"]
    return min(numbers, key=lambda curve: curve.points[-1].loss, default=curves[0])


def searched(curves: Sequence[LossCurve]) -> RateSearch:
    """What a method's curves at its learning rates came to."""
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


def descended(
    hill: LossFunction, method: Method, learning_rate: float | None, seed: int, seconds: float
) -> LossCurve:
    """Go down by one method, and back to the first weights at the end.

    Args:
        hill: Stands at the first weights.
        method: How.
        learning_rate: None for L-BFGS.
        seed: Of the samples' order.
        seconds: After which it ends, with the piece of work that is under way.
    """
    first = hill.weights()
    walk = _Walk(hill, seconds)
    if learning_rate is None:
        _by_l_bfgs(hill, walk)
    elif method in _BATCH_SIZES:
        batches = shuffled_batches(hill.images, _BATCH_SIZES[method], seed)
        _by_batches(hill, walk, learning_rate, batches)
    else:
        _by_full_batches(hill, walk, learning_rate)
    took_seconds = walk.seconds
    walk.score()
    hill.take(first)
    return LossCurve(
        method=method,
        learning_rate=learning_rate,
        points=tuple(walk.points),
        ended=walk.ended,
        samples_seen=walk.samples_seen,
        seconds=took_seconds,
    )


def next_point(samples_seen: int) -> int:
    """Samples after which a training is scored next: 50, 71, 100, 141, 200 and so on."""
    points = (round(_FIRST_POINT * _POINT_RATIO**power) for power in itertools.count())
    return next(point for point in points if point > samples_seen)


class _Walk:
    """A way down: its clock, which stands while a state is scored, and what was seen on it.

    Args:
        hill: What is gone down.
        seconds: After which the way ends.
    """

    def __init__(self, hill: LossFunction, seconds: float) -> None:
        self.points: list[LossPoint] = []
        self.ended: Literal["time", "diverged", "converged"] = "time"
        self.samples_seen = 0
        self._hill = hill
        self._limit_seconds = seconds
        self._stood_seconds = 0.0
        self._begin = time.perf_counter()
        self.score()

    @property
    def seconds(self) -> float:
        """Of training so far."""
        return time.perf_counter() - self._begin - self._stood_seconds

    @property
    def goes_on(self) -> bool:
        """Whether there is time left, and the loss is a number as far as that is known."""
        return self.ended == "time" and self.seconds < self._limit_seconds

    @property
    def samples_to_go(self) -> int:
        """Before the next state that is scored."""
        return next_point(self.points[-1].samples_seen) - self.samples_seen

    def score_if_due(self) -> None:
        """Score the state that was come to, if it is its turn."""
        if self.samples_to_go <= 0:
            self.score()

    def score(self) -> None:
        """Score the state that was come to, unless that was done."""
        if self.ended == "diverged":
            return
        if self.points and self.points[-1].samples_seen == self.samples_seen:
            return
        seconds = self.seconds
        with self._standing():
            loss, accuracy = self._hill.scored()
        if not math.isfinite(loss):
            self.ended = "diverged"
            return
        self.points.append(
            LossPoint(
                samples_seen=self.samples_seen,
                seconds=seconds,
                loss=loss,
                validation_accuracy=accuracy,
            )
        )

    @contextmanager
    def _standing(self) -> Iterator[None]:
        begin = time.perf_counter()
        try:
            yield
        finally:
            self._stood_seconds += time.perf_counter() - begin


def _by_batches(
    hill: LossFunction, walk: _Walk, rate: float, batches: Iterator[npt.NDArray[np.int32]]
) -> None:
    """Equation 2, where a batch is one sample."""
    while walk.goes_on:
        first = next(batches)
        updates = math.ceil(min(_UPDATES_AT_ONCE, walk.samples_to_go / len(first)))
        ahead = np.stack([first, *(next(batches) for _ in range(updates - 1))])
        hill.descend(ahead, rate)
        walk.samples_seen += ahead.size
        walk.score_if_due()


def _by_full_batches(hill: LossFunction, walk: _Walk, rate: float) -> None:
    """Equation 1."""
    while walk.goes_on:
        _, gradient = hill.whole()
        hill.take(hill.weights() - np.float32(rate) * gradient)
        walk.samples_seen += hill.images
        walk.score_if_due()


class _TimeIsOverError(Exception):
    """Ends SciPy's search from within."""


def _by_l_bfgs(hill: LossFunction, walk: _Walk) -> None:
    """A second-order method: curvature from the last gradients, a line search for each step."""
    reached: Vector = hill.weights().astype(np.float64).reshape(-1)

    def loss_and_gradient(weights: Vector) -> tuple[float, Vector]:
        if not walk.goes_on:
            raise _TimeIsOverError
        hill.take(weights)
        loss, gradient = hill.whole()
        walk.samples_seen += hill.images
        return loss, gradient.astype(np.float64).reshape(-1)

    def accepted(xk: Vector) -> None:  # SciPy tells by this name what it shall hand over
        nonlocal reached
        reached = xk.copy()
        hill.take(reached)  # the last that was tried need not be the one that was taken
        walk.score_if_due()

    try:
        # No tolerance ends it: it goes on while there is time and a step still gains something.
        scipy.optimize.minimize(
            loss_and_gradient,
            reached,
            jac=True,
            method="L-BFGS-B",
            callback=accepted,
            options={"maxiter": _NO_END, "maxfun": _NO_END, "ftol": 0.0, "gtol": 0.0},
        )
        walk.ended = "converged" if walk.ended == "time" else walk.ended
    except _TimeIsOverError:
        pass
    hill.take(reached)
