"""Build a report's sections, one per configuration, with the trainings and images they need."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mnist_bench.analysis import table1
from mnist_bench.analysis.configurations import Configuration, configurations
from mnist_bench.analysis.confusion import Confusion, confusion_of
from mnist_bench.analysis.curves import curves_of
from mnist_bench.analysis.grouping import groups
from mnist_bench.analysis.reference import compare_with_reference
from mnist_bench.analysis.system_state import system_state_of
from mnist_bench.analysis.time_to_accuracy import times_to_accuracy
from mnist_bench.data import mnist
from mnist_bench.data.dataset import Images, Source
from mnist_bench.measurement.machine import Machine
from mnist_bench.reporting.model import ReportSection
from mnist_bench.results.document import Document
from mnist_bench.results.run import RunResult
from mnist_bench.results.run_summary import RunSummary
from mnist_bench.tracking.mlflow_store import MlflowStore

MOST_SECTIONS = 12
"""Limit of configurations with a section: those comparable with Table I first, then by newest run.
The others get a row in a table."""
MOST_WITH_CHARTS = 3
"""If there are more configurations than `MOST_SECTIONS`, only so many have charts, digits and times
to accuracy, which need whole trainings to be loaded."""
_MOST_TRAININGS = 30
"""Limit of trainings per configuration that are loaded for charts, newest first."""


class ReportImages:
    """The images of recorded runs, if available locally.

    Besides the user's folder, the cache and the embedded sample are used. `notes` collects what
    can't be shown.

    Raises:
        BenchError: The user's folder does not contain the images.
    """

    def __init__(self, reader: MlflowStore, folder: Path | None) -> None:
        self.reader = reader
        self.notes: list[str] = []
        self._user_images = mnist.find("auto", folder, log=lambda _: None) if folder else None
        self._sources: dict[str, Source | None] = {}
        self._images: dict[str, Images] = {}

    def source(self, digest: str) -> Source | None:
        """Images with this digest; None if not available locally."""
        if self._user_images and self._user_images.digest == digest:
            return self._user_images
        if digest not in self._sources:
            self._sources[digest] = mnist.find_local(digest)
        return self._sources[digest]

    def confusion(self, trainings: Sequence[RunResult]) -> Confusion | None:
        """Confusion matrix of replicates; None without predictions or images."""
        loaded = [self.reader.load_predictions(run) for run in trainings]
        predictions = [found for found in loaded if found is not None]
        if not predictions:
            return None
        digest = trainings[-1].dataset_digest
        source = self.source(digest)
        if source is None:
            note = "Misclassified digits are not shown: the images are not available (--data DIR)"
            if note not in self.notes:
                self.notes.append(note)
            return None
        if digest not in self._images:
            self._images[digest] = mnist.load(source).test_images
        return confusion_of(predictions, self._images[digest])


@dataclass(frozen=True)
class _Common:
    """Inputs shared by all sections; `machine_names` are by their id."""

    images: ReportImages
    machine: Machine
    created: str
    reference: Document
    spreads: table1.Spreads
    machine_names: Mapping[str | None, str]


@dataclass(frozen=True)
class Sections:
    """Configurations of one machine: those comparable with Table I first, then by newest run.

    `others` have only a row in a table.
    """

    shown: tuple[ReportSection, ...]
    others: tuple[ReportSection, ...]

    @property
    def all(self) -> tuple[ReportSection, ...]:
        """All configurations."""
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
    """Build one section per configuration of a scenario.

    Args:
        images: Access to trainings and images; collects notes on what is missing.
        runs: Runs of the machine, and those of others that share its rows; without trials, oldest
            first.
        machine: The machine.
        created: Date, as `2026-01-31`.
        machine_names: Hardware of machines by their id, as far as it is known.
        limited: Whether the limits on sections and charts apply.
    """
    if not runs:
        return Sections((), ())
    reference = table1.reference_document()
    spreads = table1.spreads_of(reference)
    common = _Common(images, machine, created, reference, spreads, machine_names)
    found = comparable_first(runs)
    too_many = limited and len(found) > MOST_SECTIONS
    most_with_charts = MOST_WITH_CHARTS if too_many else len(found)
    all_sections = tuple(
        _section(common, each, has_charts=index < most_with_charts)
        for index, each in enumerate(found)
    )
    shown = MOST_SECTIONS if too_many else len(all_sections)
    images.notes += _limit_notes(len(all_sections)) if too_many else ()
    return Sections(all_sections[:shown], all_sections[shown:])


def _limit_notes(scenarios: int) -> Iterator[str]:
    which = "those that compare with Table I and then those with the newest runs"
    yield (
        f"Drawings, digits and times to an accuracy are of {MOST_WITH_CHARTS} of {scenarios:,} "
        f"scenarios and their configurations, {which}; --scenario NAME shows those of another"
    )
    yield (
        f"{MOST_SECTIONS} of {scenarios:,} scenarios and their configurations have sections, "
        f"{which}; the rest have a row in the table of results alone"
    )


def comparable_first(runs: Sequence[RunSummary]) -> list[Configuration]:
    """The configurations: those comparable with Table I first, then by newest run."""
    return sorted(
        configurations(runs), key=lambda each: all(group.obstacles for group in groups(each.runs))
    )


def _section(common: _Common, configuration: Configuration, *, has_charts: bool) -> ReportSection:
    images, reference = common.images, common.reference
    name, runs = configuration.name, configuration.runs
    machine_id = common.machine.machine_id
    rows = tuple(
        row.model_copy(update={"changes": configuration.changes_in_words})
        for row in table1.rows(runs, common.spreads, machine_id)
    )
    own_runs = [run for run in runs if run.machine_id == machine_id]
    longest_runs = replicates_of_longest(own_runs) if has_charts else ()
    newest = longest_runs[-_MOST_TRAININGS:]
    trainings = [run for summary in newest if (run := images.reader.load(summary.run_id or ""))]
    if len(newest) < len(longest_runs):
        images.notes.append(
            f"{name}: drawings, digits and times to an accuracy are of the newest "
            f"{len(newest)} of {len(longest_runs)} trainings"
        )
    if len(trainings) < len(newest):
        images.notes.append(
            f"{name}: of {len(newest)} runs that would be drawn, "
            f"{len(newest) - len(trainings)} can't be: MLflow has no record of them in reach"
        )
    document = table1.document_of(common.machine, runs, rows, common.machine_names).model_copy(
        update={
            "reaches": times_to_accuracy(
                name, trainings, trainings[-1].target_accuracies if trainings else ()
            ),
            "standings": compare_with_reference(rows, reference),
        }
    )
    return ReportSection(
        title=f"Scenario {name}",
        scenario=name,
        command="",
        created=common.created,
        document=document,
        rows=rows,
        system_state=system_state_of(trainings),
        curves=curves_of(trainings),
        confusion=images.confusion(trainings),
        has_charts=has_charts,
    )


def replicates_of_longest(runs: Sequence[RunSummary]) -> tuple[RunSummary, ...]:
    """The replicates of the largest step count."""
    with_runs = [group for group in groups(runs) if group.runs]
    return with_runs[-1].runs if with_runs else ()
