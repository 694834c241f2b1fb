"""docs/speed.md and README.md show values from the benchmarks' data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ops
import peers
import pytest
from golden import assert_section

PEERS = Path(peers.__file__).parent
ROOT = PEERS.parent.parent
AGAINST = (
    ("Keras `fit`", "keras", "keras"),
    ("PyTorch", "torch", "torch-bfloat16"),
    ("the paper's program", "program", None),
)


@pytest.fixture(scope="module")
def measured() -> dict[str, Any]:
    return json.loads((PEERS / "peers.json").read_text(encoding="utf-8"))


def test_documented_bounds_are_current(measured: dict[str, Any]) -> None:
    operations = json.loads((PEERS / "ops.json").read_text(encoding="utf-8"))
    assert_section(ROOT / "docs" / "speed.md", "bounds", ops.bounds(measured, operations))


def test_readme_ratios_are_current(measured: dict[str, Any]) -> None:
    runs = peers.frame_of(measured)

    def shown(figure: str, ours: str, peer: str | None) -> str:
        found = [t for t in peers.TARGETS if (t.figure, t.ours, t.peer) == (figure, ours, peer)]
        ratio = peers.ratio(runs, found[0]) if found else None
        return f"{ratio.value:.2f}" if ratio else "–"

    lines = [
        "| time ÷ ours | one step | one evaluation | one step, ours in bfloat16 |",
        "|---|---:|---:|---:|",
        *(
            f"| {title} | {shown('step', 'ours', peer)} | {shown('evaluation', 'ours', peer)} "
            f"| {shown('step', 'ours-bfloat16', coarse)} |"
            for title, peer, coarse in AGAINST
        ),
    ]
    assert_section(ROOT / "README.md", "speed", "\n".join(lines) + "\n")
