"""The claims in a report: table columns and texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from mnist_bench.core import formatting
from mnist_bench.core.formatting import counted
from mnist_bench.reporting.columns import Column
from mnist_bench.results.claims import CLAIM_VERDICTS, ClaimLine, Decision, Unit

INTRODUCTION = (
    "What the paper says, in words of ours, and whether it holds here. What decides each claim "
    "was declared before it was measured; a claim holds where all that decides it does."
)
_FORMATS: dict[Unit, Callable[[float], str]] = {
    "accuracy": lambda value: f"{value:.4f}",
    "share": lambda value: f"{value:.2f}",
    "ratio": lambda value: f"{value:,.3g}" if abs(value) < 1_000 else f"{value:,.0f}",
    "steps": lambda value: formatting.count(round(value)),
    "seconds": formatting.duration,
    "bytes": lambda value: formatting.mebibytes(round(value)),
    "loss": lambda value: f"{value:.4f}",
    "GB": lambda value: f"{value:.4f} GB",
    "kWh": lambda value: f"{value:.4f} kWh",
    "price": lambda value: f"{value:.4f}",
}
_LARGEST_SHOWN = 1e15
"""Larger values are shown as "more than" this."""


def title(line: ClaimLine) -> str:
    """Title of a claim's section."""
    return f"Claim {line.claim}: {line.verdict}"


def headline(lines: Sequence[ClaimLine]) -> str:
    """Number of claims by verdict: `of 12 claims of the paper's: holds 3, does not hold 2, …`."""
    counts = Counter(line.verdict for line in lines)
    counts_in_words = ", ".join(f"{verdict} {counts[verdict]}" for verdict in CLAIM_VERDICTS)
    return f"of {counted(len(lines), 'claim')} of the paper's: {counts_in_words}"


def notes(line: ClaimLine) -> Iterator[str]:
    """Rule and remark of each criterion."""
    for decision in line.decisions:
        parts = [f"it holds where {decision.rule}" if decision.rule else "", decision.note or ""]
        yield f"{decision.criterion}: {'; '.join(part for part in parts if part)}"


def found(decision: Decision) -> str:
    """A decision in one line: `trend: -0.42 (-0.5 to -0.35), n = 20: holds`."""
    text = figure(decision.value, decision.unit)
    if decision.value is None and decision.verdict == "not decided here":
        return f"{decision.criterion}: {decision.note or decision.verdict}"
    if decision.low is not None or decision.high is not None:
        text += f" ({interval(decision)})"
    if decision.n is not None:
        text += f", n = {formatting.count(decision.n)}"
    end = decision.verdict or decision.note
    return f"{decision.criterion}: {text}" + (f": {end}" if end else "")


def figure(value: float | None, unit: Unit) -> str:
    """Format a value by its unit."""
    if value is None:
        return formatting.UNKNOWN
    if value > _LARGEST_SHOWN:
        return f"more than {_FORMATS[unit](_LARGEST_SHOWN)}"
    return _FORMATS[unit](value)


def interval(decision: Decision) -> str:
    """Format both ends of an interval; a missing upper end is "no end"."""
    if decision.low is None and decision.high is None:
        return formatting.UNKNOWN
    low = figure(decision.low, decision.unit)
    high = "no end" if decision.high is None else figure(decision.high, decision.unit)
    return f"{low} to {high}"


CLAIMS: tuple[Column[ClaimLine], ...] = (
    Column("Claim", lambda line: str(line.claim)),
    Column("Here", lambda line: line.verdict, words=True),
    Column("What the paper says", lambda line: line.words, words=True, wraps=True),
    Column("Where", lambda line: line.place, words=True),
)
DECISIONS: tuple[Column[Decision], ...] = (
    Column("Asked", lambda each: each.question, words=True, wraps=True),
    Column("Found", lambda each: figure(each.value, each.unit)),
    Column("Interval", interval),
    Column("n", lambda each: formatting.count(each.n)),
    Column("Verdict", lambda each: each.verdict or formatting.UNKNOWN, words=True),
)
