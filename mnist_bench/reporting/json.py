"""The document as JSON."""

from __future__ import annotations

from collections.abc import Iterator

from mnist_bench.core.records import Record
from mnist_bench.results.document import Document

_RUNS = '\n  "runs": ['
"""Stands once in the text: a line break inside of a value is written as two characters."""


def to_json(document: Document) -> str:
    """The text that `run --json` prints and `reports/<name>.json` holds; no NaN gets this far."""
    return "".join(json_pieces(document))


def json_pieces(document: Document) -> Iterator[str]:
    """The same, a run at a time: of thousands the whole would be in memory several times."""
    rest = _text(document.model_copy(update={"runs": ()}))
    before, _, after = rest.partition(f"{_RUNS}]")
    yield f"{before}{_RUNS}"
    for place, run in enumerate(document.runs):
        comma = "," if place else ""
        yield f"{comma}\n{_text(run)}".replace("\n", "\n    ")
    end = "\n  " if document.runs else ""
    yield f"{end}]{after}\n"


def _text(record: Record) -> str:
    return record.model_dump_json(indent=2, ensure_ascii=True)
