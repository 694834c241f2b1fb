"""How a criterion becomes a decision. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from mnist_bench.analysis.statistics import Estimate
from mnist_bench.results.claims import Claim, ClaimLine, ClaimVerdict, Criterion, Decision, Unit


def above(estimate: Estimate, threshold: float) -> ClaimVerdict:
    """Whether a figure lies above a threshold for certain, below it, or neither."""
    if estimate.low > threshold:
        return "holds"
    return "does not hold" if estimate.high <= threshold else "not decided here"


def below(estimate: Estimate, threshold: float) -> ClaimVerdict:
    """Likewise, where it is to lie below."""
    if estimate.high < threshold:
        return "holds"
    return "does not hold" if estimate.low >= threshold else "not decided here"


def shown(holds: bool) -> ClaimVerdict:  # noqa: FBT001  # the one thing that it is told
    """Of what is certain, or of a test that either shows something or does not."""
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
    """A criterion with its figure.

    Args:
        criterion: Declared before.
        verdict: What came of it.
        figure: With an interval, or exact; what is infinite is told as None.
        unit: Of the figure.
        n: Of a figure that has no interval.
        note: How it was made.
    """
    known = figure if isinstance(figure, Estimate) else None
    return Decision(
        criterion=criterion.name,
        question=criterion.question,
        rule=criterion.rule,
        verdict=verdict,
        value=_finite(known.value if known else figure),
        low=_finite(known.low if known else None),
        high=_finite(known.high if known else None),
        unit=unit,
        n=known.n if known else n,
        note=note,
    )


def _finite(figure: object) -> float | None:
    return figure if isinstance(figure, float) and isfinite(figure) else None


def undecided(criterion: Criterion, why: str) -> Decision:
    """A criterion that nothing was measured for, or too little."""
    return decided(criterion, "not decided here", None, "ratio", note=why)


def told(name: str, question: str, figure: Estimate | float, unit: Unit, note: str) -> Decision:
    """A figure beside the criteria, which decides nothing."""
    return decided(Criterion(name, question, ""), None, figure, unit, note=note)


def line_of(claim: Claim, decisions: Sequence[Decision], run_ids: Sequence[str]) -> ClaimLine:
    """A claim with what was decided of it."""
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
