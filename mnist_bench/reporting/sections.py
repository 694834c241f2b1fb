"""Build a report's sections, one per scenario."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from mnist_bench.analysis import table1
from mnist_bench.analysis.curves import Curves, curves_of
from mnist_bench.analysis.grouping import groups
from mnist_bench.analysis.reference import compare_with_reference
from mnist_bench.analysis.system_state import system_state_of
from mnist_bench.analysis.time_to_accuracy import times_to_accuracy
from mnist_bench.measurement.machine import Machine
from mnist_bench.reporting.images import ReportImages
from mnist_bench.reporting.model import ReportSection
from mnist_bench.results.document import Document
from mnist_bench.results.run_summary import RunSummary

MOST_SECTIONS = 12
"""Limit of scenarios with a section: those comparable with Table I first, then by newest run. The
others get a row in a table."""
MOST_WITH_CHARTS = 3
"""If there are more scenarios than `MOST_SECTIONS`, only so many have charts, digits and times to
accuracy, which need whole trainings to be loaded."""
_MOST_TRAININGS = 30
"""Limit of trainings per scenario that are loaded for charts, newest first."""


@dataclass(frozen=True)
class _Common:
    """Inputs shared by all sections.

    Attributes:
        images: Access to trainings and images; collects notes on what is missing.
        created: Date, as `2026-01-31`.
        reference: The shipped reference.
        spreads: Spreads of the reference.
        machine_names: Hardware of other machines by their id.
    """

    images: ReportImages
    machine: Machine
    created: str
    reference: Document
    spreads: table1.Reference
    machine_names: Mapping[str | None, str]


@dataclass(frozen=True)
class Sections:
    """Scenarios of one machine: those comparable with Table I first, then by newest run.

    Attributes:
        shown: Scenarios with a section.
        others: Scenarios with only a row in a table.
    """

    shown: tuple[ReportSection, ...]
    others: tuple[ReportSection, ...]

    @property
    def all(self) -> tuple[ReportSection, ...]:
        """All scenarios."""
        return self.shown + self.others


def sections(
    images: ReportImages,
    runs: Sequence[RunSummary],
    machine: Machine,
    created: str,
    machine_names: Mapping[str | None, str],
    *,
    limited: bool,
) -> Sections:
    """Build one section per scenario.

    Args:
        images: Access to trainings and images; collects notes on what is missing.
        runs: Runs of the machine, and those of others that share its rows; without trials, oldest
            first.
        machine: The machine.
        created: Date, as `2026-01-31`.
        machine_names: Hardware of other machines by their id, as far as it is known.
        limited: Whether the limits on sections and charts apply.
    """
    if not runs:
        return Sections((), ())
    reference = table1.reference_document()
    spreads = table1.Reference.from_document(reference)
    common = _Common(images, machine, created, reference, spreads, machine_names)
    runs_by_scenario = by_scenario(runs)
    too_many = limited and len(runs_by_scenario) > MOST_SECTIONS
    most_with_charts = MOST_WITH_CHARTS if too_many else len(runs_by_scenario)
    all_sections = tuple(
        _section(common, name, scenario_runs, has_charts=index < most_with_charts)
        for index, (name, scenario_runs) in enumerate(runs_by_scenario.items())
    )
    shown = MOST_SECTIONS if too_many else len(all_sections)
    images.notes += _limit_notes(len(all_sections)) if too_many else ()
    return Sections(all_sections[:shown], all_sections[shown:])


def _limit_notes(scenarios: int) -> Iterator[str]:
    which = "those that compare with Table I and then those with the newest runs"
    yield (
        f"Drawings, digits and times to an accuracy are of {MOST_WITH_CHARTS} of {scenarios:,} "
        f"scenarios, {which}; --scenario NAME shows those of another"
    )
    yield (
        f"{MOST_SECTIONS} of {scenarios:,} scenarios have sections, {which}; the rest stand in "
        "the table of other scenarios"
    )


def by_scenario(runs: Sequence[RunSummary]) -> dict[str, list[RunSummary]]:
    """Runs by scenario: scenarios comparable with Table I first, then by newest run."""
    found: dict[str, list[RunSummary]] = {run.scenario: [] for run in reversed(runs)}
    for run in runs:
        found[run.scenario].append(run)
    return dict(sorted(found.items(), key=lambda pair: not _is_comparable(pair[1])))


def _is_comparable(runs: Sequence[RunSummary]) -> bool:
    """Whether some runs are comparable with Table I."""
    return any(not group.obstacles for group in groups(runs))


def _section(
    common: _Common, scenario: str, runs: Sequence[RunSummary], *, has_charts: bool
) -> ReportSection:
    images, reference = common.images, common.reference
    machine_id = common.machine.machine_id
    rows = table1.rows(runs, common.spreads, machine_id)
    own_runs = [run for run in runs if run.machine_id == machine_id]
    longest_runs = _longest_runs(own_runs) if has_charts else ()
    newest = longest_runs[-_MOST_TRAININGS:]
    trainings = [run for summary in newest if (run := images.reader.load(summary.run_id or ""))]
    if len(newest) < len(longest_runs):
        images.notes.append(
            f"{scenario}: drawings, digits and times to an accuracy are of the newest "
            f"{len(newest)} of {len(longest_runs)} trainings"
        )
    if len(trainings) < len(newest):
        images.notes.append(
            f"{scenario}: of {len(newest)} runs that would be drawn, "
            f"{len(newest) - len(trainings)} can't be: MLflow has no record of them in reach"
        )
    curves: Curves | None = curves_of(trainings)
    document = table1.document_of(common.machine, runs, rows, common.machine_names).model_copy(
        update={
            "reaches": times_to_accuracy(
                scenario, trainings, trainings[-1].target_accuracies if trainings else ()
            ),
            "standings": compare_with_reference(rows, reference),
        }
    )
    return ReportSection(
        title=f"Scenario {scenario}",
        scenario=scenario,
        command="",
        created=common.created,
        document=document,
        rows=rows,
        system_state=system_state_of(trainings),
        curves=curves,
        confusion=images.confusion(trainings),
        has_charts=has_charts,
    )


def _longest_runs(runs: Sequence[RunSummary]) -> tuple[RunSummary, ...]:
    """The replicates of the largest step count."""
    with_runs = [group for group in groups(runs) if group.runs]
    return with_runs[-1].runs if with_runs else ()
