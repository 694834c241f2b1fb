"""The document of `run --json` and `reports/<scenario>.json`: its published schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from golden import assert_golden_json, assert_same_text

from mnist_bench.results.document import Document

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "docs" / "result.schema.json"


def without_prose(schema: Any) -> Any:
    """A schema's names and types; descriptions may be reworded."""
    if isinstance(schema, dict):
        return {
            name: without_prose(part)
            for name, part in schema.items()
            if not (name == "description" and isinstance(part, str))
        }
    return [without_prose(part) for part in schema] if isinstance(schema, list) else schema


def test_names_and_types() -> None:
    assert_golden_json("document-schema.json", without_prose(Document.model_json_schema()))


def test_published_schema_is_that_of_the_documents() -> None:
    schema = json.dumps(Document.model_json_schema(), indent=1, ensure_ascii=False) + "\n"
    assert_same_text(SCHEMA, schema)


@pytest.mark.parametrize(
    "path", ["reports/sample/table-1.json", "benchmarks/reference/table-1.json"]
)
def test_shipped_documents_are_of_that_schema(path: str) -> None:
    document = json.loads((ROOT / path).read_text(encoding="utf-8"))
    validator = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))
    assert [fault.message for fault in validator.iter_errors(document)] == []
    del document["runs"][0]["steps"]
    assert not validator.is_valid(document)
