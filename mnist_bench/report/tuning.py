"""A study in a book: its charts."""

from __future__ import annotations

from mnist_bench.report import pictures, study
from mnist_bench.report.drawing import Chart, Drawn, charted
from mnist_bench.study_document import StudyDocument


def charts_of_study(document: StudyDocument, prefix: str) -> tuple[Chart, ...]:
    """How the search went, and what mattered."""
    drawn = []
    if document.finished:
        drawn.append(
            Drawn(
                name="history",
                title="The search, trial by trial",
                alternative=study.counts(document),
                figure=pictures.history(document),
            )
        )
    if document.importances:
        falling = sorted(document.importances.items(), key=lambda pair: -pair[1])
        told = ", ".join(f"{name} {share:.0%}" for name, share in falling)
        drawn.append(
            Drawn(
                name="importances",
                title="What mattered",
                alternative=f"Share of each parameter in what matters: {told}.",
                figure=pictures.importances(document),
            )
        )
    return tuple(charted(each, prefix) for each in drawn)
