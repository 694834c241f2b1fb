"""`mnist-bench compare`: finds the runs of each name, compares them, prints a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mnist_bench.analysis.comparison import (
    Comparison,
    ComparisonTable,
    Effect,
    MachineComparison,
    compare_recorded,
    runs_by_property,
    runs_called,
)
from mnist_bench.cli.console import warn
from mnist_bench.core import formatting
from mnist_bench.core.escaping import one_line
from mnist_bench.core.limits import ComparedBy
from mnist_bench.results.run_summary import RecordedRun, summarise
from mnist_bench.tracking import bundle, recovery
from mnist_bench.tracking.mlflow_store import MlflowStore, no_runs_error


@dataclass(frozen=True)
class CompareOptions:
    """Options of `mnist-bench compare`.

    Attributes:
        tracking_uri: MLflow's tracking URI.
        experiment: Name of the MLflow experiment.
        names: Scenarios, run ids, beginnings of machine ids, or bundle files; the first is the
            base.
        by: Property that groups the runs into sides; None for a side per name.
    """

    tracking_uri: str
    experiment: str
    names: tuple[str, ...]
    by: ComparedBy | None


def compare_runs(options: CompareOptions) -> ComparisonTable:
    """Find the sides and compare each with the first.

    Raises:
        BenchError: A name matches nothing, there is only one side, or no side shares a step count
            with the first.
    """
    return compare_recorded(_runs_by_label(options))


def _runs_by_label(options: CompareOptions) -> dict[str, list[RecordedRun]]:
    """The runs of each side, oldest first; the base is the first side."""
    files = {
        name: _bundle_runs(Path(name)) for name in options.names if name.endswith(bundle.SUFFIX)
    }
    names = [name for name in options.names if name not in files]
    reader = None
    if names or not files:
        reader = recovery.open_existing_store(options.tracking_uri, options.experiment, warn)
    runs = _recorded_runs(reader) if reader else []
    if not runs and (names or not files):
        raise no_runs_error(options.tracking_uri, options.experiment)
    named = {name: files.get(name) or runs_called(runs, name) for name in options.names}
    if options.by is None:
        return named
    every_named = [run for of in named.values() for run in of]
    return runs_by_property(every_named if named else runs, options.by)


def _bundle_runs(path: Path) -> list[RecordedRun]:
    """The runs of a bundle file, as if they had been imported."""
    read = bundle.read(path)
    runs = summarise([each.result for each in read.runs])
    recorded = [
        RecordedRun(
            run=run,
            begun_at_ms=each.begun_at_ms,
            machine=read.machines[each.machine].name,
            tensorflow=read.machines[each.machine].tensorflow,
            mnist_bench=read.machines[each.machine].mnist_bench,
        )
        for run, each in zip(runs, read.runs, strict=True)
    ]
    return sorted(recorded, key=lambda each: each.order)


def _recorded_runs(reader: MlflowStore) -> list[RecordedRun]:
    """The recorded runs except trials, sorted by `RecordedRun.order`."""
    found = [each for each in reader.recorded_runs("") if isinstance(each, RecordedRun)]
    return sorted((each for each in found if each.study is None), key=lambda each: each.order)


# The table


def show(comparison: ComparisonTable, stdout: Console) -> None:
    """Print a row for each comparison, one for each of its machines, and the notes about it."""
    stdout.print(Text(f"Base: {one_line(comparison.base)}", style="bold"), soft_wrap=True)
    headers = ("Against it", "Steps", "n", "Train time", "Final accuracy", "Peak RSS")
    stdout.print(_table(headers, map(_cells, comparison.contrasts)))
    on_machines = [
        _machine_cells(line, machine) for line in comparison.contrasts for machine in line.machines
    ]
    if on_machines:
        stdout.print(Text("Each machine", style="bold"))
        of_machines = ("Against it", "Steps", "Machine", "n", "Threads", "Train time", "Peak RSS")
        stdout.print(_table(of_machines, on_machines))
        machines = {
            formatting.machine(each.machine_id): each.machine
            for line in comparison.contrasts
            for each in line.machines
        }
        for short_id, hardware in machines.items():
            label = f"{short_id}: {hardware or 'hardware not recorded'}"
            stdout.print(Text(one_line(label)), soft_wrap=True)
    for line in comparison.contrasts:
        for note in line.notes:
            label = f"{line.other}, {formatting.count(line.other_steps)} steps"
            stdout.print(Text(one_line(f"{label}: {note}"), style="yellow"), soft_wrap=True)
    for note in comparison.notes:
        stdout.print(Text(one_line(note), style="yellow"), soft_wrap=True)
    stdout.print(
        "A ratio above 1 is longer or more than the base; in brackets the 95% interval (Welch).",
        soft_wrap=True,
    )


def _table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for name in headers:
        is_words = name in {"Against it", "Machine"}
        table.add_column(name, justify="left" if is_words else "right", overflow="fold")
    for row in rows:
        table.add_row(*(Text(one_line(cell)) for cell in row))
    return table


def _cells(line: Comparison) -> tuple[str, ...]:
    return (
        line.other,
        _steps(line),
        f"{line.other_n} against {line.base_n}",
        _ratio(line.train_seconds),
        _difference(line.final_test_accuracy),
        _peak(line.peak_rss_bytes),
    )


def _machine_cells(line: Comparison, machine: MachineComparison) -> tuple[str, ...]:
    threads = formatting.count(machine.other_threads)
    if machine.base_threads != machine.other_threads:
        threads = f"{threads} against {formatting.count(machine.base_threads)}"
    return (
        line.other,
        _steps(line),
        formatting.machine(machine.machine_id),
        f"{machine.other_n} against {machine.base_n}",
        threads,
        _ratio(machine.train_seconds),
        _peak(machine.peak_rss_bytes),
    )


def _steps(line: Comparison) -> str:
    steps = formatting.count(line.other_steps)
    if line.base_steps == line.other_steps:
        return steps
    return f"{steps} against {formatting.count(line.base_steps)}"


def _peak(ratio: float | None) -> str:
    return formatting.UNKNOWN if ratio is None else f"{ratio:.2f}"


def _ratio(effect: Effect | None) -> str:
    if effect is None:
        return formatting.UNKNOWN
    return f"{effect.value:.2f}{_interval(effect, '.2f')}"


def _difference(effect: Effect | None) -> str:
    if effect is None:
        return formatting.UNKNOWN
    return f"{formatting.accuracy_difference(effect.value)}{_interval(effect, '+.4f')}"


def _interval(effect: Effect, form: str) -> str:
    if effect.low is None or effect.high is None:
        return ""
    noise = ", within noise" if effect.is_within_noise else ""
    return f" ({effect.low:{form}} to {effect.high:{form}}{noise})"
