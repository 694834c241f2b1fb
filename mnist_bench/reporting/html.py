"""The report as one page of HTML that needs nothing beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mnist_bench.core.escaping import one_line
from mnist_bench.reporting import claims, study
from mnist_bench.reporting import columns as cells
from mnist_bench.reporting import text as words
from mnist_bench.reporting.figures import Drawings
from mnist_bench.reporting.methodology import explained
from mnist_bench.reporting.model import Report
from mnist_bench.reporting.svg import Chart
from mnist_bench.reporting.view import others_left_out, part_of, table_of_others

_TEMPLATE = "book.html.j2"


def book_to_html(book: Report, drawings: Drawings) -> str:
    """The whole page; text from outside shows as itself and is never run."""
    import jinja2  # slow to load
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent, encoding="utf-8"),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"line": lambda text: one_line(str(text))}

    def table(
        columns: Sequence[cells.Column[cells.Line]], lines: Sequence[cells.Line], /
    ) -> Markup:
        made = environment.get_template("table.html.j2").render(
            columns=columns, lines=lines, link=book.link
        )
        return Markup(made)  # noqa: S704  # the template has escaped it

    def drawn(charts: Sequence[Chart]) -> list[tuple[Chart, Markup]]:
        return [(chart, Markup(chart.svg)) for chart in charts]  # noqa: S704  # drawn here

    told = book.document.claims
    return environment.get_template(_TEMPLATE).render(
        book=book,
        machine=book.document.machine,
        parts=[part_of(report, table) for report in book.reports],
        charts=[drawn(charts) for charts in drawings.parts],
        confusions=[drawn(charts) for charts in drawings.confusions],
        studies=[
            (
                *(each, study.headline(each), study.counts(each)),
                table(study.best_columns(each), study.best_trials(each)),
                drawn(charts),
            )
            for each, charts in zip(book.studies, drawings.studies, strict=True)
        ],
        figures=drawn(drawings.layers),
        others=table_of_others(book, table),
        others_left_out=others_left_out(book),
        machines=table(cells.MACHINES, book.document.machines) if book.document.machines else "",
        claims=table(claims.CLAIMS, told) if told else "",
        decided=[
            (
                line,
                table(claims.DECISIONS, line.decisions),
                drawn(drawings.claims.get(line.claim, ())),
            )
            for line in told
        ],
        claim_words=claims,
        explained=explained(book.reports),
        words=words,
    )
