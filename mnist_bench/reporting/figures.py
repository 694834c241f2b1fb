"""All charts of a report, for its page and as SVG files."""

from __future__ import annotations

import html
import itertools
import re
from collections.abc import Container, Mapping
from dataclasses import dataclass

from mnist_bench.core.escaping import one_line
from mnist_bench.reporting import charts, digit_charts, study_charts
from mnist_bench.reporting.model import Report
from mnist_bench.reporting.svg import Chart


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
        scenarios = [section.scenario for section in report.sections]
        owners = [*scenarios, *scenarios, *(study.study for study in report.studies)]
        owners += [f"claim-{claim}" for claim in self.claims]
        charts = [*self.sections, *self.confusions, *self.studies, *self.claims.values()]
        files = {chart.name: chart for chart in self.layers}
        for owner, of_owner in zip(owners, charts, strict=True):
            for chart in of_owner:
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
            charts.charts_of_section(section, f"part-{i}")
            for i, section in enumerate(report.sections, 1)
        ),
        confusions=tuple(
            digit_charts.charts_of_confusion(section.confusion, f"part-{i}")
            if section.confusion
            else ()
            for i, section in enumerate(report.sections, 1)
        ),
        studies=tuple(
            study_charts.charts_of_study(study, f"study-{i}") if len(study.finished) > 1 else ()
            for i, study in enumerate(report.studies, 1)
        ),
        layers=digit_charts.charts_of_layers(report.layers, "layers") if report.layers else (),
        claims={
            experiment.claim: charts.charts_of_experiment(experiment)
            for experiment in report.experiments
        },
    )
