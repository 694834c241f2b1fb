"""Ours against each peer: a ratio a round, their median and interval, and what was aimed at."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from measured import Session, Timed
from scipy import stats


@dataclass(frozen=True)
class Ratio:
    """The ratios of some rounds.

    Attributes:
        median: Of the rounds.
        low: Of the 95% interval: Student's, on the logarithms; None with a single round.
        high: Likewise.
        n: Rounds.
    """

    median: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class Target:
    """A ratio, and what it should reach.

    Attributes:
        figure: Key in `FIGURES`.
        ours: Name of ours.
        peer: Name of the peer.
        bound: To be reached; None where nothing was asked.
        faster: Whether the ratio is the peer's figure by ours and the bound a least one; else it
            is ours by the peer's, and the bound a largest one.
    """

    figure: str
    ours: str
    peer: str
    bound: float | None
    faster: bool = True

    def met_by(self, ratio: Ratio) -> bool | None:
        """Whether the median reaches the bound; None without one."""
        if self.bound is None:
            return None
        return ratio.median >= self.bound if self.faster else ratio.median <= self.bound


def step_milliseconds(run: Timed) -> float:
    """The median of the chunks."""
    return statistics.median(run.chunk_milliseconds)


def best_way(run: Timed) -> str:
    """The way of scoring that was the fastest in this run."""
    return min(run.evaluation_seconds, key=lambda way: _median_of(run, way))


def evaluation_seconds(run: Timed) -> float:
    """The median of the fastest way."""
    return _median_of(run, best_way(run))


def peak_bytes(run: Timed) -> float:
    """The peak; not a number where the system did not tell."""
    return math.nan if run.peak_rss_bytes is None else run.peak_rss_bytes


def _median_of(run: Timed, way: str) -> float:
    return statistics.median(run.evaluation_seconds[way])


FIGURES: dict[str, Callable[[Timed], float]] = {
    "step": step_milliseconds,
    "evaluation": evaluation_seconds,
    "peak memory": peak_bytes,
}

TARGETS = (
    Target("step", "ours", "keras", 1.7),
    Target("step", "ours", "program", 1.25),
    Target("step", "ours", "torch", 1.15),
    Target("step", "ours", "torch-compile", None),
    Target("evaluation", "ours", "keras", 1.2),
    Target("evaluation", "ours", "program", None),
    Target("evaluation", "ours", "torch", 1.8),
    Target("evaluation", "ours", "torch-compile", None),
    Target("step", "ours-bfloat16", "keras", 2.7),
    Target("step", "ours-bfloat16", "torch-bfloat16", 1.0),
    Target("evaluation", "ours-bfloat16", "torch-bfloat16", None),
    Target("peak memory", "ours", "keras", 0.8, faster=False),
    Target("peak memory", "ours", "program", 0.35, faster=False),
    Target("peak memory", "ours", "torch", None, faster=False),
)
"""What issue 4 asks, and beside it what it does not."""


def ratio(session: Session, target: Target) -> Ratio | None:
    """Of the rounds in which both ran; None where there was none."""
    figure = FIGURES[target.figure]
    both = [
        (figure(made.timed[target.ours]), figure(made.timed[target.peer]))
        for made in session.rounds
        if target.ours in made.timed and target.peer in made.timed
    ]
    ratios = [peer / ours if target.faster else ours / peer for ours, peer in both]
    return of_rounds([value for value in ratios if math.isfinite(value)])


def of_rounds(ratios: Sequence[float]) -> Ratio | None:
    """Median and interval of the rounds' ratios; None of none."""
    if not ratios:
        return None
    median, n = statistics.median(ratios), len(ratios)
    if n == 1:
        return Ratio(median, None, None, 1)
    logs = [math.log(value) for value in ratios]
    half = float(stats.t.ppf(0.975, n - 1)) * statistics.stdev(logs) / math.sqrt(n)
    mean = statistics.mean(logs)
    return Ratio(median, math.exp(mean - half), math.exp(mean + half), n)
