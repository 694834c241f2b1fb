"""Reports as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from mnist_bench.core.escaping import EscapedText, code, markdown
from mnist_bench.reporting import claims, study, text
from mnist_bench.reporting.columns import MACHINES, Column, Line
from mnist_bench.reporting.methodology import explanations
from mnist_bench.reporting.model import Report, ReportSection
from mnist_bench.reporting.view import others_left_out, section_view, table_of_others

if TYPE_CHECKING:
    import jinja2

_TEMPLATES = Path(__file__).parent / "templates"


def section_to_markdown(section: ReportSection) -> str:
    """Render one scenario's report; recorded text is escaped."""
    return _template("scenario_report.md.j2").render(
        section=section,
        machine=section.document.machine,
        command=code(section.command),
        view=section_view(section, table),
        explanations=explanations([section]),
        text=text,
        heading=EscapedText("##"),
    )


def report_to_markdown(report: Report) -> str:
    """Render a report of several scenarios; recorded text is escaped."""

    def linked_table(columns: Sequence[Column[Line]], lines: Sequence[Line], /) -> EscapedText:
        return table(columns, lines, report.link)

    claim_lines = report.document.claims
    return _template("report.md.j2").render(
        report=report,
        machine=report.document.machine,
        command=code(report.command),
        views=[section_view(section, linked_table) for section in report.sections],
        studies=[
            (
                document,
                study.headline(document),
                study.counts(document),
                linked_table(study.best_columns(document), study.best_trials(document)),
            )
            for document in report.studies
        ],
        others=table_of_others(report, linked_table),
        others_left_out=others_left_out(report),
        machines=table(MACHINES, report.document.machines) if report.document.machines else "",
        claims=table(claims.CLAIMS, claim_lines) if claim_lines else "",
        decided_claims=[(line, table(claims.DECISIONS, line.decisions)) for line in claim_lines],
        claim_text=claims,
        explanations=explanations(report.sections),
        text=text,
        heading=EscapedText("###"),
    )


def table(
    columns: Sequence[Column[Line]],
    lines: Sequence[Line],
    link: Callable[[Line], str | None] = lambda _: None,
) -> EscapedText:
    """A Markdown table, with numbers aligned right.

    Args:
        columns: Columns of the table.
        lines: Lines of the table.
        link: Address of a line's run, for the column "Run".
    """
    rows: list[Sequence[str]] = [
        [markdown(column.header) for column in columns],
        ["---" if column.words else "---:" for column in columns],
    ]
    rows += [[_cell(column, line, link) for column in columns] for line in lines]
    return EscapedText("\n".join(f"| {' | '.join(row)} |" for row in rows))


def _cell(
    column: Column[Line],
    line: Line,
    link: Callable[[Line], str | None],
) -> EscapedText:
    cell = markdown(column.text(line))
    address = link(line) if column.header == "Run" else None
    return EscapedText(f"[{cell}]({quote(address, safe=':/#?&=%')})") if address else cell


def _template(name: str) -> jinja2.Template:
    import jinja2  # slow to load

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES, encoding="utf-8"),
        undefined=jinja2.StrictUndefined,
        finalize=markdown,  # escapes everything that is not EscapedText
        autoescape=False,  # noqa: S701 - jinja2's own escaping is for HTML
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(name)
