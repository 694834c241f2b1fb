"""`mnist-bench compare`: finds the runs of each name, compares them, prints a table."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mnist_bench.analysis.comparison import Comparison, Effect, Side, compare, unmatched
from mnist_bench.cli.console import warn
from mnist_bench.core import formatting
from mnist_bench.core.errors import EXIT_FAILURE, BenchError
from mnist_bench.core.escaping import one_line
from mnist_bench.core.records import Record
from mnist_bench.measurement.machine import machine_id
from mnist_bench.results.run_summary import RecordedRun, summarise
from mnist_bench.tracking import bundle, recovery
from mnist_bench.tracking.mlflow_store import MlflowStore, no_runs_error

Key = Literal["machine", "scenario", "tensorflow", "mnist-bench", "precision"]


class ComparisonTable(Record):
    """What `compare --json` prints.

    Attributes:
        base: Label of the base of the comparison.
        contrasts: One for each other side and step count.
        notes: What was not compared.
    """

    base: str
    contrasts: tuple[Comparison, ...]
    notes: tuple[str, ...] = ()


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
    by: Key | None


def compare_runs(options: CompareOptions) -> ComparisonTable:
    """Find the sides and compare each with the first.

    Raises:
        BenchError: A name matches nothing, there is only one side, or no side shares a step count
            with the first.
    """
    base, *others = _sides(options)
    comparisons = compare(base, others)
    if not comparisons:
        raise BenchError(
            f"no other side has finished runs of a step count of {base.label}",
            "compare runs of the same scenario",
            exit_status=EXIT_FAILURE,
        )
    return ComparisonTable(
        base=base.label, contrasts=comparisons, notes=tuple(unmatched(base, others))
    )


def _sides(options: CompareOptions) -> list[Side]:
    """The sides to compare, the base first."""
    files = {
        name: _bundle_runs(Path(name)) for name in options.names if name.endswith(bundle.SUFFIX)
    }
    names = [name for name in options.names if name not in files]
    reader = None
    if names or not files:
        reader = recovery.open_existing_store(
            options.tracking_uri, options.experiment, machine_id(), warn
        )
    runs = _recorded_runs(reader) if reader else []
    if not runs and (names or not files):
        raise no_runs_error(options.tracking_uri, options.experiment)
    named = {name: files.get(name) or _runs_called(runs, name) for name in options.names}
    if options.by:
        return _by_key([run for of in named.values() for run in of] if named else runs, options.by)
    if len(named) < 2:
        raise BenchError("one name can't be compared", "give a second name, or --by")
    return [_side(name, of) for name, of in named.items()]


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


def _machine(each: RecordedRun) -> str:
    return f"{each.machine or 'machine'} ({(each.run.machine_id or 'without an id')[:8]})"


_KEYS: dict[Key, Callable[[RecordedRun], str]] = {
    "machine": _machine,
    "scenario": lambda each: each.run.scenario,
    "tensorflow": lambda each: f"TensorFlow {each.tensorflow or 'of an unknown version'}",
    "mnist-bench": lambda each: f"mnist-bench {each.mnist_bench or 'of an unknown version'}",
    "precision": lambda each: each.run.precision,
}


def _by_key(runs: Sequence[RecordedRun], by: Key) -> list[Side]:
    """One side for each value of the property."""
    sides: dict[str, list[RecordedRun]] = {}
    for each in runs:
        sides.setdefault(_KEYS[by](each), []).append(each)
    if len(sides) < 2:
        only = ", ".join(sides) or "none"
        raise BenchError(
            f"--by {by}: there is only one to compare ({only})", "record runs of another one"
        )
    return [_side(label, of) for label, of in sides.items()]


def _runs_called(runs: Sequence[RecordedRun], name: str) -> list[RecordedRun]:
    found = [each for each in runs if _is_called(each, name)]
    if not found:
        known = dict.fromkeys(each.run.scenario for each in runs)
        raise BenchError(
            f"no run, scenario or machine is called {name}",
            f"scenarios here: {', '.join(known)}; `mnist-bench ui` shows run and machine ids",
        )
    return found


def _is_called(each: RecordedRun, name: str) -> bool:
    run = each.run
    if name in (run.scenario, run.run_id):
        return True
    return bool(re.fullmatch(r"[0-9a-f]{4,32}", name)) and (run.machine_id or "").startswith(name)


def _side(label: str, of: Iterable[RecordedRun]) -> Side:
    return Side(label, tuple(each.run for each in of))


# The table


def show(comparison: ComparisonTable, stdout: Console) -> None:
    """Print a row for each comparison, and the notes about it."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    headers = ("Against it", "Steps", "n", "Train time", "Final accuracy", "Peak RSS")
    for name in headers:
        table.add_column(name, justify="left" if name == headers[0] else "right", overflow="fold")
    for line in comparison.contrasts:
        table.add_row(*(Text(one_line(cell)) for cell in _cells(line)))
    stdout.print(Text(f"Base: {one_line(comparison.base)}", style="bold"), soft_wrap=True)
    stdout.print(table)
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


def _cells(line: Comparison) -> tuple[str, ...]:
    steps = formatting.count(line.other_steps)
    if line.base_steps != line.other_steps:
        steps = f"{steps} against {formatting.count(line.base_steps)}"
    return (
        line.other,
        steps,
        f"{line.other_n} against {line.base_n}",
        _ratio(line.train_seconds),
        _difference(line.final_test_accuracy),
        formatting.UNKNOWN if line.peak_rss_bytes is None else f"{line.peak_rss_bytes:.2f}",
    )


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
