"""benchmarks/trust: computation of rates; the committed page uses the current thresholds."""

from __future__ import annotations

import random
import re
from pathlib import Path

import disturb
import factories
import pytest
import rates
import record
from rates import AssessedRun, Rate
from record import Outside, TrustRun

from mnist_bench.measurement import quality
from mnist_bench.measurement.conditions import Conditions
from mnist_bench.measurement.quality import Assessment

FOLDER = Path(rates.__file__).parent


def trained(kind: str, seconds: float, *, others: float = 0.0, steal: float = 0.0) -> TrustRun:
    return TrustRun(
        kind=kind,
        train_seconds=seconds,
        test_accuracy=0.95,
        phase_seconds={"train": seconds, "other": 1.0},
        outside_life_seconds=(seconds + 1.0) / 1.01,
        outside=Outside(wall_seconds=seconds, other_share=others, steal_share=steal),
        conditions=Conditions(exclusive=kind == "quiet"),  # what makes it suspect does not matter
    )


def test_rates_are_exact():
    # Clopper and Pearson at k = n: from (alpha/2)^(1/n) to 1.
    assert str(Rate(60, 60)) == "60 of 60 = 100.0% (94.0% to 100.0%)"
    assert pytest.approx(0.940, abs=5e-4) == (0.05 / 2) ** (1 / 60)
    assert str(Rate(1, 60)) == "1 of 60 = 1.7% (0.0% to 8.9%)"
    assert str(Rate(0, 0)) == "0 of 0"


def test_slowdown_relative_to_quiet_neighbors():
    runs = [trained("quiet", 8.0), trained("stop", 12.0), trained("quiet", 10.0),
            trained("stop", 9.0)]  # fmt: skip
    slowdowns = [assessed.slowdown for assessed in rates.assess_runs(runs)]
    assert slowdowns == [None, pytest.approx(12 / 9), None, pytest.approx(0.9)]
    assert [assessed.flagged for assessed in rates.assess_runs(runs)] == [False, True, False, True]


@pytest.mark.parametrize(
    ("others", "steal", "expected"),
    [(0.03, 0.02, True), (0.031, 0.0, False), (0.0, 0.021, False), (-0.01, 0.0, True)],
)
def test_quiet_runs(others, steal, expected):
    run = trained("quiet", 8.0, others=others, steal=steal)
    assert AssessedRun(run, Assessment(())).quiet_enough is expected


def test_page():
    runs = [trained("quiet", 8.0), trained("stop", 12.0), trained("quiet", 8.0),
            trained("one core", 8.1), trained("quiet", 8.0, steal=0.5)]  # fmt: skip
    page = rates.table("by-hand", runs)
    assert "| disturbances of 5% or more, found | 1 of 1 = 100.0% (2.5% to 100.0%) |" in page
    assert "| quiet runs that were called suspect or invalid | 0 of 2 = 0.0% " in page
    assert "Weaker disturbances, not counted above: 1 of 1 = 100.0%" in page
    assert "listed apart: 0 of 1 = 0.0%" in page
    assert "off by +1.00% to +1.00%" in page


def test_disturbances_are_reproducible():
    drawn = [[disturb.draw(kind, random.Random(3), 8.0) for kind in disturb.KINDS] for _ in "ab"]
    assert drawn[0] == drawn[1]
    stop = drawn[0][disturb.KINDS.index("stop")]
    assert 0.1 <= stop.begin <= 0.8
    assert 0.08 * 8 <= (stop.seconds or 0) <= 4.0


def test_runs_round_trip(tmp_path):
    run = trained("quiet", 8.0).model_copy(update={"conditions": factories.conditions()})
    record.append(tmp_path / "a.jsonl", run)
    record.append(tmp_path / "a.jsonl", run)
    assert record.read(tmp_path / "a.jsonl") == [run, run]
    assert record.read(tmp_path / "none.jsonl") == []


def test_readme_rates_are_current():
    readme = (FOLDER.parent.parent / "README.md").read_text(encoding="utf-8")
    page = (FOLDER / "rates.md").read_text(encoding="utf-8")
    found, alarms = re.findall(r"(?:found|clean): (\d+ of \d+)", readme)
    assert f"| disturbances of 5% or more, found | {found} = " in page
    assert f"| quiet runs that were called suspect or invalid | {alarms} = " in page


def without_machine(page: str) -> list[str]:
    return [line for line in page.splitlines() if not line.startswith("Machine: ")]


def test_committed_page_is_current():
    runs = record.read(FOLDER / "judged.jsonl")
    page = (FOLDER / "rates.md").read_text(encoding="utf-8")
    assert without_machine(rates.table("judged", runs)) == without_machine(page)
    assert {run.kind for run in runs} == {"quiet", *disturb.KINDS}
    assert quality.assess(runs[0].conditions) == rates.assess_runs(runs)[0].assessment
