"""All charts of a report, for its page and as SVG files."""

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
class ReportCharts:
    """Charts of a report, by where they appear.

    Attributes:
        sections: Per section: curves, time and memory.
        confusions: Per section: confusion matrix and misclassified images.
        studies: Per study.
        layers: Figures 1 to 4.
        claims: By number of the claim.
    """

    sections: tuple[tuple[Chart, ...], ...]
    confusions: tuple[tuple[Chart, ...], ...]
    studies: tuple[tuple[Chart, ...], ...]
    layers: tuple[Chart, ...]
    claims: Mapping[int, tuple[Chart, ...]]

    def files(self, report: Report) -> dict[str, bytes]:
        """SVG files by name."""
        charts_by_owner = [
            (section.scenario, chart)
            for charts_by_section in (self.sections, self.confusions)
            for section, charts in zip(report.sections, charts_by_section, strict=True)
            for chart in charts
        ]
        charts_by_owner += [
            (study.study, chart)
            for study, charts in zip(report.studies, self.studies, strict=True)
            for chart in charts
        ]
        charts_by_owner += [
            (f"claim-{claim}", chart) for claim, charts in self.claims.items() for chart in charts
        ]
        files = {chart.name: chart for chart in self.layers}
        for owner, chart in charts_by_owner:
            files[_unused_name(f"{_file_name(owner)}-{chart.name}", files)] = chart
        return {f"{name}.svg": standalone_svg(chart).encode() for name, chart in files.items()}


def standalone_svg(chart: Chart) -> str:
    """A chart as an SVG file, with its own colors, title and description."""
    opening, end, rest = chart.svg.partition(">")
    styled = opening.replace(
        "<svg", '<svg role="img" style="color: #1b1b1b; background: #ffffff"', 1
    )
    title, description = (html.escape(one_line(text)) for text in (chart.title, chart.alternative))
    return f"{styled}{end}<title>{title}</title><desc>{description}</desc>{rest}"


def _unused_name(name: str, existing: Container[str]) -> str:
    """A name not in use; names of two scenarios may become equal as file names."""
    numbered = (f"{name}-{number}" for number in itertools.count(2))
    return next(
        candidate for candidate in itertools.chain((name,), numbered) if candidate not in existing
    )


def _file_name(name: str) -> str:
    """A name reduced to characters that are safe in file names."""
    return re.sub(r"[^a-z0-9-]+", "-", name.lower())[:60].strip("-") or "unnamed"


def charts_of_report(report: Report) -> ReportCharts:
    """Draw all charts of a report."""
    return ReportCharts(
        sections=tuple(
            _section_charts(section, f"part-{i}") for i, section in enumerate(report.sections, 1)
        ),
        confusions=tuple(
            digit_charts.charts_of_confusion(section.confusion, f"part-{i}")
            if section.confusion
            else ()
            for i, section in enumerate(report.sections, 1)
        ),
        studies=tuple(
            study_charts.charts_of_study(study, f"study-{i}")
            for i, study in enumerate(report.studies, 1)
        ),
        layers=digit_charts.charts_of_layers(report.layers, "layers") if report.layers else (),
        claims={
            experiment.claim: claim_charts.charts_of_experiment(experiment)
            for experiment in report.experiments
        },
    )


def _section_charts(section: ReportSection, prefix: str) -> tuple[Chart, ...]:
    if not section.has_charts:
        return ()
    return charts.charts_of(
        section.curves,
        phases_of(section.document.own_runs),
        paper.TABLE_1 if section.is_comparable else (),
        prefix=prefix,
    )
