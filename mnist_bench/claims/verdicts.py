"""Decisions on criteria."""

from __future__ import annotations

import operator
from dataclasses import asdict
from math import isfinite
from typing import Any

from mnist_bench.analysis.statistics import Estimate
from mnist_bench.results.claims import ClaimVerdict, Criterion, Decision, Unit

Judged = tuple[list[Decision], list[str]]
"""The decisions on a claim, and the MLflow run ids of their evidence."""
_TESTS = {
    "above": operator.gt,
    "below": operator.lt,
    "at least": operator.ge,
    "at most": operator.le,
}


def judge(criterion: Criterion, figure: Estimate | float) -> ClaimVerdict:
    """Verdict by the criterion's test, of both ends of a figure with an interval."""
    ends = (figure.low, figure.high) if isinstance(figure, Estimate) else (figure,)
    passes = {_TESTS[criterion.test](end, criterion.threshold) for end in ends}
    if len(passes) == 2 and not criterion.must_be_shown:
        return "not decided here"
    return verdict_of(passes == {True})


def verdict_of(holds: bool) -> ClaimVerdict:  # noqa: FBT001  # its only parameter
    """Verdict where only two outcomes are possible."""
    return "holds" if holds else "does not hold"


def decided(
    criterion: Criterion,
    figure: Estimate | float,
    verdict: ClaimVerdict | None = None,
    *,
    n: int | None = None,
    note: str | None = None,
) -> Decision:
    """Decision on a criterion.

    Args:
        criterion: As declared in `claims.toml`.
        figure: With an interval, or exact. An infinite value is recorded as None.
        verdict: Of a criterion without a test; None judges the figure by the test.
        n: Sample size of a figure without an interval.
        note: How the figure was computed.
    """
    return _decision(criterion, verdict or judge(criterion, figure), figure, note, n)


def undecided(criterion: Criterion, why: str) -> Decision:
    """Decision on a criterion with too few measurements, or none."""
    return _decision(criterion, "not decided here", None, why)


def informative(
    name: str,
    question: str,
    figure: Estimate | float,
    unit: Unit,
    note: str,
    *,
    n: int | None = None,
) -> Decision:
    """Additional figure without a criterion or a verdict."""
    return _decision(Criterion(name, question, "", unit), None, figure, note, n)


def _decision(
    criterion: Criterion,
    verdict: ClaimVerdict | None,
    figure: Estimate | float | None,
    note: str | None,
    n: int | None = None,
) -> Decision:
    figures: dict[str, Any] = (
        asdict(figure) if isinstance(figure, Estimate) else {"value": figure, "n": n}
    )
    return Decision(
        criterion=criterion.name,
        question=criterion.question,
        rule=criterion.rule,
        verdict=verdict,
        unit=criterion.unit,
        note=note,
        **{key: each for key, each in figures.items() if each is not None and isfinite(each)},
    )
