"""The committed pages are what the programs make of the committed figures."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import common
import equivalence
import ops
import overhead
import peers
import pruners
import pytest
import rates
import runs
import scale
import search_cost
import start
import table
import whole
import winners
import workers

FOLDER = common.ROOT / "benchmarks"


def measured(page: Path) -> str:
    found = common.MEASURED.search(page.read_text(encoding="utf-8"))
    assert found
    return found[0]


@pytest.mark.parametrize(
    ("folder", "figures", "name", "page"),
    [
        ("overhead", "figures.json", "table.md", overhead.page),
        ("peers", "peers.json", "README.md", peers.page),
        ("peers", "whole.json", "whole.md", whole.page),
        ("peers", "ops.json", "ops.md", ops.page),
        ("scale", "scale.json", "README.md", scale.page),
        ("scale", "workers.json", "workers.md", workers.page),
        ("start", "figures.json", "README.md", start.page),
        ("tuning", "pruners.json", "pruners.md", pruners.page),
        ("winners", "winners.json", "README.md", winners.page),
        ("winners/accurate", "winners.json", "README.md", winners.page),
    ],
)
def test_committed_tables_are_current(
    folder: str, figures: str, name: str, page: Callable[[common.Document], str]
) -> None:
    document = json.loads((FOLDER / folder / figures).read_text(encoding="utf-8"))
    assert measured(FOLDER / folder / name) == page(document)


@pytest.mark.parametrize("name", ["table", "studies", "cluster"])
def test_committed_tables_of_faults_are_current(name: str) -> None:
    document = json.loads((FOLDER / "faults" / f"{name}.json").read_text(encoding="utf-8"))
    page = (FOLDER / "faults" / f"{name}.md").read_text(encoding="utf-8")
    assert page == table.page(name, document)


def test_committed_table_of_search_costs_is_current() -> None:
    documents = search_cost.documents_in(FOLDER / "tuning")
    assert measured(FOLDER / "tuning" / "README.md") == search_cost.page(documents)


def rows(text: str) -> list[str]:
    """Without the machine: these pages are of the one that recorded the lines."""
    return [line for line in text.splitlines() if not line.startswith("Machine: ")]


def test_committed_table_of_equivalence_is_current() -> None:
    recorded = equivalence.read(FOLDER / "peers" / "equivalence.jsonl")
    text = equivalence.page(recorded, "", "python benchmarks/peers/equivalence.py --data DIR")
    assert rows(measured(FOLDER / "peers" / "equivalence.md")) == rows(text)
    assert set(recorded.groupby("program").size()) == {equivalence.SEEDS}


def test_committed_rates_are_of_the_current_thresholds() -> None:
    text = rates.page(
        runs.read(FOLDER / "trust" / "judged.jsonl"), "", "python benchmarks/trust/rates.py judged"
    )
    assert rows(measured(FOLDER / "trust" / "rates.md")) == rows(text)


def test_readme_rates_are_current() -> None:
    readme = (common.ROOT / "README.md").read_text(encoding="utf-8")
    page = (FOLDER / "trust" / "rates.md").read_text(encoding="utf-8")
    found, alarms = re.findall(r"(?:found|clean): (\d+ of \d+)", readme)
    assert f"| disturbances of 5% or more, found | {found} = " in page
    assert f"| quiet runs that were called suspect or invalid | {alarms} = " in page


def test_every_committed_table_names_its_program() -> None:
    for page in FOLDER.glob("**/*.md"):
        for program in re.findall(r"`python (benchmarks/[\w/]+\.py)", page.read_text("utf-8")):
            assert (common.ROOT / program).exists(), page


def test_lines_of_faults_are_merged_by_kind(tmp_path: Path) -> None:
    lines = [table.Line("a", 1, hits=Counter(x=1)), table.Line("a", 2, hits=Counter(x=2))]
    table.write(tmp_path, "table", "python", 0, lines)
    (line,) = json.loads((tmp_path / "table.json").read_text(encoding="utf-8"))["lines"]
    assert (line["tried"], line["hits"]) == (3, {"x": 3})
    assert "A: 3 × x." in (tmp_path / "table.md").read_text(encoding="utf-8")
