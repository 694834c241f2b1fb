"""Reports as Markdown; recorded text is escaped."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from mnist_bench.core.escaping import markdown
from mnist_bench.reporting.model import Report, ReportSection
from mnist_bench.reporting.templating import environment
from mnist_bench.tuning.document import StudyDocument


def section_to_markdown(section: ReportSection) -> str:
    """Render one scenario's report."""
    return _render("scenario.j2", section=section, sections=[section])


def report_to_markdown(report: Report) -> str:
    """Render a report of several scenarios."""
    return _render("report.j2", report.link, report=report)


def study_to_markdown(document: StudyDocument, created: str, pictures: Sequence[str]) -> str:
    """Render the report of a study.

    Args:
        document: The study.
        created: Date, as `2026-01-31`.
        pictures: File names of the charts, in the report's folder.
    """
    return _render("study.j2", study=document, created=created, pictures=pictures)


def _render(
    template: str, link: Callable[[object], str | None] = lambda _: None, **values: Any
) -> str:
    from markupsafe import Markup  # loaded with Jinja

    def show(text: str) -> Markup:
        return Markup(markdown(text))  # noqa: S704 - what is left has no meaning in HTML

    text = environment("macros.md.j2", show).get_template(template).render(link=link, **values)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"
