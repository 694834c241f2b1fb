"""The document of `run --json` and `reports/<scenario>.json`: its published schema."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from golden import assert_golden_json, assert_same_text

from mnist_bench.results.document import Document
from mnist_bench.scenarios import scenario
from mnist_bench.tuning.space import Space

ROOT = Path(__file__).parents[2]
PUBLISHED = {
    "result": Document.model_json_schema,
    "scenario": scenario.json_schema,
    "space": Space.model_json_schema,
}
SHIPPED = sorted((ROOT / "benchmarks").glob("**/*.toml"))
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


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_schema_is_that_of_the_record(name: str) -> None:
    schema = json.dumps(PUBLISHED[name](), indent=1, ensure_ascii=False) + "\n"
    assert_same_text(ROOT / "docs" / f"{name}.schema.json", schema)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "benchmarks").glob("**/*.toml")), ids=lambda p: p.stem
)
def test_shipped_toml_names_its_schema_and_follows_it(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    named = text.splitlines()[0].removeprefix("#:schema ")
    schema = json.loads((path.parent / named).read_text(encoding="utf-8"))
    validator = jsonschema.Draft202012Validator(schema)
    values = tomllib.loads(text)
    assert [fault.message for fault in validator.iter_errors(values)] == []
    assert not validator.is_valid(values | {"stepz": 1})


def test_schema_of_scenarios_goes_by_the_model() -> None:
    validator = jsonschema.Draft202012Validator(scenario.json_schema())
    values = {"title": "A title", "model": "lenet-5", "steps": [10], "eval_every": 5}
    assert validator.is_valid(values)
    assert validator.is_valid(values | {"hyperparameters": {"learning_rate": 0.01}})
    assert not validator.is_valid(values | {"hyperparameters": {"hidden_layers": 1}})


@pytest.mark.parametrize(
    "path", ["reports/sample/table-1.json", "benchmarks/reference/table-1.json"]
)
def test_shipped_documents_are_of_that_schema(path: str) -> None:
    document = json.loads((ROOT / path).read_text(encoding="utf-8"))
    validator = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))
    assert [fault.message for fault in validator.iter_errors(document)] == []
    del document["runs"][0]["steps"]
    assert not validator.is_valid(document)
