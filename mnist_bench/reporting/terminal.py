"""The table on the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mnist_bench.core.escaping import one_line
from mnist_bench.reporting import claims
from mnist_bench.reporting import columns as cells
from mnist_bench.reporting import text as words
from mnist_bench.reporting.model import ReportSection
from mnist_bench.results.claims import ClaimLine, ClaimVerdict

_GAP = 2
"""Blank characters between columns."""
_STYLES: dict[str, str] = {
    "exceeds": "green",
    "indistinguishable": "cyan",
    "below": "red",
    "not comparable": "yellow",
}
_CLAIM_STYLES: dict[ClaimVerdict, str] = {
    "holds": "green",
    "does not hold": "red",
    "not decided here": "yellow",
}


def print_table(report: ReportSection, console: Console) -> None:
    """Print what came out; a narrow terminal gets fewer columns.

    Args:
        report: What there is to tell.
        console: Where to; it alone decides on width and colours.
    """
    _say(console, report.title, "bold")
    warning = words.image_warning(report.document.runs)
    if warning:
        _say(console, warning, "bold red")
    if report.rows:
        for columns in (cells.TABLE_1, cells.ACCURACIES):
            console.print()
            console.print(_table(columns, report.rows, console.width))
        console.print()
    for note in words.row_notes(report.rows):
        _say(console, note)
    _print_scaling(report, console)
    for line in words.disturbances(report.document.runs):
        _say(console, line, "yellow")
    for line in words.unfinished(report.document.runs):
        _say(console, line, "red")
    _say(console, words.headline(report.document))


def print_claims(lines: Sequence[ClaimLine], console: Console) -> None:
    """Print claims, each with what decided it under it."""
    for line in lines:
        _say(console, f"{claims.title(line)}: {line.words}", _CLAIM_STYLES[line.verdict])
        for each in line.decisions:
            _say(console, f"- {claims.found(each)}")
    _say(console, claims.headline(lines), "bold")


def _print_scaling(report: ReportSection, console: Console) -> None:
    lines = report.document.scaling
    if lines:
        console.print()
        console.print(_table(cells.SCALING, lines, console.width))
        console.print()
    for note in words.scaling_notes(lines):
        _say(console, note)


def _say(console: Console, text: str, style: str = "") -> None:
    console.print(Text(one_line(text), style=style))


def _table(
    columns: Sequence[cells.Column[cells.Line]], lines: Sequence[cells.Line], width: int
) -> Table:
    shown = fitting(columns, lines, width)
    table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="bold")
    for column in shown:
        table.add_column(
            column.header, justify="left" if column.words else "right", overflow="fold"
        )
    for line in lines:
        table.add_row(*(_cell(column, line) for column in shown))
    return table


def _cell(column: cells.Column[cells.Line], line: cells.Line) -> Text:
    text = one_line(column.text(line))
    return Text(text, style=_STYLES.get(text, ""))


def fitting(
    columns: Sequence[cells.Column[cells.Line]], lines: Sequence[cells.Line], width: int
) -> list[cells.Column[cells.Line]]:
    """The columns that have room in `width` characters; the least important go first."""
    shown = list(columns)
    while sum(_width(c, lines) + _GAP for c in shown) - _GAP > width:
        droppable = [c for c in shown if c.importance]
        if not droppable:
            break  # rich folds what is left
        shown.remove(min(droppable, key=lambda c: c.importance))
    return shown


def _width(column: cells.Column[cells.Line], lines: Sequence[cells.Line]) -> int:
    return max(cell_len(text) for text in (column.header, *map(column.text, lines)))
