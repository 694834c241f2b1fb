"""The work of `mnist-bench compare`: from names to sides, and what came of them."""

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
from mnist_bench.core import formatting
from mnist_bench.core.errors import EXIT_BROKE, BenchError
from mnist_bench.core.escaping import one_line
from mnist_bench.core.records import Record
from mnist_bench.results.run_summary import RecordedRun, summarise
from mnist_bench.tracking import bundle
from mnist_bench.tracking.mlflow_reader import MlflowReader, existing_store, nothing_recorded

Key = Literal["machine", "scenario", "tensorflow", "mnist-bench", "precision"]


class ComparisonTable(Record):
    """What `compare --json` prints.

    Attributes:
        base: Label of the side that the others are held against.
        contrasts: A line a side and step count.
        notes: What is in none of them.
    """

    base: str
    contrasts: tuple[Comparison, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class CompareOptions:
    """What the user asked for.

    Attributes:
        tracking_uri: Where MLflow has recorded runs.
        experiment: MLflow's experiment.
        names: Run ids, scenarios, machines or bundle files; the first is the base.
        by: What tells sides apart; None where the names do.
    """

    tracking_uri: str
    experiment: str
    names: tuple[str, ...]
    by: Key | None


def compare_runs(wish: CompareOptions) -> ComparisonTable:
    """Find the sides and hold them against the first.

    Raises:
        BenchError: A name finds nothing, there is one side only, or none has a step count that the
            first has.
    """
    base, *others = _sides(wish)
    found = compare(base, others)
    if not found:
        raise BenchError(
            f"no step count that {base.label} finished was finished by another side",
            "compare runs of the same scenario",
            exit_status=EXIT_BROKE,
        )
    return ComparisonTable(base=base.label, contrasts=found, notes=tuple(unmatched(base, others)))


def _sides(wish: CompareOptions) -> list[Side]:
    """What is held against one another, the base first."""
    files = {name: _bundled(Path(name)) for name in wish.names if name.endswith(bundle.SUFFIX)}
    names = [name for name in wish.names if name not in files]
    archive = None
    if names or not files:
        archive = existing_store(wish.tracking_uri, wish.experiment)
    runs = _runs(archive) if archive else []
    if not runs and (names or not files):
        raise nothing_recorded(wish.tracking_uri, wish.experiment)
    named = {name: files.get(name) or _named(runs, name) for name in wish.names}
    if wish.by:
        return _by_key([run for of in named.values() for run in of] if named else runs, wish.by)
    if len(named) < 2:
        raise BenchError("one name is nothing to compare", "give two, or --by")
    return [_side(name, of) for name, of in named.items()]


def _bundled(path: Path) -> list[RecordedRun]:
    """The runs of a bundle, as if they had been imported."""
    told = bundle.read(path)
    runs = summarise([each.result for each in told.runs])
    made = [
        RecordedRun(
            run=run,
            begun_at_ms=each.begun_at_ms,
            machine=told.machines[each.machine].name,
            tensorflow=told.machines[each.machine].tensorflow,
            mnist_bench=told.machines[each.machine].mnist_bench,
        )
        for run, each in zip(runs, told.runs, strict=True)
    ]
    return sorted(made, key=lambda each: each.order)


def _runs(archive: MlflowReader) -> list[RecordedRun]:
    """What is no trial; the oldest first, as draws are told."""
    found = [each for each in archive.recorded("") if isinstance(each, RecordedRun)]
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
    """A side a value."""
    sides: dict[str, list[RecordedRun]] = {}
    for each in runs:
        sides.setdefault(_KEYS[by](each), []).append(each)
    if len(sides) < 2:
        only = ", ".join(sides) or "none"
        raise BenchError(f"--by {by}: there is nothing to compare ({only})", "run on another one")
    return [_side(label, of) for label, of in sides.items()]


def _named(runs: Sequence[RecordedRun], name: str) -> list[RecordedRun]:
    found = [each for each in runs if _is(each, name)]
    if not found:
        known = dict.fromkeys(each.run.scenario for each in runs)
        raise BenchError(
            f"no run, scenario or machine is called {name}",
            f"scenarios here: {', '.join(known)}; `mnist-bench ui` shows run and machine ids",
        )
    return found


def _is(each: RecordedRun, name: str) -> bool:
    run = each.run
    if name in (run.scenario, run.run_id):
        return True
    return bool(re.fullmatch(r"[0-9a-f]{4,32}", name)) and (run.machine_id or "").startswith(name)


def _side(label: str, of: Iterable[RecordedRun]) -> Side:
    return Side(label, tuple(each.run for each in of))


# For people


def show(comparison: ComparisonTable, people: Console) -> None:
    """Print a line a contrast, and what there is to know of each."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    headers = ("Against it", "Steps", "n", "Train time", "Final accuracy", "Peak RSS")
    for name in headers:
        table.add_column(name, justify="left" if name == headers[0] else "right", overflow="fold")
    for line in comparison.contrasts:
        table.add_row(*(Text(one_line(cell)) for cell in _cells(line)))
    people.print(Text(f"Base: {one_line(comparison.base)}", style="bold"), soft_wrap=True)
    people.print(table)
    for line in comparison.contrasts:
        for note in line.notes:
            where = f"{line.other}, {formatting.count(line.other_steps)} steps"
            people.print(Text(one_line(f"{where}: {note}"), style="yellow"), soft_wrap=True)
    for note in comparison.notes:
        people.print(Text(one_line(note), style="yellow"), soft_wrap=True)
    people.print(
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
