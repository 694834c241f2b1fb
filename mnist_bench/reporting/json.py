"""The report document as JSON."""

from __future__ import annotations

from collections.abc import Iterator

from mnist_bench.core.records import Record
from mnist_bench.results.document import Document

_RUNS = '\n  "runs": ['
"""Occurs once in the JSON, since line breaks inside values are escaped."""


def to_json(document: Document) -> str:
    """The text of `run --json` and `reports/<name>.json`; records contain no NaN."""
    return "".join(json_pieces(document))


def json_pieces(document: Document) -> Iterator[str]:
    """Pieces of `to_json`, one per run, so that thousands of runs are never in memory as text."""
    without_runs = _text(document.model_copy(update={"runs": ()}))
    before, _, after = without_runs.partition(f"{_RUNS}]")
    yield f"{before}{_RUNS}"
    for index, run in enumerate(document.runs):
        comma = "," if index else ""
        yield f"{comma}\n{_text(run)}".replace("\n", "\n    ")
    end = "\n  " if document.runs else ""
    yield f"{end}]{after}\n"


def _text(record: Record) -> str:
    return record.model_dump_json(indent=2, ensure_ascii=True)
