"""What a report tells, whatever its format."""

from __future__ import annotations

from dataclasses import dataclass

from mnist_bench.document import Document, Row
from mnist_bench.seen import Seen


@dataclass(frozen=True)
class Report:
    """One report, before it takes a format.

    Attributes:
        title: One line for people.
        scenario: Name of the scenario.
        command: The command line that made it, without anything private.
        created: The day, as `2026-01-31`.
        document: Machine, runs and Table I; as JSON it stands alone.
        rows: Every step count that was run, also those that Table I has not.
        seen: The machine around the runs; None where none of them looked.
    """

    title: str
    scenario: str
    command: str
    created: str
    document: Document
    rows: tuple[Row, ...]
    seen: Seen | None = None
