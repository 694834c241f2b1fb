"""Decisions on criteria, and the verdict of a claim."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from mnist_bench.analysis.statistics import Estimate
from mnist_bench.results.claims import Claim, ClaimLine, ClaimVerdict, Criterion, Decision, Unit


def above(estimate: Estimate, threshold: float) -> ClaimVerdict:
    """Verdict on whether a value exceeds a threshold, by its interval."""
    if estimate.low > threshold:
        return "holds"
    return "does not hold" if estimate.high <= threshold else "not decided here"


def below(estimate: Estimate, threshold: float) -> ClaimVerdict:
    """Verdict on whether a value is less than a threshold, by its interval."""
    if estimate.high < threshold:
        return "holds"
    return "does not hold" if estimate.low >= threshold else "not decided here"


def verdict_of(holds: bool) -> ClaimVerdict:  # noqa: FBT001  # its only parameter
    """Verdict where only two outcomes are possible."""
    return "holds" if holds else "does not hold"


def decided(
    criterion: Criterion,
    verdict: ClaimVerdict | None,
    figure: Estimate | float | None,
    unit: Unit,
    *,
    n: int | None = None,
    note: str | None = None,
) -> Decision:
    """Decision on a criterion.

    Args:
        criterion: As declared in `claims.toml`.
        verdict: None for a decision that only informs.
        figure: With an interval, or exact. An infinite value is recorded as None.
        unit: Of the figure.
        n: Sample size of a figure without an interval.
        note: How the figure was computed.
    """
    estimate = figure if isinstance(figure, Estimate) else None
    return Decision(
        criterion=criterion.name,
        question=criterion.question,
        rule=criterion.rule,
        verdict=verdict,
        value=_finite(estimate.value if estimate else figure),
        low=_finite(estimate.low if estimate else None),
        high=_finite(estimate.high if estimate else None),
        unit=unit,
        n=estimate.n if estimate else n,
        note=note,
    )


def _finite(figure: object) -> float | None:
    return figure if isinstance(figure, float) and isfinite(figure) else None


def undecided(criterion: Criterion, why: str) -> Decision:
    """Decision on a criterion with too few measurements, or none."""
    return decided(criterion, "not decided here", None, "ratio", note=why)


def informative(
    name: str, question: str, figure: Estimate | float, unit: Unit, note: str
) -> Decision:
    """Additional figure without a criterion or a verdict."""
    return decided(Criterion(name, question, ""), None, figure, unit, note=note)


def line_of(claim: Claim, decisions: Sequence[Decision], run_ids: Sequence[str]) -> ClaimLine:
    """A claim with its decisions: it holds if all of its criteria do."""
    verdicts = [each.verdict for each in decisions if each.verdict is not None]
    verdict: ClaimVerdict = "not decided here"
    if "does not hold" in verdicts:
        verdict = "does not hold"
    elif verdicts and all(each == "holds" for each in verdicts):
        verdict = "holds"
    return ClaimLine(
        claim=claim.number,
        words=claim.words,
        place=claim.place,
        verdict=verdict,
        decisions=tuple(decisions),
        run_ids=tuple(dict.fromkeys(run_ids)),
    )
