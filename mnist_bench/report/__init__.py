"""Comparisons as text and files: draws, never computes."""

from __future__ import annotations

from pathlib import Path

from mnist_bench.report import csv_file, files, markdown
from mnist_bench.report.contents import Report
from mnist_bench.report.json_file import to_json
from mnist_bench.report.screen import print_table

__all__ = ["Report", "print_table", "to_json", "write_reports"]


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
