"""Comparisons as text and files: draws, never computes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mnist_bench.report import csv_file, files, markdown
from mnist_bench.report.contents import Book, Report
from mnist_bench.report.json_file import to_json
from mnist_bench.report.screen import print_table

__all__ = ["Book", "Report", "print_table", "to_json", "write_book", "write_reports"]


def write_reports(folder: Path, name: str, report: Report) -> tuple[Path, ...]:
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
        files.File(".csv", csv_file.rows_csv(report.rows)),
        files.File(".runs.csv", csv_file.runs_csv(report.document.runs)),
        files.File(".json", to_json(report.document)),
    )
    return files.write(folder, name, contents)


def write_book(folder: Path, name: str, book: Book, formats: Sequence[str]) -> tuple[Path, ...]:
    """Write a book in some of `REPORT_FORMATS`; `csv` is two files, of rows and of runs.

    Args:
        folder: Made where it is missing.
        name: The files' common stem.
        book: What there is to tell.
        formats: By suffix.

    Returns:
        The files, in the order of the formats.

    Raises:
        BenchError: One can't be written; those of that name from before stay whole.
    """
    contents: list[files.File] = []
    for suffix in formats:
        if suffix == "html":
            from mnist_bench.report.html import book_to_html  # it draws: slow to load

            contents.append(files.File(".html", book_to_html(book)))
        elif suffix == "md":
            contents.append(files.File(".md", markdown.book_to_markdown(book)))
        elif suffix == "csv":
            rows = [row for report in book.reports for row in report.rows]
            contents.append(files.File(".csv", csv_file.rows_csv(rows)))
            contents.append(files.File(".runs.csv", csv_file.runs_csv(book.document.runs)))
        else:
            contents.append(files.File(".json", to_json(book.document)))
    return files.write(folder, name, contents)
