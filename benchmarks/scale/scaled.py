"""What was measured of reports on many runs, and the page on it; pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import Literal

import hardware
from hardware import Hardware

from mnist_bench.core import formatting
from mnist_bench.core.records import Record

Way = Literal["paging", "report"]
_SECONDS_ASKED = 5.0
"""Of a report on 1,000 runs, at most."""
_SHARE_ASKED = 1 / 3
"""Added to MLflow's own paging at 10,000 runs, at most."""
_MEMORY_ASKED = 0.2
_PAGE_ASKED_BYTES = 5_000_000
_WHAT = """\
`mnist-bench report` on a database of many runs, in all of its formats, beside MLflow's own paging
through the same runs, which does nothing with them. A fresh process each, by turns; imports are
done before the clock starts."""


class Answer(Record):
    """One question, answered in a process of its own.

    Attributes:
        way: What was asked.
        runs: In the database.
        seconds: Of the question alone.
        peak_rss_bytes: Of the process.
        page_bytes: Size of the HTML page; 0 where none was asked for.
        scenarios: That the runs are of; those of several have predictions, and images at hand.
    """

    way: Way
    runs: int
    seconds: float
    peak_rss_bytes: int
    page_bytes: int
    scenarios: int = 1

    @property
    def in_words(self) -> str:
        """One line for who watches."""
        peak = formatting.mebibytes(self.peak_rss_bytes)
        of = "" if self.scenarios == 1 else f" of {self.scenarios} scenarios"
        return f"{self.way}, {self.runs:,} runs{of}: {self.seconds:.2f} s, peak {peak}"


class ScaleSession(Record):
    """All answers.

    Attributes:
        command: What to type for it.
        date: The day, in UTC.
        hardware: Of this machine.
        versions: By distribution.
        answers: In their order.
    """

    command: str
    date: str
    hardware: Hardware
    versions: dict[str, str]
    answers: tuple[Answer, ...]

    def of(self, way: Way, runs: int, scenarios: int = 1) -> list[Answer]:
        """Those of one question."""
        asked = (way, runs, scenarios)
        return [each for each in self.answers if (each.way, each.runs, each.scenarios) == asked]

    def seconds(self, way: Way, runs: int, scenarios: int = 1) -> float:
        """Their median."""
        return statistics.median(each.seconds for each in self.of(way, runs, scenarios))

    def peak(self, way: Way, runs: int, scenarios: int = 1) -> float:
        """The median of their peaks, in bytes."""
        return statistics.median(each.peak_rss_bytes for each in self.of(way, runs, scenarios))


def page(session: ScaleSession) -> str:
    """The page."""
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
        of = session.of(way, runs, scenarios)
        seconds = [each.seconds for each in of]
        size = max(each.page_bytes for each in of)
        cells = (
            f"{runs:,}",
            f"{scenarios:,}",
            way,
            str(len(of)),
            f"{statistics.median(seconds):.2f} ({min(seconds):.2f} to {max(seconds):.2f})",
            formatting.mebibytes(round(session.peak(way, runs, scenarios))),
            f"{size / 1e6:.2f} MB" if size else formatting.UNKNOWN,
        )
        yield f"| {' | '.join(cells)} |"


def _verdicts(session: ScaleSession) -> Iterator[str]:
    few, many = (f(each.runs for each in session.answers) for f in (min, max))
    least = session.seconds("report", few)
    yield (
        f"- A report on {few:,} runs takes {least:.2f} s; at most {_SECONDS_ASKED:g} s asked for: "
        f"{_met(met=least <= _SECONDS_ASKED)}."
    )
    several = sorted({each.scenarios for each in session.answers if each.scenarios > 1})
    for scenarios in several:
        least = session.seconds("report", few, scenarios)
        yield (
            f"- One on {few:,} runs of {scenarios:,} scenarios, with predictions, takes "
            f"{least:.2f} s; at most {_SECONDS_ASKED:g} s asked for: "
            f"{_met(met=least <= _SECONDS_ASKED)}."
        )
    paging, whole = (session.seconds(way, many) for way in ("paging", "report"))
    added = whole / paging - 1
    yield (
        f"- At {many:,} runs it takes {added:.0%} more than MLflow's paging alone; at most "
        f"{_SHARE_ASKED:.0%} asked for: {_met(met=added <= _SHARE_ASKED)}."
    )
    growth = session.peak("report", many) / session.peak("report", few) - 1
    yield (
        f"- Peak memory from {few:,} to {many:,} runs: {growth:+.0%}; ±{_MEMORY_ASKED:.0%} asked "
        f"for: {_met(met=abs(growth) <= _MEMORY_ASKED)}."
    )
    size = max(each.page_bytes for each in session.answers)
    yield (
        f"- The largest page has {size / 1e6:.2f} MB; at most {_PAGE_ASKED_BYTES / 1e6:g} MB asked "
        f"for: {_met(met=size <= _PAGE_ASKED_BYTES)}."
    )


def _met(*, met: bool) -> str:
    return "met" if met else "**not met**"
