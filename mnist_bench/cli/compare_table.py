"""`mnist-bench compare`: finds the runs of each name, compares them, prints a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
    sides_of,
)
from mnist_bench.cli.console import warn
from mnist_bench.core import formatting
from mnist_bench.core.errors import BenchError
from mnist_bench.core.escaping import one_line
from mnist_bench.results.run_summary import RecordedRun, summarise
from mnist_bench.tracking import bundle, recovery
from mnist_bench.tracking.mlflow_store import no_runs_error


def compare_runs(
    tracking_uri: str,
    experiment: str,
    names: Sequence[str],
    by: str | None,
    tags: Sequence[tuple[str, str]] = (),
) -> ComparisonTable:
    """Compare the runs of each side with those of the first, which is the base.

    Args:
        names: Scenarios, beginnings of run or machine ids, or bundle files.
        by: Property that groups the runs into sides; None for a side per name.
        tags: What recorded runs must have all of.

    Raises:
        BenchError: A name matches nothing, there is only one side, or no side shares a step count
            with the first.
    """
    files = {name: _bundle_runs(Path(name)) for name in names if name.endswith(bundle.SUFFIX)}
    runs: list[RecordedRun] = []  # without trials, oldest first
    if not files or any(name not in files for name in names):
        reader = recovery.open_existing_store(tracking_uri, experiment, warn)
        found = reader.recorded_runs("") if reader else ()
        runs = [each for each in found if isinstance(each, RecordedRun) and each.study is None]
        if not runs:
            raise no_runs_error(tracking_uri, experiment)
        runs = [each for each in runs if set(tags) <= set(each.tags)]
        if not runs:
            raise BenchError("no run has these tags", "`mnist-bench runs` shows the tags")
        runs.sort(key=lambda each: each.order)
    if runs and by is None and len(set(names)) < 2:
        recorded = ", ".join(sorted({each.run.scenario for each in runs}))
        raise BenchError(
            "one name can't be compared" if names else "compare needs two names, or --by",
            f"{'give a second name, or --by; ' if names else ''}recorded scenarios: {recorded}",
        )
    return compare_recorded(sides_of(runs, names, by, files))


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


# The table


def show(comparison: ComparisonTable, stdout: Console) -> None:
    """Print a row for each comparison, one for each of its machines, and the notes about it."""
    stdout.print(Text(f"Base: {one_line(comparison.base)}", style="bold"), soft_wrap=True)
    headers = ("", "Steps", "n", "Train time", "Final accuracy", "Peak RSS")
    rows: list[tuple[str, ...]] = []
    for line in sorted(comparison.contrasts, key=lambda each: each.base_steps):
        base = _base_cells(line)
        rows += [] if base in rows else [base]
        rows.append(_cells(line))
    stdout.print(_table(headers, rows))
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
    notes = [
        f"{line.other}, {formatting.count(line.other_steps)} steps: {note}"
        for line in comparison.contrasts
        for note in line.notes
    ]
    for note in (*notes, *comparison.notes):
        stdout.print(Text(one_line(note), style="yellow"), soft_wrap=True)
    stdout.print(
        "Below the base's values: ratios of time and memory (above 1 is longer or more than the "
        "base) and differences of accuracy; in brackets the 95% interval (Welch)."
    )


def _table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for name in headers:
        is_words = name in {"", "Against it", "Machine"}
        table.add_column(name, justify="left" if is_words else "right", overflow="fold")
    for row in rows:
        table.add_row(*(Text(one_line(cell)) for cell in row))
    return table


def _base_cells(line: Comparison) -> tuple[str, ...]:
    """The base's own values, to which the ratios and differences below refer."""
    return (
        "base",
        formatting.count(line.base_steps),
        str(line.base_n),
        formatting.duration(line.base_train_seconds_mean),
        formatting.accuracy(line.base_final_test_accuracy_mean),
        formatting.mebibytes(line.base_peak_rss_bytes_max),
    )


def _cells(line: Comparison) -> tuple[str, ...]:
    return (
        line.other,
        _against(line.other_steps, line.base_steps),
        f"{line.other_n} against {line.base_n}",
        _ratio(line.train_seconds),
        _difference(line.final_test_accuracy),
        _peak(line.peak_rss_bytes),
    )


def _machine_cells(line: Comparison, machine: MachineComparison) -> tuple[str, ...]:
    return (
        line.other,
        _against(line.other_steps, line.base_steps),
        formatting.machine(machine.machine_id),
        f"{machine.other_n} against {machine.base_n}",
        _against(machine.other_threads, machine.base_threads),
        _ratio(machine.train_seconds),
        _peak(machine.peak_rss_bytes),
    )


def _against(other: int, base: int) -> str:
    """Both numbers; one if they are equal."""
    shown = formatting.count(other)
    return shown if other == base else f"{shown} against {formatting.count(base)}"


def _peak(ratio: float | None) -> str:
    return formatting.UNKNOWN if ratio is None else f"{ratio:.2f}"


def _ratio(effect: Effect | None) -> str:
    return f"{effect.value:.2f}{_interval(effect, '.2f')}" if effect else formatting.UNKNOWN


def _difference(effect: Effect | None) -> str:
    if effect is None:
        return formatting.UNKNOWN
    return f"{formatting.accuracy_difference(effect.value)}{_interval(effect, '+.4f')}"


def _interval(effect: Effect, form: str) -> str:
    if effect.low is None or effect.high is None:
        return ""
    noise = ", within noise" if effect.is_within_noise else ""
    return f" ({effect.low:{form}} to {effect.high:{form}}{noise})"
