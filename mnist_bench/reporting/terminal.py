"""Reports and claims on the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mnist_bench.core.escaping import one_line
from mnist_bench.reporting import text
from mnist_bench.reporting.columns import (
    ACCURACIES,
    COSTS,
    MACHINE_COSTS,
    OTHER_STEP_COUNTS,
    OTHER_SUMMARY,
    SCALING,
    SUMMARY,
    TABLE_1,
    Column,
    Line,
    tables_of_rows,
)
from mnist_bench.reporting.model import ReportSection
from mnist_bench.results.claims import ClaimLine, ClaimVerdict

_GAP = 2
"""Blank characters between columns."""
_STYLES: dict[str, str] = {
    "exceeds": "green",
    "reproduced": "cyan",
    "below": "red",
    "not comparable": "yellow",
}
_CLAIM_STYLES: dict[ClaimVerdict, str] = {
    "holds": "green",
    "does not hold": "red",
    "not decided here": "yellow",
}


def print_summary(section: ReportSection, console: Console) -> None:
    """Print a scenario's table and its outcome; a narrow terminal gets fewer columns."""
    document = section.document
    _print_line(console, section.title, "bold")
    for columns, rows in tables_of_rows(section.rows, SUMMARY, OTHER_SUMMARY):
        console.print()
        console.print(_table(columns, rows, console.width))
    if document.scaling:
        console.print()
        console.print(_table(SCALING, document.scaling, console.width))
    console.print()
    warning = text.image_warning(document.runs)
    _print_line(console, warning or text.outcome(document), "bold red" if warning else "")
    for line in text.disturbed_note(section.rows, document.own_runs):
        _print_line(console, line, "yellow")
    if sentence := text.score(section):
        _print_line(console, sentence)


def print_table(section: ReportSection, console: Console) -> None:
    """Print all of a scenario's report; a narrow terminal gets fewer columns."""
    _print_line(console, section.title, "bold")
    warning = text.image_warning(section.document.runs)
    if warning:
        _print_line(console, warning, "bold red")
    if section.rows:
        of_table_1 = [row for row in section.rows if row.paper_step is not None]
        for columns, rows in (
            *tables_of_rows(section.rows, TABLE_1, OTHER_STEP_COUNTS),
            (COSTS, section.rows),
            *([(ACCURACIES, of_table_1)] if of_table_1 else ()),
        ):
            console.print()
            console.print(_table(columns, rows, console.width))
        console.print()
    document = section.document
    of_machines = text.machine_notes(section.rows, document)
    disturbed = text.disturbed_note(section.rows, document.own_runs)
    for note in (*of_machines, *text.row_notes(section.rows), *disturbed):
        _print_line(console, note)
    if document.machine_costs:
        console.print()
        _print_line(console, "Each machine", "bold")
        console.print(_table(MACHINE_COSTS, document.machine_costs, console.width))
        console.print()
    if document.scaling:
        console.print()
        console.print(_table(SCALING, document.scaling, console.width))
        console.print()
    for note in text.scaling_notes(document.scaling):
        _print_line(console, note)
    for line in text.disturbances(document.own_runs):
        _print_line(console, line, "yellow")
    for line in text.unfinished(document.runs):
        _print_line(console, line, "red")
    _print_line(console, text.headline(document))


def print_claims(lines: Sequence[ClaimLine], console: Console) -> None:
    """Print claims, each followed by its decisions."""
    for line in lines:
        _print_line(console, f"{text.claim_title(line)}: {line.words}", _CLAIM_STYLES[line.verdict])
        for decision in line.decisions:
            _print_line(console, f"- {text.found(decision)}")
    _print_line(console, text.claims_headline(lines), "bold")


def _print_line(console: Console, line: str, style: str = "") -> None:
    console.print(Text(one_line(line), style=style))


def _table(columns: Sequence[Column[Line]], lines: Sequence[Line], width: int) -> Table:
    shown_columns = fitting(columns, lines, width)
    table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="bold")
    for column in shown_columns:
        table.add_column(
            column.header, justify="left" if column.words else "right", overflow="fold"
        )
    for line in lines:
        table.add_row(*(_cell(column, line) for column in shown_columns))
    return table


def _cell(column: Column[Line], line: Line) -> Text:
    cell = one_line(column.text(line))
    return Text(cell, style=_STYLES.get(cell, ""))


def fitting(
    columns: Sequence[Column[Line]], lines: Sequence[Line], width: int
) -> list[Column[Line]]:
    """Columns that fit into `width` characters; the least important are dropped first."""
    shown_columns = list(columns)
    while sum(_width(column, lines) + _GAP for column in shown_columns) - _GAP > width:
        droppable = [column for column in shown_columns if column.importance]
        if not droppable:
            break  # rich wraps the remaining columns
        shown_columns.remove(min(droppable, key=lambda column: column.importance))
    return shown_columns


def _width(column: Column[Line], lines: Sequence[Line]) -> int:
    return max(map(cell_len, (column.header, *(one_line(column.text(line)) for line in lines))))
