"""What must hold once a command was ended by force and the next one has opened the store.

Looks at the suite from outside, at the files that a user keeps: MLflow's database, the journals,
the reports. It asks SQLite itself and not MLflow, whose own view might hide a double.
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
from typing import Any

from mnist_bench.results.run import step_counts_at
from mnist_bench.scenarios.scenario import Grid

JOURNALS = Path("mlruns", ".runs")
"""Where the suite keeps what it heard, seen from a user's folder."""
BY_STEP = ("test_accuracy", "validation_accuracy", "train_loss", "train_seconds")


@dataclass(frozen=True, order=True)
class Row:
    """What should be one run in MLflow: a step count of one training."""

    trajectory: str
    steps: int


@dataclass(frozen=True)
class Figure:
    """One value that the user was shown, or that a journal holds."""

    row: Row
    metric: str
    step: int
    value: float


@dataclass
class Evidence:
    """What is known of a folder's runs, gathered from outside over all of its commands.

    Attributes:
        grid: Of every training in the folder.
        figures: What must be in MLflow.
        ended: How a row may have ended, where only that is true.
        rows: Of a training, by its id.
        reports: Files of an earlier command, which nothing may touch.
    """

    grid: Grid
    figures: set[Figure] = field(default_factory=set)
    ended: dict[Row, frozenset[str]] = field(default_factory=dict)
    rows: dict[str, tuple[int, ...]] = field(default_factory=dict)
    reports: dict[Path, bytes] = field(default_factory=dict)

    def begun(self, trajectory: str, rows: tuple[int, ...], unfinished: str) -> None:
        """A training was begun; a row of it that does not end by itself ends so."""
        self.rows[trajectory] = rows
        for steps in rows:
            self.ended.setdefault(Row(trajectory, steps), frozenset({unfinished}))

    def scored(self, trajectory: str, evaluation: Mapping[str, Any]) -> None:
        """A scoring was shown or journalled."""
        step = evaluation["step"]
        for steps in step_counts_at(step, self.rows.get(trajectory, ()), self.grid):
            for metric in BY_STEP:
                if evaluation[metric] is not None:
                    row = Row(trajectory, steps)
                    self.figures.add(Figure(row, metric, step, float(evaluation[metric])))

    def sampled(self, trajectory: str, stretch: Mapping[str, Any]) -> None:
        """A stretch of training was journalled; its memory is a figure of every row after it."""
        step, rss_bytes = stretch["step"], stretch["rss_bytes"]
        for steps in self.rows.get(trajectory, ()):
            if rss_bytes is not None and step <= steps:
                figure = Figure(Row(trajectory, steps), "rss_bytes", step, float(rss_bytes))
                self.figures.add(figure)

    def came_to_its_end(self, trajectory: str, steps: int, *, surely: bool = True) -> None:
        """A row's end was told; not surely taken to heart where that was cut off."""
        row = Row(trajectory, steps)
        before = frozenset() if surely else self.ended.get(row, frozenset())
        self.ended[row] = before | {"FINISHED"}

    def take_journals(self, folder: Path) -> None:
        """Count in what the journals of a user's folder hold, up to their last whole line."""
        for path in sorted((folder / JOURNALS).glob("*.jsonl")):
            for line in _whole_lines(path):
                if line.get("kind") == "header":
                    rows = tuple(run["steps"] for run in line["runs"])
                    self.begun(path.stem, rows, "KILLED")  # who saw it begin knows better
                for said in _messages(line):
                    match said["kind"]:
                        case "evaluation":
                            self.scored(path.stem, said["evaluation"])
                        case "sample":
                            self.sampled(path.stem, said["stretch"])
                        case _:
                            self.came_to_its_end(path.stem, said["steps"])

    def keep_reports(self, folder: Path) -> None:
        """Remember the reports that are there."""
        self.reports |= {path: path.read_bytes() for path in sorted(folder.glob("*.*"))}


