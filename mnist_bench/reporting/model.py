"""Data of a report, independent of its format."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from mnist_bench.analysis.confusion import Confusion
from mnist_bench.analysis.curves import Curves
from mnist_bench.analysis.system_state import SystemState
from mnist_bench.results.document import Document, Row
from mnist_bench.results.experiments import ExperimentResult
from mnist_bench.results.layer_maps import LayerMaps
from mnist_bench.results.run_summary import RunSummary
from mnist_bench.tuning.document import StudyDocument
from mnist_bench.tuning.trial import StudyTrial


@dataclass(frozen=True)
class ReportSection:
    """Report on a configuration: times and memory of one machine, accuracies also of others.

    Attributes:
        scenario: Its name, with what differs from it.
        command: Command line that made it, without private values.
        created: Date, as `2026-01-31`.
        document: Machine, runs and Table I; complete by itself as JSON.
        rows: One per step count, including those not in Table I.
        system_state: State of the system during the runs; None if not recorded.
        curves: Curves of the longest trainings; None if not loaded.
        confusion: Confusion matrix of the longest trainings; None without predictions or images.
    """

    title: str
    scenario: str
    command: str
    created: str
    document: Document
    rows: tuple[Row, ...]
    system_state: SystemState | None = None
    curves: Curves | None = None
    confusion: Confusion | None = None
    has_charts: bool = True

    @property
    def summary(self) -> Row:
        """Row of the largest step count, with the scenario's name."""
        return self.rows[-1].model_copy(update={"scenario": self.scenario})

    @property
    def has_results(self) -> bool:
        """Whether a run finished."""
        return any(row.n for row in self.rows)

    @property
    def is_comparable(self) -> bool:
        """Whether a row is comparable with Table I."""
        return any(row.verdict != "not comparable" for row in self.rows)


@dataclass(frozen=True)
class Report:
    """Report on all scenarios that one machine ran, with a ranking of other machines.

    Attributes:
        command: Command line that made it, without private values.
        created: Date, as `2026-01-31`.
        document: All runs of the machine, and those of others that share its rows; complete by
            itself as JSON.
        sections: One per scenario; those comparable with Table I first, then by newest run.
        others: Scenarios without a section, in the same order; they get a row in a table.
        notes: What was left out, and why.
        studies: Studies on the machine, newest first.
        layers: Layer maps of one test image; None if not recorded.
        experiments: Results of the claims' experiments, for charts.
        ui: Address of the experiment in MLflow's UI, for links to runs; None if unknown.
    """

    title: str
    command: str
    created: str
    document: Document
    sections: tuple[ReportSection, ...]
    others: tuple[ReportSection, ...] = ()
    notes: tuple[str, ...] = ()
    studies: tuple[StudyDocument, ...] = ()
    layers: LayerMaps | None = None
    experiments: tuple[ExperimentResult, ...] = ()
    ui: str | None = None

    def link(self, line: object) -> str | None:
        """Address of a run or trial in MLflow's UI; None for other lines, or without a UI."""
        if self.ui is None or not isinstance(line, (RunSummary, StudyTrial)) or line.run_id is None:
            return None
        return quote(f"{self.ui}/runs/{quote(line.run_id, safe='')}", safe=":/#?&=%")
