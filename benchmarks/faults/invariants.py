"""Invariants that must hold after a command was killed and the next one opened the store.

They are checked on the user's files: MLflow's database, the spools, the reports. The database is
read with SQLite, since MLflow's client might hide duplicates.
"""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

from mnist_bench.results.run import step_counts_at
from mnist_bench.scenarios.scenario import Grid
from mnist_bench.tracking import spool

BY_STEP = ("test_accuracy", "validation_accuracy", "train_loss", "train_seconds")


class Row(NamedTuple):
    """A step count of one training, which must be one run in MLflow."""

    trajectory: str
    steps: int


class Figure(NamedTuple):
    """A value that was shown to the user or written to a spool."""

    row: Row
    metric: str
    step: int
    value: float


@dataclass
class Expected:
    """Expected content of the store, collected from the output of all commands in a folder.

    Attributes:
        grid: Evaluation grid of all trainings.
        figures: Values that MLflow must have.
        statuses: Allowed statuses of a run.
        step_counts: By training id.
        reports: Files of an earlier command, which must not change.
    """

    grid: Grid
    figures: set[Figure] = field(default_factory=set)
    statuses: dict[Row, frozenset[str]] = field(default_factory=dict)
    step_counts: dict[str, tuple[int, ...]] = field(default_factory=dict)
    reports: dict[Path, bytes] = field(default_factory=dict)

    def add_training(self, trajectory: str, step_counts: tuple[int, ...], *unfinished: str) -> None:
        """Add a training; its runs get a status of `unfinished` unless they end by themselves."""
        self.step_counts[trajectory] = step_counts
        for steps in step_counts:
            self.statuses.setdefault(Row(trajectory, steps), frozenset(unfinished))

    def add_evaluation(self, trajectory: str, evaluation: Mapping[str, Any]) -> None:
        """Add an evaluation that was shown or spooled."""
        step = evaluation["step"]
        for steps in step_counts_at(step, self.step_counts.get(trajectory, ()), self.grid):
            for metric in BY_STEP:
                if evaluation[metric] is not None:
                    row = Row(trajectory, steps)
                    self.figures.add(Figure(row, metric, step, float(evaluation[metric])))

    def add_sample(self, trajectory: str, stretch: Mapping[str, Any]) -> None:
        """Add a spooled stretch; its memory is a value of every run that includes it."""
        step, rss_bytes = stretch["step"], stretch["rss_bytes"]
        for steps in self.step_counts.get(trajectory, ()):
            if rss_bytes is not None and step <= steps:
                figure = Figure(Row(trajectory, steps), "rss_bytes", step, float(rss_bytes))
                self.figures.add(figure)

    def add_end(self, trajectory: str, steps: int, *, certain: bool = True) -> None:
        """Add the end of a run; unless `certain`, the command may have died before handling it."""
        row = Row(trajectory, steps)
        before = frozenset() if certain else self.statuses.get(row, frozenset())
        self.statuses[row] = before | {"FINISHED"}

    def add_spools(self, folder: Path) -> None:
        """Add the content of the spools in a working folder, without incomplete last lines."""
        for path in sorted((folder / spool.FOLDER).glob("*.jsonl")):
            for line in map(json.loads, path.read_bytes().split(b"\n")[:-1]):
                if line.get("kind") == "header":
                    step_counts = tuple(run["steps"] for run in line["runs"])
                    self.add_training(path.stem, step_counts, "KILLED")  # no effect if added before
                match line.get("message"):
                    case {"kind": "evaluation", "evaluation": evaluation}:
                        self.add_evaluation(path.stem, evaluation)
                    case {"kind": "sample", "stretch": stretch}:
                        self.add_sample(path.stem, stretch)
                    case {"kind": "row", "steps": steps}:
                        self.add_end(path.stem, steps)

    def keep_reports(self, folder: Path) -> None:
        """Remember the existing reports."""
        self.reports |= {path: path.read_bytes() for path in sorted(folder.glob("*.*"))}


@dataclass(frozen=True)
class Findings:
    """Faults that were found, described in words.

    Attributes:
        running: Runs that are still RUNNING in MLflow.
        lost: Values that were shown but are not in MLflow.
        doubled: Step counts with two runs, values recorded twice.
        wrongly_ended: Runs with a wrong status.
        damaged: Damaged databases and reports.
        left_over: Spools that were not delivered, processes that outlived their command.
        figures: Number of values checked.
        runs: Number of runs checked.
    """

    running: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    doubled: tuple[str, ...] = ()
    wrongly_ended: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()
    left_over: tuple[str, ...] = ()
    figures: int = 0
    runs: int = 0

    def __add__(self, other: Findings) -> Findings:
        """Merge two findings."""
        names = [each.name for each in fields(self)]
        return Findings(**{name: getattr(self, name) + getattr(other, name) for name in names})

    @property
    def by_kind(self) -> dict[str, tuple[str, ...]]:
        """Faults by kind, in the order of the table."""
        return {each.name: getattr(self, each.name) for each in fields(self)[:6]}

    @property
    def faults(self) -> tuple[str, ...]:
        """All faults."""
        return sum(self.by_kind.values(), ())


