"""All drawings of a book."""

from __future__ import annotations

import html
import itertools
import re
from collections.abc import Container, Mapping
from dataclasses import dataclass

from mnist_bench.analysis.costs import phases_of
from mnist_bench.core.escaping import one_line
from mnist_bench.reporting import charts, claim_charts, digit_charts, study_charts
from mnist_bench.reporting.model import Report, ReportSection
from mnist_bench.reporting.svg import Chart
from mnist_bench.scenarios import paper


@dataclass(frozen=True)
class Drawings:
    """What is drawn, by where it stands.

    Attributes:
        parts: Of each report: curves, time and memory.
        confusions: Of each report: the digits.
        studies: Of each study.
        layers: Figures 1 to 4.
        claims: Of each claim that has some, by its number.
    """

    parts: tuple[tuple[Chart, ...], ...]
    confusions: tuple[tuple[Chart, ...], ...]
    studies: tuple[tuple[Chart, ...], ...]
    layers: tuple[Chart, ...]
    claims: Mapping[int, tuple[Chart, ...]]

    def files(self, book: Report) -> dict[str, bytes]:
        """Each as a file of its own, by name."""
        owned = [
            (report.scenario, chart)
            for drawn in (self.parts, self.confusions)
            for report, of in zip(book.reports, drawn, strict=True)
            for chart in of
        ]
        owned += [
            (study.study, chart)
            for study, of in zip(book.studies, self.studies, strict=True)
            for chart in of
        ]
        owned += [(f"claim-{claim}", chart) for claim, of in self.claims.items() for chart in of]
        files = {chart.name: chart for chart in self.layers}
        for owner, chart in owned:
            files[_free(f"{_slug(owner)}-{chart.name}", files)] = chart
        return {f"{name}.svg": on_paper(chart).encode() for name, chart in files.items()}


def on_paper(chart: Chart) -> str:
    """A drawing that stands alone: no page gives it ink, paper and words."""
    opening, end, rest = chart.svg.partition(">")
    own = opening.replace("<svg", '<svg role="img" style="color: #1b1b1b; background: #ffffff"', 1)
    title, words = (html.escape(one_line(text)) for text in (chart.title, chart.alternative))
    return f"{own}{end}<title>{title}</title><desc>{words}</desc>{rest}"


def _free(name: str, taken: Container[str]) -> str:
    """A name that no other has: two scenarios may be alike in all that a file can be called."""
    numbered = (f"{name}-{number}" for number in itertools.count(2))
    return next(each for each in itertools.chain((name,), numbered) if each not in taken)


def _slug(name: str) -> str:
    """A name as a piece of a file's, wherever it comes from."""
    return re.sub(r"[^a-z0-9-]+", "-", name.lower())[:60].strip("-") or "unnamed"


def drawings_of(book: Report) -> Drawings:
    """Draw everything that there are figures for."""
    return Drawings(
        parts=tuple(_curves(r, f"part-{i}") for i, r in enumerate(book.reports, 1)),
        confusions=tuple(
            digit_charts.charts_of_confusion(r.confusion, f"part-{i}") if r.confusion else ()
            for i, r in enumerate(book.reports, 1)
        ),
        studies=tuple(
            study_charts.charts_of_study(study, f"study-{i}")
            for i, study in enumerate(book.studies, 1)
        ),
        layers=digit_charts.charts_of_layers(book.layers, "layers") if book.layers else (),
        claims={each.claim: claim_charts.charts_of_finding(each) for each in book.findings},
    )


def _curves(report: ReportSection, prefix: str) -> tuple[Chart, ...]:
    if not report.is_drawn:
        return ()
    return charts.charts_of(
        report.curves,
        phases_of(report.document.runs),
        paper.TABLE_1 if report.compares else (),
        prefix=prefix,
    )
