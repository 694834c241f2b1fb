"""Rows and runs as CSV, with cells escaped so that spreadsheets run no formulas."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from mnist_bench.analysis.frames import records_frame, summaries_frame
from mnist_bench.core.escaping import csv_cell
from mnist_bench.results.document import Row
from mnist_bench.results.run_summary import RunSummary

_LINES = 1_000
"""Lines of a piece: text of thousands of runs is never in memory at once."""


def rows_csv(rows: Sequence[Row]) -> str:
    """One line per row, with the fields of the document's `table_1`; unknown is empty."""
    return "".join(_lines(records_frame(rows, Row, separator=" ")))


def runs_csv(runs: Sequence[RunSummary]) -> str:
    """One line per run, with the document's fields; phases and hyperparameters are flattened."""
    return "".join(runs_lines(runs))


def runs_lines(runs: Sequence[RunSummary]) -> Iterator[str]:
    """Pieces of `runs_csv`."""
    return _lines(summaries_frame(runs))


def _lines(frame: pd.DataFrame) -> Iterator[str]:
    for start in range(0, max(1, len(frame)), _LINES):
        part = frame[start : start + _LINES]
        texts: pd.DataFrame = part.select_dtypes("string").map(csv_cell, na_action="ignore")
        yield part.assign(**texts).to_csv(header=not start, index=False, lineterminator="\n")
