"""benchmarks/start: reading spools, ratios, and the committed page."""

from __future__ import annotations

import json
from pathlib import Path

import first_step
import pytest
import start
from first_step import Bare, Round

from mnist_bench.results.protocol import Phase
from mnist_bench.tracking.spool import MessageEntry

ROUND = Round(6.0, quick=Bare(2.5, 1.5), plain=Bare(4.5, 1.5))


def test_ratios_of_a_round() -> None:
    assert (ROUND.quick.seconds, ROUND.plain.seconds) == (4.0, 6.0)
    assert (ROUND.by_quick, ROUND.by_plain) == (1.5, 1.0)


def test_only_complete_spool_lines_are_read(tmp_path: Path) -> None:
    entry = MessageEntry(at_ms=1_700, message=Phase(name="data", seconds=0.5)).model_dump_json()
    lines = f'{{"kind": "begun", "at_ms": 5}}\n{entry}\n{entry[:-1]}'
    (tmp_path / "one.jsonl").write_text(lines, encoding="utf-8")
    ((message, at_ms),) = first_step._messages(tmp_path)
    assert (message["kind"], message["name"], at_ms) == ("phase", "data", 1_700)


def test_environment_of_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "MNIST_BENCH_DATA", "TF_USE_LEGACY_KERAS"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("KEPT", "x")
    environment = first_step._environment()
    assert environment["KEPT"] == "x"
    assert not [name for name in environment if name.startswith(("MLFLOW_", "MNIST_BENCH_"))]
    assert "TF_USE_LEGACY_KERAS" not in environment


def test_page() -> None:
    starts = {name: [0.2, 0.1, 0.4] for name in start.COMMANDS} | {start.BARE: [0.02, 0.02, 0.08]}
    lines = start.page(starts, [ROUND, Round(8.0, ROUND.quick, ROUND.plain)]).splitlines()
    assert "| `mnist-bench --help` | 3 | 0.200 | 0.100 | 0.400 | 10.0 |" in lines
    assert "| `python -c pass` | 3 | 0.020 | 0.020 | 0.080 | 1.0 |" in lines
    smoke = "| `mnist-bench run smoke`, on an existing database | 2 | 7.000 | 6.000 | 8.000 |  |"
    assert smoke in lines
    quick = next(line for line in lines if "as the suite imports it" in line)
    assert quick.endswith("| 2 | 4.000 | 4.000 | 4.000 | 1.75 (1.50 to 2.00) |")
    plain = next(line for line in lines if "plainly" in line)
    assert plain.endswith("| 2 | 6.000 | 6.000 | 6.000 | 1.17 (1.00 to 1.33) |")


def test_committed_page_is_current() -> None:
    figures = json.loads((start.FOLDER / "figures.json").read_text(encoding="utf-8"))
    rounds = [
        Round(each["smoke_seconds"], Bare(**each["quick"]), Bare(**each["plain"]))
        for each in figures["first_step"]
    ]
    committed = (start.FOLDER / "README.md").read_text(encoding="utf-8").splitlines()
    generated = start.page(figures["commands"], rounds).splitlines()
    current = [line for line in generated if not line.startswith("Machine: ")]
    assert current == [line for line in committed if not line.startswith("Machine: ")]
