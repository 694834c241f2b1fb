"""Records of runs in `benchmarks/trust/*.jsonl`."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from mnist_bench.core.records import Record
from mnist_bench.measurement.conditions import Conditions, Stretch
from mnist_bench.results.run import PhaseName


class Outside(Record):
    """The training as observed by the monitoring process, independently of the verdict.

    Attributes:
        wall_seconds: From the end of tracing to the end of training.
        other_share: Processor time of other processes, as a share of all available.
        steal_share: Processor time taken by the virtual machine's host, as the same share.
    """

    wall_seconds: float
    other_share: float
    steal_share: float

    @classmethod
    def of(cls, stretch: Stretch, worker_seconds: float, cores: int) -> Self:
        """From the counters of this process and the worker's processor time."""
        width = stretch.wall_seconds * cores
        others = (
            (stretch.other_cpu_seconds or 0.0)
            + (stretch.family_cpu_seconds or 0.0)
            - worker_seconds
        )
        return cls(
            wall_seconds=stretch.wall_seconds,
            other_share=others / width,
            steal_share=(stretch.steal_seconds or 0.0) / width,
        )


class TrustRun(Record):
    """One training of 500 steps.

    Attributes:
        kind: `quiet`, or the kind of disturbance.
        begin: Share of the steps after which the disturbance started.
        seconds: Duration of the disturbance; None until the end.
        test_accuracy: After the last step; disturbances don't change it.
        outside_life_seconds: From the start of the process to its last message, measured outside.
        outside: The training as observed by the monitoring process.
        conditions: Input of the verdict.
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
    """Runs of a file, in order; empty if there is no file."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    return [TrustRun.model_validate_json(line) for line in lines]


def append(path: Path, run: TrustRun) -> None:
    """Add a run to a file."""
    with path.open("a", encoding="utf-8", newline="\n") as file:
        file.write(run.model_dump_json(exclude_none=True) + "\n")
