"""The claims in a book: columns and words."""

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
_FIGURES: dict[Unit, Callable[[float], str]] = {
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
_MOST = 1e15
"""A larger figure says no more than that it is out of sight."""


def title(line: ClaimLine) -> str:
    """Of a claim's own section."""
    return f"Claim {line.claim}: {line.verdict}"


def headline(lines: Sequence[ClaimLine]) -> str:
    """How many hold: `of 12 claims of the paper's: holds 3, does not hold 2, ...`."""
    counts = Counter(line.verdict for line in lines)
    told = ", ".join(f"{verdict} {counts[verdict]}" for verdict in CLAIM_VERDICTS)
    return f"of {counted(len(lines), 'claim')} of the paper's: {told}"


def notes(line: ClaimLine) -> Iterator[str]:
    """When each criterion holds, and how its figure was made."""
    for each in line.decisions:
        parts = [f"it holds where {each.rule}" if each.rule else "", each.note or ""]
        yield f"{each.criterion}: {'; '.join(part for part in parts if part)}"


def found(decision: Decision) -> str:
    """In one line: `trend: -0.42 (-0.5 to -0.35), n = 20: holds`, or what is told, with how."""
    told = figure(decision.value, decision.unit)
    if decision.value is None and decision.verdict == "not decided here":
        return f"{decision.criterion}: {decision.note or decision.verdict}"
    if decision.low is not None or decision.high is not None:
        told += f" ({interval(decision)})"
    if decision.n is not None:
        told += f", n = {formatting.count(decision.n)}"
    end = decision.verdict or decision.note
    return f"{decision.criterion}: {told}" + (f": {end}" if end else "")


def figure(value: float | None, unit: Unit) -> str:
    """A figure as its unit is read."""
    if value is None:
        return formatting.UNKNOWN
    if value > _MOST:
        return f"more than {_FIGURES[unit](_MOST)}"
    return _FIGURES[unit](value)


def interval(decision: Decision) -> str:
    """Both ends; an end that is out of all bounds is said to be so."""
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
