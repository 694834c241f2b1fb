"""A claim of the paper, what decides it, and how it was decided. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mnist_bench.core.records import Record

ClaimVerdict = Literal["holds", "does not hold", "not decided here"]
CLAIM_VERDICTS: tuple[ClaimVerdict, ...] = ("holds", "does not hold", "not decided here")
MeasuredClaim = Literal[7, 8, 10, 11]
"""Claims that are measured by themselves, and not by trainings."""
ON_IMAGES: tuple[MeasuredClaim, ...] = (8, 11)
"""Those of them that are about the images."""
Unit = Literal[
    "accuracy", "share", "ratio", "steps", "seconds", "bytes", "GB", "loss", "kWh", "price"
]


@dataclass(frozen=True)
class Criterion:
    """What decides a claim, or a part of it.

    Attributes:
        name: One word or two, as in tables.
        question: What it asks.
        rule: When it holds, in words.
        threshold: The rule's own figure; 0 where it has none.
    """

    name: str
    question: str
    rule: str
    threshold: float = 0.0


@dataclass(frozen=True)
class Claim:
    """One thing that the paper says.

    Attributes:
        number: As the suite counts them.
        words: In the suite's own words.
        place: In the paper.
        criteria: All of them hold where the claim does.
    """

    number: int
    words: str
    place: str
    criteria: tuple[Criterion, ...]


class Decision(Record):
    """One criterion and what was measured; what is not known is None.

    Attributes:
        criterion: Its name, that of a `Criterion`.
        question: What it asks.
        rule: When it holds, as it was declared.
        verdict: None of what is told beside and decides nothing.
        value: The measured figure.
        low: Lower end of its 95% interval; None where it has none, as what is counted exactly.
        high: Its upper end.
        unit: Of all three.
        n: Trainings or repetitions that it was taken over.
        note: How it was made, or why nothing was decided.
    """

    criterion: str
    question: str
    rule: str
    verdict: ClaimVerdict | None
    value: float | None = None
    low: float | None = None
    high: float | None = None
    unit: Unit = "ratio"
    n: int | None = None
    note: str | None = None


class ClaimLine(Record):
    """One claim.

    Attributes:
        claim: Its number.
        words: The claim, in the suite's words.
        place: In the paper.
        verdict: Holds where every criterion does; does not where one does not.
        decisions: A criterion each, and what is told beside.
        run_ids: MLflow's ids of what it was decided by.
    """

    claim: int
    words: str
    place: str
    verdict: ClaimVerdict
    decisions: tuple[Decision, ...]
    run_ids: tuple[str, ...] = ()