def check(expected: Expected, folder: Path, database: Path) -> Findings:
    """Compare a store with what is expected.

    Args:
        expected: From all commands that used the store.
        folder: The working folder.
        database: MLflow's SQLite file.
    """
    with contextlib.closing(sqlite3.connect(database)) as connection:
        every = [_Run(*row) for row in connection.execute(_RUNS)]
        runs = [run for run in every if run.trajectory]  # the run of a study itself has none
        figures = Counter(connection.execute(_FIGURES))
        integrity = connection.execute("PRAGMA integrity_check").fetchone()[0]
    return Findings(
        running=tuple(f"{run.name} is {run.status}" for run in every if run.status == "RUNNING"),
        lost=tuple(_lost(expected, runs, set(figures))),
        doubled=(*_rows_twice(runs), *_figures_twice(figures)),
        wrongly_ended=tuple(_wrongly_ended(expected, runs)),
        damaged=(
            *([] if integrity == "ok" else [f"database: {integrity}"]),
            *_changed_reports(expected),
        ),
        left_over=tuple(_not_uploaded(folder, runs)),
        figures=len(expected.figures),
        runs=len(runs),
    )


class _Run(NamedTuple):
    """A run as the database has it."""

    id: str
    name: str
    status: str
    trajectory: str | None
    complete: str | None

    @property
    def row(self) -> Row:
        """By its name, since a run is created before its params are recorded."""
        found = re.search(r" (\d+) steps ", self.name)
        return Row(self.trajectory or "", int(found[1]) if found else 0)


_RUNS = """
SELECT run_uuid, name, status,
    (SELECT value FROM tags WHERE key = 'bench.trajectory' AND tags.run_uuid = runs.run_uuid),
    (SELECT value FROM tags WHERE key = 'bench.complete' AND tags.run_uuid = runs.run_uuid)
FROM runs
"""


_FIGURES = """
SELECT run_uuid, key, step, value FROM metrics
WHERE run_uuid IN (SELECT run_uuid FROM tags WHERE key = 'bench.trajectory')
"""


def _lost(
    expected: Expected, runs: list[_Run], found: set[tuple[str, str, int, float]]
) -> Iterator[str]:
    ids = {run.row: run.id for run in runs}
    for figure in expected.figures:
        run_id = ids.get(figure.row, "no run")
        if (run_id, figure.metric, figure.step, figure.value) not in found:
            yield f"{figure.row}: {figure.metric} {figure.value} at {figure.step} ({run_id})"


def _rows_twice(runs: list[_Run]) -> Iterator[str]:
    for row, count in Counter(run.row for run in runs).items():
        if count > 1:
            yield f"{row} is {count} runs"


def _figures_twice(figures: Mapping[tuple[str, str, int, float], int]) -> Iterator[str]:
    times: Counter[tuple[str, str, int]] = Counter()
    for (run_id, metric, step, _), count in figures.items():
        times[run_id, metric, step] += count
    for (run_id, metric, step), count in times.items():
        if count > 1:
            yield f"run {run_id}: {metric} at {step} is there {count} times"


def _wrongly_ended(expected: Expected, runs: list[_Run]) -> Iterator[str]:
    for run in runs:
        allowed = expected.statuses.get(run.row)
        if run.status != "RUNNING" and allowed and run.status not in allowed:
            yield f"{run.row} is {run.status}, it was {' or '.join(sorted(allowed))}"


def _changed_reports(expected: Expected) -> Iterator[str]:
    for path, content in expected.reports.items():
        if not path.exists() or path.read_bytes() != content:
            yield f"report {path.name} is not what it was"


def _not_uploaded(folder: Path, runs: list[_Run]) -> Iterator[str]:
    for path in sorted((folder / spool.FOLDER).glob("*")):
        # A spool with an incomplete first line is kept while any process works here, since that
        # may still be writing it.
        if path.is_dir() or (path.suffix == ".jsonl" and b"\n" in path.read_bytes()):
            yield f"{path.name} was not delivered"
    for run in runs:
        if run.status == "FINISHED" and run.complete != "true":
            yield f"{run.row} is finished and bench.complete is {run.complete}"
