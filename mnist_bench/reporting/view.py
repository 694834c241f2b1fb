"""A report's pieces for a template: tables made by the format, sentences as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from mnist_bench.analysis.costs import PhaseCost, phases_of
from mnist_bench.reporting import columns as cells
from mnist_bench.reporting import text
from mnist_bench.reporting.model import Report, ReportSection
from mnist_bench.results.document import Scaling

MOST_RUNS = 200
"""So many stand in the table of every run; the CSV has them all."""


def others_left_out(book: Report) -> int:
    """Scenarios that are not in the table of those without a section either."""
    return max(0, len(book.others) - MOST_RUNS)


def table_of_others(book: Report, table: TableMaker) -> str:
    """Scenarios without a section, a row each; empty where there are none."""
    lines = [report.summary for report in book.others[:MOST_RUNS]]
    return table(cells.OTHERS, lines) if lines else ""


class TableMaker(Protocol):
    """Makes a table of a format from columns and lines."""

    def __call__(
        self, columns: Sequence[cells.Column[cells.Line]], lines: Sequence[cells.Line], /
    ) -> str:
        """The table; its cells are escaped for the format."""
        ...


@dataclass(frozen=True)
class Part:
    """One report's pieces; see the template for where each stands."""

    report: ReportSection
    headline: str
    warning: str | None
    table_title: str
    table_1: str
    accuracies: str
    runs: str
    runs_left_out: int
    scaling: str
    scaling_notes: Sequence[str]
    row_notes: Sequence[str]
    disturbances: Sequence[str]
    unfinished: Sequence[str]
    reaches: str
    digits: str
    standings: str
    standing_note: str
    phases_head: str
    phase_costs: str
    surroundings: Sequence[str]
    settings: Sequence[str]


def part_of(report: ReportSection, table: TableMaker) -> Part:
    """The pieces of one report."""
    runs = report.document.runs
    phases = phases_of(runs)
    several_counts = text.has_several_thread_counts(runs)
    columns = cells.RUNS_BY_THREADS if several_counts else cells.RUNS
    scaling: tuple[Scaling, ...] = report.document.scaling
    reaches, standings = report.document.reaches, report.document.standings
    costs: tuple[PhaseCost, ...] = phases.costs if phases else ()
    return Part(
        report=report,
        headline=text.headline(report.document),
        warning=text.image_warning(runs),
        table_title=text.table_title(report.rows),
        table_1=table(cells.TABLE_1, report.rows),
        accuracies=table(cells.ACCURACIES, report.rows),
        runs=table(columns, runs[-MOST_RUNS:]),
        runs_left_out=max(0, len(runs) - MOST_RUNS),
        scaling=table(cells.SCALING, scaling) if scaling else "",
        scaling_notes=text.scaling_notes(scaling),
        row_notes=(*text.row_notes(report.rows), *text.contradictions(report.rows)),
        disturbances=text.disturbances(runs),
        unfinished=text.unfinished(runs),
        reaches=table(cells.REACH, reaches) if reaches else "",
        digits=table(cells.DIGITS, report.confusion.digits) if report.confusion else "",
        standings=table(cells.STANDING, standings) if standings else "",
        standing_note=text.standing_note(standings),
        phases_head=text.phases_head(phases, threads=several_counts) if phases else "",
        phase_costs=table(cells.PHASES, costs) if costs else "",
        surroundings=text.surroundings(report.seen) if report.seen else (),
        settings=text.settings(runs),
    )
