"""The sample's page is what this version makes of the sample's document.

With MNIST_BENCH_RENEW_GOLDEN=1 it is written again. The document has no curves, predictions and
layer maps, so the page has no charts of them.
"""

from __future__ import annotations

import re
from pathlib import Path

from golden import RENEW

from mnist_bench.analysis import table1
from mnist_bench.analysis.reference import compare_with_reference
from mnist_bench.reporting.figures import charts_of_report
from mnist_bench.reporting.html import report_to_html
from mnist_bench.reporting.model import Report, ReportSection
from mnist_bench.reporting.sections import comparable_first
from mnist_bench.reporting.text import title
from mnist_bench.results.document import Document

SAMPLE = Path(__file__).parents[2] / "reports" / "sample"


def sample_report() -> Report:
    """The report of the sample's document, of 2026-11-26."""
    document = Document.model_validate_json((SAMPLE / "report.json").read_text(encoding="utf-8"))
    reference, machine = table1.reference_document(), document.machine
    sections = []
    for each in comparable_first(document.runs):
        rows = table1.rows(each.runs, table1.spreads_of(reference), machine.machine_id)
        of_section = table1.document_of(machine, each.runs, rows, {}).model_copy(
            update={
                "reaches": tuple(line for line in document.reaches if line.scenario == each.name),
                "standings": compare_with_reference(rows, reference),
            }
        )
        sections.append(
            ReportSection(
                title=f"Scenario {each.name}", scenario=each.name, command="",
                created="2026-11-26", document=of_section, rows=rows,
            )
        )  # fmt: skip
    return Report(
        title=title(sections, (), machine), command="mnist-bench report --data DIR",
        created="2026-11-26", document=document, sections=tuple(sections),
    )  # fmt: skip


def without_charts(text: str) -> str:
    """The page without what depends on Matplotlib."""
    return re.sub(r"<svg.*?</svg>", "<svg/>", text.replace("\r\n", "\n"), flags=re.DOTALL)


def test_the_page_is_of_this_version() -> None:
    report, page = sample_report(), SAMPLE / "report.html"
    text = report_to_html(report, charts_of_report(report))
    if RENEW:
        page.write_text(text, encoding="utf-8", newline="\n")
    assert without_charts(page.read_text(encoding="utf-8")) == without_charts(text)
