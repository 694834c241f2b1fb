"""What is kept of a run in `benchmarks/trust/*.jsonl`."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from mnist_bench.core.records import Record
from mnist_bench.measurement.conditions import Conditions, Stretch
from mnist_bench.results.run import PhaseName


class Outside(Record):
    """The same minutes, seen by the process beside: what the verdict does not rest on.

    Attributes:
        wall_seconds: From the end of tracing to the end of training.
        other_share: Processor time of everything else, as a share of what there was.
        steal_share: Processor time that the virtual machine's host kept, as the same share.
    """

    wall_seconds: float
    other_share: float
    steal_share: float

    @classmethod
    def of(cls, seen: Stretch, worker_seconds: float, cores: int) -> Self:
        """From this process's counters, and the worker's processor time as the system has it."""
        width = seen.wall_seconds * cores
        others = (seen.other_cpu_seconds or 0.0) + (seen.family_cpu_seconds or 0.0) - worker_seconds
        return cls(
            wall_seconds=seen.wall_seconds,
            other_share=others / width,
            steal_share=(seen.steal_seconds or 0.0) / width,
        )


class TrustRun(Record):
    """One training of 500 steps.

    Attributes:
        kind: `quiet`, or how it was disturbed.
        begin: After which share of its steps the disturbance began.
        seconds: How long it lasted; None to the end.
        train_seconds: As the suite tells them.
        test_accuracy: After the last step; the same in all runs, whatever was done to them.
        phase_seconds: As the suite tells them, by phase.
        outside_life_seconds: From the start of the process to its row's end, by the process beside.
        peak_rss_bytes: As the suite tells it.
        outside: The training seen by the process beside.
        conditions: What the verdict is made of.
    """

    kind: str
    begin: float | None = None
    seconds: float | None = None
    train_seconds: float
    test_accuracy: float
    phase_seconds: dict[PhaseName, float]
    outside_life_seconds: float
    peak_rss_bytes: int | None = None
    outside: Outside
    conditions: Conditions


def read(path: Path) -> list[TrustRun]:
    """Every run in a file, in order; none where there is no file."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    return [TrustRun.model_validate_json(line) for line in lines]


def append(path: Path, run: TrustRun) -> None:
    """Add a run to a file."""
    with path.open("a", encoding="utf-8", newline="\n") as file:
        file.write(run.model_dump_json(exclude_none=True) + "\n")
