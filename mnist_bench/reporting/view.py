"""Views of report sections for the templates: rendered tables, and texts not yet escaped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from mnist_bench.analysis.costs import PhaseCost, phases_of
from mnist_bench.reporting import columns, text
from mnist_bench.reporting.columns import Column, Line
from mnist_bench.reporting.model import Report, ReportSection
from mnist_bench.results.document import MachineCosts, Scaling

MOST_RUNS = 200
"""Limit of the table of runs; the CSV has all of them."""


def others_left_out(report: Report) -> int:
    """Number of scenarios beyond the limit of the table of other scenarios."""
    return max(0, len(report.others) - MOST_RUNS)


def table_of_others(other: Report, table: TableMaker) -> str:
    """Table of the scenarios without a section; empty if there are none."""
    lines = [other.summary for other in other.others[:MOST_RUNS]]
    return table(columns.OTHER_SCENARIOS, lines) if lines else ""


class TableMaker(Protocol):
    """Renders a table in some format."""

    def __call__(self, table_columns: Sequence[Column[Line]], lines: Sequence[Line], /) -> str:
        """Render a table, with cells escaped for the format."""
        ...


@dataclass(frozen=True)
class SectionView:
    """A section's tables and texts, as the templates use them."""

    section: ReportSection
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
    machine_costs: str
    disturbances: Sequence[str]
    unfinished: Sequence[str]
    time_to_accuracy: str
    digits: str
    vs_reference: str
    vs_reference_note: str
    phases_head: str
    phase_costs: str
    surroundings: Sequence[str]
    settings: Sequence[str]


def section_view(section: ReportSection, table: TableMaker) -> SectionView:
    """Render the tables and texts of one section."""
    runs = section.document.runs
    own_runs = section.document.own_runs
    phases = phases_of(own_runs)
    has_several_thread_counts = text.has_several_thread_counts(runs)
    run_columns = columns.columns_of_runs(
        threads=has_several_thread_counts, machines=len({run.machine_id for run in runs}) > 1
    )
    machine_costs: tuple[MachineCosts, ...] = section.document.machine_costs
    scaling: tuple[Scaling, ...] = section.document.scaling
    times_to_accuracy, vs_reference = section.document.reaches, section.document.standings
    phase_costs: tuple[PhaseCost, ...] = phases.costs if phases else ()
    return SectionView(
        section=section,
        headline=text.headline(section.document),
        warning=text.image_warning(runs),
        table_title=text.table_title(section.rows),
        table_1=table(columns.TABLE_1, section.rows),
        accuracies=table(columns.ACCURACIES, section.rows),
        runs=table(run_columns, runs[-MOST_RUNS:]),
        runs_left_out=max(0, len(runs) - MOST_RUNS),
        scaling=table(columns.SCALING, scaling) if scaling else "",
        scaling_notes=text.scaling_notes(scaling),
        row_notes=(
            *text.machine_notes(section.rows, section.document),
            *text.row_notes(section.rows),
            *text.contradictions(section.rows),
        ),
        machine_costs=table(columns.MACHINE_COSTS, machine_costs) if machine_costs else "",
        disturbances=text.disturbances(own_runs),
        unfinished=text.unfinished(runs),
        time_to_accuracy=table(columns.TIME_TO_ACCURACY, times_to_accuracy)
        if times_to_accuracy
        else "",
        digits=table(columns.DIGITS, section.confusion.digits) if section.confusion else "",
        vs_reference=table(columns.VS_REFERENCE, vs_reference) if vs_reference else "",
        vs_reference_note=text.vs_reference_note(vs_reference),
        phases_head=(
            text.phases_head(phases, threads=text.has_several_thread_counts(own_runs))
            if phases
            else ""
        ),
        phase_costs=table(columns.PHASES, phase_costs) if phase_costs else "",
        surroundings=text.surroundings(section.system_state) if section.system_state else (),
        settings=text.settings(runs),
    )
