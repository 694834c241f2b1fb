"""`mnist-bench runs`: lists recorded runs, and deletes them."""

from __future__ import annotations

import datetime as dt
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from mnist_bench.cli.console import make_console, warn
from mnist_bench.cli.options import (
    experiment_option,
    json_option,
    tag_filter_option,
    tracking_uri_option,
)
from mnist_bench.core import formatting
from mnist_bench.core.errors import BenchError
from mnist_bench.core.escaping import one_line

if TYPE_CHECKING:
    from rich.console import Console

    from mnist_bench.results.run_summary import RecordedRun
    from mnist_bench.tracking.mlflow_store import MlflowStore

_EXAMPLES = """\b
Examples:
  mnist-bench runs                          every run but the trials of studies
  mnist-bench runs --scenario table-1 --tag host=laptop
  mnist-bench runs delete 3f2a91c0          by the beginning of its id
"""
_DELETE_EXAMPLES = """\b
Examples:
  mnist-bench runs delete 3f2a91c0 77b0     two runs, by the beginnings of their ids
  mnist-bench runs delete --yes 3f2a91c0    without asking
"""


@click.group(invoke_without_command=True, epilog=_EXAMPLES)
@click.option(
    "--scenario",
    "scenarios",
    multiple=True,
    metavar="NAME",
    help="List only this scenario; repeatable.",
)
@tag_filter_option
@tracking_uri_option
@experiment_option
@json_option
@click.pass_context
def runs(
    context: click.Context,
    *,
    scenarios: tuple[str, ...],
    tags: tuple[tuple[str, str], ...],
    tracking_uri: str,
    experiment: str,
    as_json: bool,
) -> int:
    """List recorded runs, newest first, a line each.

    A run's line has its id's first 8 digits, which `compare` and `runs delete` accept, what differs
    from the scenario, its accuracies, its train time, and its verdict. Columns that don't fit are
    left out.
    """
    context.obj = tracking_uri, experiment
    if context.invoked_subcommand is not None:
        return 0
    _, recorded, trials = _load(tracking_uri, experiment)
    lines = [
        line
        for line in _lines(recorded)
        if (not scenarios or line.recorded.run.scenario in scenarios)
        and set(tags) <= set(line.recorded.tags)
    ]
    if not lines:
        raise BenchError("no run matches", "`mnist-bench runs` lists every one")
    if as_json:
        document = {"schema": 1, "runs": [line.facts for line in lines]}
        click.echo(json.dumps(document, indent=2))
        return 0
    console = make_console()
    _show(lines, console)
    if trials:
        studies = formatting.counted(len({each.study for each in trials}), "study")
        console.print(
            f"{formatting.counted(len(trials), 'trial')} of {studies} not listed: "
            "`mnist-bench report` and `ui` show them",
            soft_wrap=True,
        )
    return 0


@runs.command(epilog=_DELETE_EXAMPLES)
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Delete without asking.")
@click.pass_obj
def delete(where: tuple[str, str], *, ids: tuple[str, ...], yes: bool) -> int:
    """Delete runs in MLflow, by the beginning of their ids.

    They can be restored with `mlflow runs restore` until `mlflow gc` removes them for good.
    """
    store, recorded, trials = _load(*where)
    found = [_find(recorded + trials, text) for text in ids]
    chosen = {each.run.run_id or "": each for each in found}
    running = [run_id for run_id, each in chosen.items() if each.run.status is None]
    if running:
        raise BenchError(f"run {running[0][:8]} has not ended", "end its command first")
    console = make_console()
    if not yes:
        if not sys.stdin.isatty():
            raise BenchError("`runs delete` asks first, and nobody is there to answer", "add --yes")
        _show([line for line in _lines(recorded + trials) if line.id in chosen], console)
        if not click.confirm(f"Delete {formatting.counted(len(chosen), 'run')}?"):
            click.echo("Nothing deleted.")
            return 0
    for run_id in chosen:
        store.delete(run_id)
    click.echo(f"Deleted {formatting.counted(len(chosen), 'run')}.")
    return 0


def _load(
    tracking_uri: str, experiment: str
) -> tuple[MlflowStore, list[RecordedRun], list[RecordedRun]]:
    """The store, its runs, and the trials of its studies, oldest first."""
    from mnist_bench.results.run_summary import RecordedRun
    from mnist_bench.tracking import recovery, uri
    from mnist_bench.tracking.mlflow_store import no_runs_error

    uri.check_uri(tracking_uri, experiment)
    store = recovery.open_existing_store(tracking_uri, experiment, warn)
    found = list(store.recorded_runs("")) if store else []
    recorded = sorted(
        (each for each in found if isinstance(each, RecordedRun)), key=lambda each: each.order
    )
    if store is None or not recorded:
        raise no_runs_error(tracking_uri, experiment)
    if unreadable := len(found) - len(recorded):
        warn(f"{formatting.counted(unreadable, 'run')} left out: can't be read by this version")
    trials = [each for each in recorded if each.study]
    return store, [each for each in recorded if not each.study], trials


def _find(recorded: Sequence[RecordedRun], text: str) -> RecordedRun:
    """The run whose id begins with a text.

    Raises:
        BenchError: There is none, or there are several.
    """
    found = [each for each in recorded if text and (each.run.run_id or "").startswith(text)]
    if len(found) != 1:
        which = f"{len(found)} ids begin" if found else "no id of a run begins"
        raise BenchError(f"{which} with {text!r}", "`mnist-bench runs` lists the ids")
    return found[0]


