"""Claims of the paper, their criteria, and the decisions on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mnist_bench.core.records import Record

ClaimVerdict = Literal["holds", "does not hold", "not decided here"]
CLAIM_VERDICTS: tuple[ClaimVerdict, ...] = ("holds", "does not hold", "not decided here")
MeasuredClaim = Literal[7, 8, 10, 11]
"""Claims that need an experiment of their own instead of trainings."""
IMAGE_CLAIMS: tuple[MeasuredClaim, ...] = (8, 11)
"""Measured claims that need the images."""
Unit = Literal[
    "accuracy", "share", "ratio", "steps", "seconds", "bytes", "GB", "loss", "kWh", "price"
]


@dataclass(frozen=True)
class Criterion:
    """One criterion of a claim.

    Attributes:
        name: One or two words, for tables.
        rule: When the criterion holds, in words.
        test: Where the figure lies if it holds, unless the rule is no comparison with a threshold.
        must_be_shown: Whether it does not hold if its interval includes the threshold.
        compares: Names of the scenarios or optimizers that are compared.
        is_timed: Whether the figure is of times, which other benchmarks disturb.
    """

    name: str
    question: str
    rule: str
    unit: Unit = "ratio"
    test: Literal["above", "below", "at least", "at most", "by rule"] = "by rule"
    threshold: float = 0.0
    must_be_shown: bool = False
    compares: Sequence[str] = ()
    is_timed: bool = False


@dataclass(frozen=True)
class Claim:
    """One statement of the paper, which holds if all of its criteria do.

    Attributes:
        number: The suite's number of the claim.
        words: The claim, paraphrased.
        place: Section, table or figure of the paper.
    """

    number: int
    words: str
    place: str
    criteria: tuple[Criterion, ...]


class Decision(Record):
    """One criterion with its measured value and verdict; unknown values are None.

    Attributes:
        criterion: Name of the `Criterion`.
        question: What is asked.
        rule: When the criterion holds.
        verdict: None for a value that is only reported.
        value: The measured value.
        low: Lower bound of its 95% interval; None for exact counts.
        high: Upper bound of the interval.
        unit: Unit of value, low and high.
        n: Number of trainings or repetitions.
        note: How the value was obtained, or why there is no verdict.
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
    """One claim with its verdict.

    Attributes:
        claim: Number of the claim.
        words: The claim, paraphrased.
        place: Section, table or figure of the paper.
        verdict: Holds if every criterion holds; does not hold if one does not.
        decisions: One per criterion, and values that are only reported.
        run_ids: MLflow run ids of the evidence.
    """

    claim: int
    words: str
    place: str
    verdict: ClaimVerdict
    decisions: tuple[Decision, ...]
    run_ids: tuple[str, ...] = ()
