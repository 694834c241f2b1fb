"""Ratios between us and each peer: one per round, with median, interval and target."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from measured import Session, Timed
from scipy import stats


@dataclass(frozen=True)
class Ratio:
    """Median ratio over the rounds.

    Attributes:
        low: Lower end of Student's 95% interval on the logarithms; None with a single round.
        high: Upper end.
        n: Number of rounds.
    """

    median: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class Target:
    """A ratio and its target.

    Attributes:
        figure: Key in `FIGURES`.
        ours: Name of our contender.
        peer: Name of the peer.
        bound: Target; None for none.
        faster: Whether the ratio is the peer's value by ours, with a lower bound; else it is ours
            by the peer's, with an upper bound.
    """

    figure: str
    ours: str
    peer: str
    bound: float | None
    faster: bool = True

    def met_by(self, ratio: Ratio) -> bool | None:
        """Whether the median meets the bound; None without one."""
        if self.bound is None:
            return None
        return ratio.median >= self.bound if self.faster else ratio.median <= self.bound


def step_milliseconds(run: Timed) -> float:
    """Median time per step over the chunks."""
    return statistics.median(run.chunk_milliseconds)


def best_way(run: Timed) -> str:
    """Fastest evaluation method of a run."""
    return min(run.evaluation_seconds, key=lambda way: _median_of(run, way))


def evaluation_seconds(run: Timed) -> float:
    """Median time of the fastest evaluation method."""
    return _median_of(run, best_way(run))


def peak_bytes(run: Timed) -> float:
    """Peak RSS; NaN if unknown."""
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
"""Ratios in the table, with the targets of issue 4."""


def ratio(session: Session, target: Target) -> Ratio | None:
    """Ratio over the rounds in which both ran; None if there were none."""
    figure = FIGURES[target.figure]
    both = [
        (figure(each.timed[target.ours]), figure(each.timed[target.peer]))
        for each in session.rounds
        if target.ours in each.timed and target.peer in each.timed
    ]
    ratios = [peer / ours if target.faster else ours / peer for ours, peer in both]
    return of_rounds([value for value in ratios if math.isfinite(value)])


def of_rounds(ratios: Sequence[float]) -> Ratio | None:
    """Median and interval of ratios; None if there are none."""
    if not ratios:
        return None
    median, n = statistics.median(ratios), len(ratios)
    if n == 1:
        return Ratio(median, None, None, 1)
    logs = [math.log(value) for value in ratios]
    half = float(stats.t.ppf(0.975, n - 1)) * statistics.stdev(logs) / math.sqrt(n)
    mean = statistics.mean(logs)
    return Ratio(median, math.exp(mean - half), math.exp(mean + half), n)
