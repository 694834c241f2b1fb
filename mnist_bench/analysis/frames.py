"""Tidy pandas frames of runs, for statistics, plots and notebooks.

Columns have pandas' nullable dtypes, and what is unknown is NA, never 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

import pandas as pd

from mnist_bench.core.records import Record
from mnist_bench.results.run import PHASES, RunResult
from mnist_bench.results.run_summary import RecordedRun, RunSummary
from mnist_bench.scenarios.hyperparameters import HYPERPARAMETERS

_DTYPES = {int: "Int64", float: "Float64", bool: "boolean"}
_OF_EVALUATIONS = {
    "run_id": "string",
    "step": "Int64",
    "on_grid": "boolean",
    "test_accuracy": "Float64",
    "validation_accuracy": "Float64",
    "train_loss": "Float64",
    "train_seconds": "Float64",
}


def runs_frame(runs: Sequence[RecordedRun]) -> pd.DataFrame:
    """A row per run, in the order given.

    The columns are those of `summaries_frame`, then `machine` (its hardware), `tensorflow` and
    `mnist_bench` (versions), `study` (NA unless the run is a trial) and `begun_at` (in UTC).
    """
    frame = summaries_frame([each.run for each in runs])
    for name in ("machine", "tensorflow", "mnist_bench", "study"):
        frame[name] = _series([getattr(each, name) for each in runs], str)
    begun_at_ms = pd.Series([each.begun_at_ms for each in runs], dtype="int64")
    frame["begun_at"] = pd.to_datetime(begun_at_ms, unit="ms", utc=True)
    return frame


def summaries_frame(runs: Sequence[RunSummary]) -> pd.DataFrame:
    """A row per run, in the order given: the fields of the JSON document's runs.

    There is a column for each phase (`train_seconds`, `train_peak_rss_bytes`, …) and for each
    hyperparameter that a run has, under its own name. Several texts are joined by commas.
    """
    columns: dict[str, pd.Series] = {}
    for name, field in RunSummary.model_fields.items():
        values = [getattr(run, name) for run in runs]
        if name == "seconds":
            for phase in PHASES:
                columns[f"{phase}_seconds"] = _series([of.get(phase) for of in values], float)
        elif name == "phase_peak_rss_bytes":
            for phase in PHASES:
                columns[f"{phase}_peak_rss_bytes"] = _series([of.get(phase) for of in values], int)
        elif name == "hyperparameters":
            columns |= _hyperparameters(values)
        else:
            columns[name] = _series(values, field.annotation)
    return pd.DataFrame(columns)


def evaluations_frame(runs: Iterable[RunResult]) -> pd.DataFrame:
    """A row per run and evaluated step: accuracies, training loss, and train seconds so far.

    `on_grid` is False for the state after the last update where that is not on the evaluation grid:
    it gives the final accuracy, and the maximum is not looked for there.
    """
    rows = [
        (run.run_id, each.step, each.step in run.grid, each.test_accuracy,
         each.validation_accuracy, each.train_loss, each.train_seconds)
        for run in runs
        for each in run.evaluations
    ]  # fmt: skip
    columns = zip(*rows, strict=True) if rows else ((),) * len(_OF_EVALUATIONS)
    return pd.DataFrame(
        {
            name: pd.Series(values, dtype=dtype)
            for (name, dtype), values in zip(_OF_EVALUATIONS.items(), columns, strict=True)
        }
    )


def records_frame(records: Sequence[Record], kind: type[Record], *, separator: str) -> pd.DataFrame:
    """A row per record and a column per field; a field that holds a record has a column for each.

    Fields that hold several records are left out; several texts are joined by the separator.
    """
    columns: dict[str, pd.Series] = {}
    for name, field in kind.model_fields.items():
        values = [getattr(record, name) for record in records]
        inner = _type(field.annotation)
        if _is_record(inner):
            for part, part_field in inner.model_fields.items():
                parts = [None if value is None else getattr(value, part) for value in values]
                columns[f"{name}_{part}"] = _series(parts, part_field.annotation)
        elif not any(map(_is_record, get_args(inner))):
            columns[name] = _series(values, field.annotation, separator)
    return pd.DataFrame(columns)


def _hyperparameters(values: Sequence[Record]) -> dict[str, pd.Series]:
    types = {name: field.annotation for kind in HYPERPARAMETERS.values()
             for name, field in kind.model_fields.items()}  # fmt: skip
    names = dict.fromkeys(name for each in values for name in type(each).model_fields)
    return {name: _series([getattr(each, name, None) for each in values], types[name])
            for name in names}  # fmt: skip


def _series(values: Sequence[Any], annotation: Any, separator: str = ", ") -> pd.Series:
    """A column of the nullable dtype that fits the annotation of a record's field."""
    texts = [separator.join(each) if isinstance(each, tuple) else each for each in values]
    return pd.Series(texts, dtype=_DTYPES.get(_type(annotation), "string"))


def _type(annotation: Any) -> Any:
    """The annotation without its None."""
    if get_origin(annotation) not in {Union, UnionType}:
        return annotation
    return next(each for each in get_args(annotation) if each is not NoneType)


def _is_record(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Record)
