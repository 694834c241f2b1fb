"""Exit statuses: 0 done, 1 a run failed, 2 a wrong request, 130 interrupted, 143 terminated.

Those of failed and interrupted trainings are in tests/integration/test_end_to_end.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from program import Bench


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("--help", 0),
        ("scenarios", 0),
        ("run smoke --dry-run", 0),
        ("run nonesuch", 2),
        ("run smoke --steps 0", 2),
        ("nonesuch", 2),
        ("report --format pdf", 2),
        ("import nonesuch.zip", 2),
    ],
)
def test_without_a_training(tmp_path: Path, line: str, status: int) -> None:
    assert Bench(tmp_path).call_with_store(*line.split()).status == status
