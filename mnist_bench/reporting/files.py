"""Comparisons as text and files: draws, never computes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mnist_bench.core import files
from mnist_bench.reporting import csv, markdown
from mnist_bench.reporting.json import json_pieces
from mnist_bench.reporting.model import Report, ReportSection


def write_reports(folder: Path, name: str, report: ReportSection) -> tuple[Path, ...]:
    """Write `<name>.md`, `.csv`, `.runs.csv` and `.json`.

    Args:
        folder: Made where it is missing.
        name: The files' common stem.
        report: What there is to tell.

    Returns:
        The files, the one for people first.

    Raises:
        BenchError: One can't be written; reports of that name from before stay whole.
    """
    contents = (
        files.File(".md", markdown.to_markdown(report)),
        files.File(".csv", csv.rows_csv(report.rows)),
        files.File(".runs.csv", partial(csv.runs_lines, report.document.runs)),
        files.File(".json", partial(json_pieces, report.document)),
    )
    return files.write(folder, name, contents)


@dataclass(frozen=True)
class RenderedReport:
    """A book in its formats.

    Attributes:
        files: In the order of the formats; `csv` is two files, of rows and of runs.
        drawings: Each as an SVG file of its own, by name; none where no page was asked for.
    """

    files: tuple[files.File, ...]
    drawings: Mapping[str, bytes]


def render(book: Report, formats: Sequence[str]) -> RenderedReport:
    """A book in some of `REPORT_FORMATS`."""
    contents: list[files.File] = []
    drawn: Mapping[str, bytes] = {}
    for suffix in formats:
        if suffix == "html":
            from mnist_bench.reporting.figures import drawings_of  # slow to load
            from mnist_bench.reporting.html import book_to_html

            drawings = drawings_of(book)
            drawn = drawings.files(book)
            contents.append(files.File(".html", book_to_html(book, drawings)))
        elif suffix == "md":
            contents.append(files.File(".md", markdown.book_to_markdown(book)))
        elif suffix == "csv":
            rows = [row for report in (*book.reports, *book.others) for row in report.rows]
            contents.append(files.File(".csv", csv.rows_csv(rows)))
            runs = partial(csv.runs_lines, book.document.runs)
            contents.append(files.File(".runs.csv", runs))
        else:
            contents.append(files.File(".json", partial(json_pieces, book.document)))
    return RenderedReport(tuple(contents), drawn)
