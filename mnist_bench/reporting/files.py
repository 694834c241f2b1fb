"""Render reports and write their files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mnist_bench.core import files
from mnist_bench.reporting import csv, markdown
from mnist_bench.reporting.json import json_pieces
from mnist_bench.reporting.model import Report, ReportSection
from mnist_bench.reporting.text import title


def write_reports(
    folder: Path, name: str, section: ReportSection, ui: str | None = None
) -> tuple[Path, ...]:
    """Write `<name>.html`, `.md`, `.csv`, `.runs.csv` and `.json` of one scenario.

    Args:
        folder: Output folder, created if missing.
        name: Stem of the files.
        section: The scenario's report.
        ui: Address of the experiment in MLflow's UI, for links to runs; None if unknown.

    Returns:
        Paths of the files, the page first.

    Raises:
        BenchError: A file can't be written; existing reports of that name are left intact.
    """
    page = Report(
        title=title((section,), (), section.document.machine),
        command=section.command,
        created=section.created,
        document=section.document,
        sections=(section,),
        ui=ui,
    )
    rendered = (
        *render(page, ["html"]).files,
        files.File(".md", markdown.section_to_markdown(section)),
        files.File(".csv", csv.rows_csv(section.rows)),
        files.File(".runs.csv", partial(csv.runs_lines, section.document.runs)),
        files.File(".json", partial(json_pieces, section.document)),
    )
    return files.write(folder, name, rendered)


@dataclass(frozen=True)
class RenderedReport:
    """A report rendered to its formats.

    Attributes:
        files: In the order of the formats; `csv` has two files, of rows and of runs.
        charts: SVG files by name; empty unless HTML is among the formats.
    """

    files: tuple[files.File, ...]
    charts: Mapping[str, bytes]


def render(report: Report, formats: Sequence[str]) -> RenderedReport:
    """Render a report to some of `REPORT_FORMATS`."""
    rendered: list[files.File] = []
    chart_files: Mapping[str, bytes] = {}
    for suffix in formats:
        if suffix == "html":
            from mnist_bench.reporting.figures import charts_of_report  # slow to load
            from mnist_bench.reporting.html import report_to_html

            charts = charts_of_report(report)
            chart_files = charts.files(report)
            rendered.append(files.File(".html", report_to_html(report, charts)))
        elif suffix == "md":
            rendered.append(files.File(".md", markdown.report_to_markdown(report)))
        elif suffix == "csv":
            rows = [row for each in (*report.sections, *report.others) for row in each.rows]
            rendered.append(files.File(".csv", csv.rows_csv(rows)))
            runs = partial(csv.runs_lines, report.document.runs)
            rendered.append(files.File(".runs.csv", runs))
        else:
            rendered.append(files.File(".json", partial(json_pieces, report.document)))
    return RenderedReport(tuple(rendered), chart_files)
