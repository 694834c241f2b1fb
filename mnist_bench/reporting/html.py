"""The report as a self-contained HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mnist_bench.core.escaping import one_line
from mnist_bench.reporting import claims, study, text
from mnist_bench.reporting.columns import MACHINES, Column, Line
from mnist_bench.reporting.figures import ReportCharts
from mnist_bench.reporting.methodology import explanations
from mnist_bench.reporting.model import Report
from mnist_bench.reporting.svg import Chart
from mnist_bench.reporting.view import others_left_out, section_view, table_of_others

_TEMPLATES = Path(__file__).parent / "templates"


def report_to_html(report: Report, charts: ReportCharts) -> str:
    """Render the page; recorded text is escaped."""
    import jinja2  # slow to load
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES, encoding="utf-8"),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"line": lambda value: one_line(str(value))}

    def table(columns: Sequence[Column[Line]], lines: Sequence[Line], /) -> Markup:
        rendered = environment.get_template("table.html.j2").render(
            columns=columns, lines=lines, link=report.link
        )
        return Markup(rendered)  # noqa: S704  # escaped by the template

    def with_svg(charts: Sequence[Chart]) -> list[tuple[Chart, Markup]]:
        return [(chart, Markup(chart.svg)) for chart in charts]  # noqa: S704  # made by svg.py

    claim_lines = report.document.claims
    return environment.get_template("report_page.html.j2").render(
        report=report,
        machine=report.document.machine,
        views=[section_view(section, table) for section in report.sections],
        charts=[with_svg(of_section) for of_section in charts.sections],
        confusions=[with_svg(of_section) for of_section in charts.confusions],
        studies=[
            (
                *(document, study.headline(document), study.counts(document)),
                table(study.best_columns(document), study.best_trials(document)),
                with_svg(charts),
            )
            for document, charts in zip(report.studies, charts.studies, strict=True)
        ],
        figures=with_svg(charts.layers),
        others=table_of_others(report, table),
        others_left_out=others_left_out(report),
        machines=table(MACHINES, report.document.machines) if report.document.machines else "",
        claims=table(claims.CLAIMS, claim_lines) if claim_lines else "",
        decided_claims=[
            (
                line,
                table(claims.DECISIONS, line.decisions),
                with_svg(charts.claims.get(line.claim, ())),
            )
            for line in claim_lines
        ],
        claim_text=claims,
        explanations=explanations(report.sections),
        text=text,
    )