@dataclass(frozen=True)
class _Line:
    """A run, and what differs from its scenario."""

    recorded: RecordedRun
    changes: Mapping[str, str]

    @property
    def id(self) -> str:
        return self.recorded.run.run_id or ""

    @property
    def begun_at(self) -> dt.datetime:
        return dt.datetime.fromtimestamp(self.recorded.begun_at_ms / 1_000).astimezone()

    @property
    def changes_in_words(self) -> str:
        from mnist_bench.analysis.configurations import in_words

        return in_words(self.changes)

    @property
    def max_in_table_1(self) -> float | None:
        """The max test accuracy, where Table I has it."""
        from mnist_bench.analysis.grouping import has_table_1_task
        from mnist_bench.scenarios import paper

        run = self.recorded.run
        is_row = paper.row_of(run.steps) is not None and has_table_1_task(run)
        return run.max_test_accuracy if is_row else None

    @property
    def verdict(self) -> str:
        """How the run ended, unless it finished, then whether it was disturbed; and whose it is."""
        run = self.recorded.run
        is_finished = run.status == "finished"
        words = run.verdict or formatting.UNKNOWN if is_finished else run.status or "running"
        return f"{words}, imported" if self.recorded.is_imported else words

    @property
    def facts(self) -> dict[str, object]:
        run = self.recorded.run
        return {
            "run_id": self.id,
            "begun_at": self.begun_at.isoformat(timespec="seconds"),
            "scenario": run.scenario,
            "steps": run.steps,
            "seed": run.seed,
            "changes": dict(self.changes),
            "status": run.status or "running",
            "final_test_accuracy": run.final_test_accuracy,
            "max_test_accuracy": run.max_test_accuracy,
            "train_seconds_total": run.train_seconds_total,
            "peak_rss_bytes": run.peak_rss_bytes,
            "threads": run.threads,
            "verdict": run.verdict,
            "reasons": run.reasons,
            "machine": self.recorded.machine,
            "machine_id": run.machine_id,
            "imported": self.recorded.is_imported,
            "tags": dict(self.recorded.tags),
        }


def _lines(recorded: Sequence[RecordedRun]) -> list[_Line]:
    """The lines of runs that are given oldest first, newest first."""
    from mnist_bench.analysis.configurations import base_settings, changes

    bases = base_settings([each.run for each in recorded])
    most_threads: dict[tuple[str, str | None], int] = {}
    for each in recorded:
        key = each.run.scenario, each.run.machine_id
        most_threads[key] = max(each.run.threads, most_threads.get(key, 0))

    def line(each: RecordedRun) -> _Line:
        run = each.run
        changed = changes(run, bases[run.scenario])
        if run.threads < most_threads[run.scenario, run.machine_id]:  # the default is every core
            changed["threads"] = str(run.threads)
        return _Line(each, changed)

    return [line(each) for each in reversed(recorded)]


@dataclass(frozen=True)
class _Column:
    """A column; those with a higher rank are left out first, and rank 0 never is."""

    header: str
    text: Callable[[_Line], str]
    rank: int = 0
    is_number: bool = False
    can_wrap: bool = False


_COLUMNS = (
    _Column("Run", lambda line: line.id[:8]),
    _Column("When", lambda line: f"{line.begun_at:%Y-%m-%d %H:%M}", rank=5),
    _Column("Scenario", lambda line: line.recorded.run.scenario),
    _Column("Steps", lambda line: formatting.count(line.recorded.run.steps), is_number=True),
    _Column("Seed", lambda line: str(line.recorded.run.seed), rank=3, is_number=True),
    _Column("Changed", lambda line: line.changes_in_words, can_wrap=True),
    _Column(
        "Tags",
        lambda line: ", ".join(f"{key}={text}" for key, text in line.recorded.tags),
        rank=4,
        can_wrap=True,
    ),
    _Column(
        "Final",
        lambda line: formatting.accuracy(line.recorded.run.final_test_accuracy),
        is_number=True,
    ),
    _Column("Max", lambda line: formatting.accuracy(line.max_in_table_1), rank=6, is_number=True),
    _Column(
        "Train time",
        lambda line: formatting.duration(line.recorded.run.train_seconds_total),
        rank=2,
        is_number=True,
    ),
    _Column("Verdict", lambda line: line.verdict, rank=1),
)
_GAP = 2
_WRAPPED_WIDTH = 24
"""Longer changes and tags may be wrapped."""


def _show(lines: Sequence[_Line], console: Console) -> None:
    """Print a line a run, with the columns that fit."""
    from rich.table import Table
    from rich.text import Text

    texts = {column: [one_line(column.text(line)) for line in lines] for column in _COLUMNS}
    empty = {"", formatting.UNKNOWN}
    columns = [column for column in _COLUMNS if not empty.issuperset(texts[column])]

    def width(column: _Column) -> int:
        longest = max(len(text) for text in (column.header, *texts[column]))
        return _GAP + (min(longest, _WRAPPED_WIDTH) if column.can_wrap else longest)

    left_out = []
    while sum(map(width, columns)) - _GAP > console.width and any(each.rank for each in columns):
        least = max(columns, key=lambda each: each.rank)
        columns.remove(least)
        left_out.append(least.header)
    table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(
            column.header,
            justify="right" if column.is_number else "left",
            no_wrap=not column.can_wrap,
        )
    for row in zip(*(texts[column] for column in columns), strict=True):
        table.add_row(*map(Text, row))
    console.print(table)
    if left_out:
        console.print(
            f"Left out for lack of width: {', '.join(left_out)}; --json has everything.",
            soft_wrap=True,
        )
