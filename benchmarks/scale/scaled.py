"""Measurements of reports on many runs, and their page."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import Literal

import hardware
from hardware import Hardware

from mnist_bench.core import formatting
from mnist_bench.core.records import Record

Way = Literal["paging", "report"]
_SECONDS_TARGET = 5.0
"""Target for a report on 1,000 runs."""
_SHARE_TARGET = 1 / 3
"""Target for the time added to MLflow's paging at 10,000 runs."""
_MEMORY_TARGET = 0.2
_PAGE_TARGET = 5_000_000
_WHAT = """\
`mnist-bench report` on a database of many runs, in all of its formats, beside MLflow's own paging
through the same runs, which does nothing with them. A fresh process each, by turns; imports are
done before the clock starts."""


class Answer(Record):
    """One query in a new process.

    Attributes:
        way: Kind of query.
        runs: In the database.
        seconds: Of the query, without imports.
        page_bytes: Size of the HTML page; 0 if there is none.
        scenarios: Number of scenarios; with several, there are predictions and images.
    """

    way: Way
    runs: int
    seconds: float
    peak_rss_bytes: int
    page_bytes: int
    scenarios: int = 1

    @property
    def in_words(self) -> str:
        """One line for the terminal."""
        peak = formatting.mebibytes(self.peak_rss_bytes)
        of = "" if self.scenarios == 1 else f" of {self.scenarios} scenarios"
        return f"{self.way}, {self.runs:,} runs{of}: {self.seconds:.2f} s, peak {peak}"


class ScaleSession(Record):
    """All queries.

    Attributes:
        command: Command line.
        date: In UTC.
        versions: By distribution name.
        answers: In order of measurement.
    """

    command: str
    date: str
    hardware: Hardware
    versions: dict[str, str]
    answers: tuple[Answer, ...]

    def of(self, way: Way, runs: int, scenarios: int = 1) -> list[Answer]:
        """Answers to one query."""
        query = (way, runs, scenarios)
        return [each for each in self.answers if (each.way, each.runs, each.scenarios) == query]

    def seconds(self, way: Way, runs: int, scenarios: int = 1) -> float:
        """Median seconds of one query."""
        return statistics.median(each.seconds for each in self.of(way, runs, scenarios))

    def peak(self, way: Way, runs: int, scenarios: int = 1) -> float:
        """Median peak RSS of one query, in bytes."""
        return statistics.median(each.peak_rss_bytes for each in self.of(way, runs, scenarios))


def page(session: ScaleSession) -> str:
    """The page in Markdown."""
    versions = hardware.in_words(session.versions)
    blocks = [
        "# Reports on many runs",
        _WHAT,
        f"Machine: {session.hardware.sentences} Versions: {versions}.",
        f"Made by `{session.command}` on {session.date}.",
        "\n".join(_table(session)),
        "\n".join(_verdicts(session)),
    ]
    return "\n\n".join(blocks) + "\n"


def _table(session: ScaleSession) -> Iterator[str]:
    yield "| runs | scenarios | | n | seconds, median (range) | peak RSS, median | page |"
    yield "|--:|--:|---|--:|--:|--:|--:|"
    questions = dict.fromkeys((each.runs, each.scenarios, each.way) for each in session.answers)
    for runs, scenarios, way in questions:
        answers = session.of(way, runs, scenarios)
        seconds = [each.seconds for each in answers]
        size = max(each.page_bytes for each in answers)
        cells = (
            f"{runs:,}",
            f"{scenarios:,}",
            way,
            str(len(answers)),
            f"{statistics.median(seconds):.2f} ({min(seconds):.2f} to {max(seconds):.2f})",
            formatting.mebibytes(round(session.peak(way, runs, scenarios))),
            f"{size / 1e6:.2f} MB" if size else formatting.UNKNOWN,
        )
        yield f"| {' | '.join(cells)} |"


def _verdicts(session: ScaleSession) -> Iterator[str]:
    few, many = (f(each.runs for each in session.answers) for f in (min, max))
    least = session.seconds("report", few)
    yield (
        f"- A report on {few:,} runs takes {least:.2f} s; at most {_SECONDS_TARGET:g} s asked for: "
        f"{_met(met=least <= _SECONDS_TARGET)}."
    )
    several = sorted({each.scenarios for each in session.answers if each.scenarios > 1})
    for scenarios in several:
        least = session.seconds("report", few, scenarios)
        yield (
            f"- One on {few:,} runs of {scenarios:,} scenarios, with predictions, takes "
            f"{least:.2f} s; at most {_SECONDS_TARGET:g} s asked for: "
            f"{_met(met=least <= _SECONDS_TARGET)}."
        )
    paging, whole = (session.seconds(way, many) for way in ("paging", "report"))
    added = whole / paging - 1
    yield (
        f"- At {many:,} runs it takes {added:.0%} more than MLflow's paging alone; at most "
        f"{_SHARE_TARGET:.0%} asked for: {_met(met=added <= _SHARE_TARGET)}."
    )
    growth = session.peak("report", many) / session.peak("report", few) - 1
    yield (
        f"- Peak memory from {few:,} to {many:,} runs: {growth:+.0%}; ±{_MEMORY_TARGET:.0%} asked "
        f"for: {_met(met=abs(growth) <= _MEMORY_TARGET)}."
    )
    size = max(each.page_bytes for each in session.answers)
    yield (
        f"- The largest page has {size / 1e6:.2f} MB; at most {_PAGE_TARGET / 1e6:g} MB asked "
        f"for: {_met(met=size <= _PAGE_TARGET)}."
    )


def _met(*, met: bool) -> str:
    return "met" if met else "**not met**"
