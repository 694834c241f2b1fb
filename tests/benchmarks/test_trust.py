"""benchmarks/trust: rates, and the draw of disturbances."""

from __future__ import annotations

import pandas as pd
import pytest
import rates
from runs import Outside, TrustRun

from mnist_bench.measurement.conditions import Conditions


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


@pytest.mark.parametrize(
    ("hits", "n", "shown"),
    [
        # Clopper and Pearson at k = n: from (alpha/2)^(1/n) to 1.
        (60, 60, f"60 of 60 = 100.0% ({(0.05 / 2) ** (1 / 60):.1%} to 100.0%)"),
        (1, 60, "1 of 60 = 1.7% (0.0% to 8.9%)"),
        (0, 0, "0 of 0"),
    ],
)
def test_rates_are_exact(hits: int, n: int, shown: str) -> None:
    flags = [True] * hits + [False] * (n - hits)
    assert rates.rate(pd.DataFrame({"is_flagged": flags})) == shown


def test_slowdown_relative_to_quiet_neighbors() -> None:
    kinds = (("quiet", 8.0), ("stop", 12.0), ("quiet", 10.0), ("stop", 9.0))
    frame = rates.assessed([trained(*each) for each in kinds])
    assert frame["slowdown"][[1, 3]].tolist() == pytest.approx([12 / 9, 0.9])
    assert frame["slowdown"][[0, 2]].isna().all()
    assert frame["is_flagged"].tolist() == [False, True, False, True]


@pytest.mark.parametrize(
    ("others", "steal", "expected"),
    [(0.03, 0.02, True), (0.031, 0.0, False), (0.0, 0.021, False), (-0.01, 0.0, True)],
)
def test_quiet_runs(others: float, steal: float, *, expected: bool) -> None:
    frame = rates.assessed([trained("quiet", 8.0, others=others, steal=steal)])
    assert frame["is_quiet"].tolist() == [expected]
