"""The report as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from mnist_bench.core.escaping import EscapedText, code, markdown
from mnist_bench.reporting import claims, study
from mnist_bench.reporting import columns as cells
from mnist_bench.reporting import text as words
from mnist_bench.reporting.methodology import explained
from mnist_bench.reporting.model import Report, ReportSection
from mnist_bench.reporting.view import others_left_out, part_of, table_of_others

if TYPE_CHECKING:
    import jinja2


def to_markdown(report: ReportSection) -> str:
    """One scenario's report; text from outside shows as itself and is never run as Markdown."""
    return _template("report.md.j2").render(
        report=report,
        machine=report.document.machine,
        command=code(report.command),
        part=part_of(report, table),
        explained=explained([report]),
        words=words,
        h=EscapedText("##"),
    )


def book_to_markdown(book: Report) -> str:
    """A book of reports, likewise."""

    def linked(
        columns: Sequence[cells.Column[cells.Line]], lines: Sequence[cells.Line], /
    ) -> EscapedText:
        return table(columns, lines, book.link)

    told = book.document.claims
    return _template("book.md.j2").render(
        book=book,
        machine=book.document.machine,
        command=code(book.command),
        parts=[part_of(report, linked) for report in book.reports],
        studies=[
            (
                each,
                study.headline(each),
                study.counts(each),
                linked(study.best_columns(each), study.best_trials(each)),
            )
            for each in book.studies
        ],
        others=table_of_others(book, linked),
        others_left_out=others_left_out(book),
        machines=table(cells.MACHINES, book.document.machines) if book.document.machines else "",
        claims=table(claims.CLAIMS, told) if told else "",
        decided=[(line, table(claims.DECISIONS, line.decisions)) for line in told],
        claim_words=claims,
        explained=explained(book.reports),
        words=words,
        h=EscapedText("###"),
    )


def table(
    columns: Sequence[cells.Column[cells.Line]],
    lines: Sequence[cells.Line],
    link: Callable[[cells.Line], str | None] = lambda _: None,
) -> EscapedText:
    """Lines as a Markdown table, figures to the right.

    Args:
        columns: Of the table.
        lines: Of the table.
        link: Where a run is shown, for the column that names it.
    """
    parts: list[Sequence[str]] = [
        [markdown(column.header) for column in columns],
        ["---" if column.words else "---:" for column in columns],
    ]
    parts += [[_cell(column, line, link) for column in columns] for line in lines]
    return EscapedText("\n".join(f"| {' | '.join(part)} |" for part in parts))


def _cell(
    column: cells.Column[cells.Line],
    line: cells.Line,
    link: Callable[[cells.Line], str | None],
) -> EscapedText:
    text = markdown(column.text(line))
    address = link(line) if column.header == "Run" else None
    return EscapedText(f"[{text}]({quote(address, safe=':/#?&=%')})") if address else text


def _template(name: str) -> jinja2.Template:
    import jinja2  # slow to load

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent, encoding="utf-8"),
        undefined=jinja2.StrictUndefined,
        finalize=markdown,  # escapes whatever is not Markdown already
        autoescape=False,  # noqa: S701 - that would be for HTML
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(name)
