"""Keys of the other JSON documents that commands print."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from golden import assert_golden_json
from program import Bench


def keys(value: Any) -> Any:
    """A value's keys, without its values; of a list of records, those of the first."""
    if isinstance(value, dict):
        return {name: keys(inner) for name, inner in value.items()}
    is_of_records = isinstance(value, list) and value and isinstance(value[0], dict)
    return [keys(value[0])] if is_of_records else None


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("scenarios", "scenarios --json"),
        ("machine", "machine --json"),  # which observes for three seconds
        ("dry-run", "run smoke --dry-run --json"),
    ],
)
def test_json_keys(tmp_path: Path, name: str, line: str) -> None:
    ended = Bench(tmp_path).call_with_store(*line.split())
    assert ended.status == 0, ended.stderr
    assert_golden_json(f"keys-{name}.json", keys(ended.document))
