"""`mnist-bench records`: whether a file of runs is a record."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mnist_bench.core.errors import EXIT_FAILURE, BenchError

if TYPE_CHECKING:
    from mnist_bench.analysis.board import DatedRun, Entry
    from mnist_bench.results.run import RunResult

_EXAMPLES = """\b
Examples:
  mnist-bench export mine.zip               runs of sprint and of table-1
  mnist-bench records check mine.zip
"""


@click.group()
def records() -> None:
    """Check files of runs by the rules of the boards of records."""


@records.command(epilog=_EXAMPLES)
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--board",
    "name",
    metavar="NAME",
    help="sprint, accurate or accurate-bfloat16. Default: by the scenario's name and precision.",
)
def check(*, path: Path, name: str | None) -> int:
    """Tell whether an exported file is a record, and print its line.

    The file has the record's runs and, trained by turns with them, runs of Table I's 10,000 steps.
    docs/records.md has the rules. The status is 1 if one of them is not met.
    """
    entry = entry_of_file(path, name)
    click.echo(f"{entry.board.name}: {entry.board.title}")
    click.echo(f"| {' | '.join(entry.cells)} |")
    for problem in entry.problems:
        click.echo(f"- {problem}")
    click.echo("No record." if entry.problems else "It meets the rules.")
    return EXIT_FAILURE if entry.problems else 0


def entry_of_file(path: Path, name: str | None = None) -> Entry:
    """The line of an exported file.

    Args:
        name: Of the board; None to choose it by the runs.

    Raises:
        BenchError: The file is no bundle, or it has no runs that could be a record.
    """
    import dataclasses

    from mnist_bench.analysis import board
    from mnist_bench.tracking import bundle

    read = bundle.read(path)
    runs = [
        board.DatedRun(each.result, each.begun_at_ms, read.machines[each.machine].name)
        for each in read.runs
    ]
    chosen = next((each for each in board.BOARDS if each.name == (name or _name_of(runs))), None)
    if chosen is None:
        known = ", ".join(each.name for each in board.BOARDS)
        raise BenchError(
            f"{path} does not tell its board" if name is None else f"there is no board {name!r}",
            f"give --board one of {known}",
        )
    entry = board.entry_of(chosen, runs)
    if entry is None:
        raise BenchError(
            f"{path} has fewer than two finished runs beside those of Table I",
            "export the record's runs together with those of `mnist-bench run table-1`",
        )
    if _is_edited(bundle.read_csv(path), [each.run for each in runs]):
        edited = "its figures in runs.csv and bundle.json differ: one of them was edited"
        entry = dataclasses.replace(entry, problems=(*entry.problems, edited))
    return entry


def _name_of(runs: Sequence[DatedRun]) -> str:
    """The board of a file's runs, by scenario and precision; a name of none if they don't tell."""
    if any(each.run.precision == "bfloat16" for each in runs):
        return "accurate-bfloat16"
    return next((each.run.scenario for each in runs if each.run.scenario != "table-1"), "")


def _is_edited(runs_csv: str, runs: Sequence[RunResult]) -> bool:
    """Whether the runs as CSV, which an export holds too, have other figures."""
    names = ("seed", "final_test_accuracy", "train_seconds_total")
    lines = csv.DictReader(io.StringIO(runs_csv))
    listed = [tuple(line.get(name) or "" for name in names) for line in lines]
    figures = [
        tuple("" if (value := getattr(run, name)) is None else str(value) for name in names)
        for run in runs
    ]
    return sorted(listed) != sorted(figures)
