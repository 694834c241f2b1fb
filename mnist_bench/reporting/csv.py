"""Rows and runs as CSV, with cells escaped so that spreadsheets run no formulas."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence

from mnist_bench.core.escaping import csv_cell
from mnist_bench.results.document import Row
from mnist_bench.results.run import PHASES
from mnist_bench.results.run_summary import RunSummary

Cell = str | int | float | None


def rows_csv(rows: Sequence[Row]) -> str:
    """One line per row, with the fields of the document's `table_1`; unknown is empty."""
    names = list(Row.model_fields)
    lines = ([_cell(getattr(row, name), " ") for name in names] for row in rows)
    return "".join(_lines(names, lines))


def runs_csv(runs: Sequence[RunSummary]) -> str:
    """One line per run, with the document's fields; phases and hyperparameters are flattened."""
    return "".join(runs_lines(runs))


def runs_lines(runs: Sequence[RunSummary]) -> Iterator[str]:
    """Lines of `runs_csv`, one at a time."""
    hyperparameter_names = list(
        dict.fromkeys(name for run in runs for name, _ in run.hyperparameters)
    )
    names: list[str] = []
    for name in RunSummary.model_fields:
        if name == "seconds":
            names += [f"{phase}_seconds" for phase in PHASES]
        elif name == "phase_peak_rss_bytes":
            names += [f"{phase}_peak_rss_bytes" for phase in PHASES]
        elif name == "hyperparameters":
            names += hyperparameter_names
        else:
            names.append(name)
    return _lines(names, (_run_cells(run, hyperparameter_names) for run in runs))


def _run_cells(run: RunSummary, hyperparameter_names: Sequence[str]) -> list[Cell]:
    cells: list[Cell] = []
    for name in RunSummary.model_fields:
        if name == "seconds":
            cells += [run.seconds.get(phase) for phase in PHASES]
        elif name == "phase_peak_rss_bytes":
            cells += [run.phase_peak_rss_bytes.get(phase) for phase in PHASES]
        elif name == "hyperparameters":
            cells += [
                _cell(getattr(run.hyperparameters, hyperparameter, None), " ")
                for hyperparameter in hyperparameter_names
            ]
        else:
            cells.append(_cell(getattr(run, name), ", "))
    return cells


def _cell(value: Cell | tuple[str, ...], separator: str) -> Cell:
    """A cell: numbers stay as they are, text is escaped."""
    if isinstance(value, tuple):
        value = separator.join(value)
    return csv_cell(value) if isinstance(value, str) else value


class _LineBuffer:
    """Stand-in for a file that returns what is written to it."""

    def write(self, text: str) -> str:
        return text


def _lines(names: Sequence[str], lines: Iterable[Sequence[Cell]]) -> Iterator[str]:
    writer = csv.writer(_LineBuffer(), lineterminator="\n")
    yield writer.writerow(names)
    yield from map(writer.writerow, lines)
