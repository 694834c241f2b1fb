"""What a report tells, whatever its format."""

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
    """What one scenario's runs on one machine tell, before it takes a format.

    Attributes:
        title: One line for people.
        scenario: Name of the scenario.
        command: The command line that made it, without anything private.
        created: The day, as `2026-01-31`.
        document: Machine, runs and Table I; as JSON it stands alone.
        rows: Every step count that was run, also those that Table I has not.
        seen: The machine around the runs; None where none of them looked.
        curves: Of the longest trainings; None where they were not fetched.
        confusion: What these took the test images for; None where that can't be told.
        is_drawn: Whether there are drawings of it.
    """

    title: str
    scenario: str
    command: str
    created: str
    document: Document
    rows: tuple[Row, ...]
    seen: SystemState | None = None
    curves: Curves | None = None
    confusion: Confusion | None = None
    is_drawn: bool = True

    @property
    def summary(self) -> Row:
        """Its longest row, that always tells the scenario."""
        return self.rows[-1].model_copy(update={"scenario": self.scenario})

    @property
    def compares(self) -> bool:
        """Whether some row stands beside Table I's."""
        return any(row.verdict != "not comparable" for row in self.rows)


@dataclass(frozen=True)
class Report:
    """Reports on the scenarios that one machine has run, beside other machines.

    Attributes:
        title: One line for people.
        command: The command line that made it, without anything private.
        created: The day, as `2026-01-31`.
        document: All runs of the machine; as JSON it stands alone.
        reports: A scenario each; those that compare with Table I first, then the newest.
        others: Scenarios that have a row in a table alone, in the same order.
        notes: What was left out, and why.
        studies: What was tuned there, the newest first.
        layers: What layers make of one test image; None where nobody looked.
        findings: What was measured by itself for claims, to be drawn.
        ui: Address of MLflow's UI, for links to runs; None where none is known.
    """

    title: str
    command: str
    created: str
    document: Document
    reports: tuple[ReportSection, ...]
    others: tuple[ReportSection, ...] = ()
    notes: tuple[str, ...] = ()
    studies: tuple[StudyDocument, ...] = ()
    layers: LayerMaps | None = None
    findings: tuple[ExperimentResult, ...] = ()
    ui: str | None = None

    def link(self, line: object) -> str | None:
        """Where MLflow shows a run or trial; None for what is none, or where no UI is known."""
        if self.ui is None or not isinstance(line, (RunSummary, StudyTrial)) or line.run_id is None:
            return None
        return f"{self.ui}/runs/{quote(line.run_id, safe='')}"