@dataclass(frozen=True)
class Findings:
    """What was found wrong, each in words; empty where nothing was.

    Attributes:
        running: Runs that still go on, says MLflow.
        lost: Figures that were shown and are not in MLflow.
        doubled: Rows with two runs, figures recorded twice.
        wrongly_ended: Runs whose status is not how they ended.
        damaged: Databases and reports that are not whole.
        left_over: Journals that were not delivered, processes that outlive their command.
        figures: How many were looked for.
        runs: How many were looked at.
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
        """Both together."""
        names = [each.name for each in fields(self)]
        return Findings(**{name: getattr(self, name) + getattr(other, name) for name in names})

    @property
    def faults(self) -> tuple[str, ...]:
        """All that is wrong."""
        return (
            *(*self.running, *self.lost, *self.doubled),
            *(*self.wrongly_ended, *self.damaged, *self.left_over),
        )


def check(evidence: Evidence, folder: Path, database: Path) -> Findings:
    """Hold a store against the evidence.

    Args:
        evidence: Of all the commands that used it.
        folder: The user's.
        database: MLflow's SQLite file.
    """
    with contextlib.closing(sqlite3.connect(database)) as connection:
        every = list(_runs(connection))
        runs = [run for run in every if run.trajectory]  # a study's own run is no training
        figures = Counter(_figures(connection))
        whole = connection.execute("PRAGMA integrity_check").fetchone()[0]
    found = {(run, metric, step, value) for run, metric, step, value in figures}
    return Findings(
        running=tuple(f"{run.name} is {run.status}" for run in every if run.status == "RUNNING"),
        lost=tuple(_lost(evidence, runs, found)),
        doubled=(*_rows_twice(runs), *_figures_twice(figures)),
        wrongly_ended=tuple(_wrongly_ended(evidence, runs)),
        damaged=(*([] if whole == "ok" else [f"database: {whole}"]), *_spoilt(evidence)),
        left_over=tuple(_undelivered(folder, runs)),
        figures=len(evidence.figures),
        runs=len(runs),
    )


@dataclass(frozen=True)
class _Run:
    """A run as the database has it."""

    id: str
    name: str
    status: str
    trajectory: str
    complete: str | None

    @property
    def row(self) -> Row:
        """Which row it is; by its name, since it is made before its parameters are."""
        found = re.search(r" (\d+) steps ", self.name)
        return Row(self.trajectory, int(found[1]) if found else 0)


_RUNS = """
SELECT run_uuid, name, status,
    (SELECT value FROM tags WHERE key = 'bench.trajectory' AND tags.run_uuid = runs.run_uuid),
    (SELECT value FROM tags WHERE key = 'bench.complete' AND tags.run_uuid = runs.run_uuid)
FROM runs
"""


def _runs(connection: sqlite3.Connection) -> Iterator[_Run]:
    for run_id, name, status, trajectory, complete in connection.execute(_RUNS):
        yield _Run(run_id, name, status, trajectory or "", complete)


def _figures(connection: sqlite3.Connection) -> Iterator[tuple[str, str, int, float]]:
    yield from connection.execute(
        "SELECT run_uuid, key, step, value FROM metrics WHERE run_uuid IN "
        "(SELECT run_uuid FROM tags WHERE key = 'bench.trajectory')"
    )


def _lost(
    evidence: Evidence, runs: list[_Run], found: set[tuple[str, str, int, float]]
) -> Iterator[str]:
    ids = {run.row: run.id for run in runs}
    for figure in evidence.figures:
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


def _wrongly_ended(evidence: Evidence, runs: list[_Run]) -> Iterator[str]:
    for run in runs:
        true = evidence.ended.get(run.row)
        if run.status != "RUNNING" and true and run.status not in true:
            yield f"{run.row} is {run.status}, it was {' or '.join(sorted(true))}"


def _spoilt(evidence: Evidence) -> Iterator[str]:
    for path, content in evidence.reports.items():
        if not path.exists() or path.read_bytes() != content:
            yield f"report {path.name} is not what it was"


def _undelivered(folder: Path, runs: list[_Run]) -> Iterator[str]:
    for path in sorted((folder / JOURNALS).glob("*")):
        # MLflow was never told of one that was torn in its first line, and nobody can know yet
        # whether it is being written: it stays for an hour.
        if path.is_dir() or (path.suffix == ".jsonl" and b"\n" in path.read_bytes()):
            yield f"{path.name} was not delivered"
    for run in runs:
        if run.status == "FINISHED" and run.complete != "true":
            yield f"{run.row} is finished and bench.complete is {run.complete}"


def _whole_lines(path: Path) -> Iterator[Any]:
    """The lines that were written to their end."""
    for line in path.read_bytes().split(b"\n")[:-1]:
        yield json.loads(line)


def _messages(value: Any) -> Iterator[dict[str, Any]]:
    """What the worker said of figures and rows' ends, wherever a journal's line keeps it."""
    if not isinstance(value, dict):
        return
    needed = {"evaluation": "evaluation", "sample": "stretch", "row": "seconds"}
    if needed.get(value.get("kind", "")) in value:
        yield value
        return
    for inner in value.values():
        yield from _messages(inner)
