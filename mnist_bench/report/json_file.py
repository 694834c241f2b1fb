"""The document as JSON."""

from __future__ import annotations

from mnist_bench.document import Document


def to_json(document: Document) -> str:
    """The text that `run --json` prints and `reports/<name>.json` holds; no NaN gets this far."""
    return document.model_dump_json(indent=2, ensure_ascii=True) + "\n"
