"""The stopping rule of `--seeds auto`, with a fake clock."""

from __future__ import annotations

import sys
from pathlib import Path

import fakes
import pytest
from factories import run, seeds, sqlite_url
from program import Bench

from mnist_bench.analysis import table1
from mnist_bench.results.run import RunResult
from mnist_bench.results.run_summary import summarise
from mnist_bench.runner import process
from mnist_bench.runner.seeds import SeedCount, StoppingRule, half_width


class Clock:
    """A clock that the test advances."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def of_seeds(number: int) -> list[RunResult]:
    """Runs with a large spread: 0.98 and 0.99 alternate."""
    return seeds(1_000, *(0.98 + 0.01 * (seed % 2) for seed in range(number)))


def failed(*steps: int, seed: int = 2) -> list[RunResult]:
    return [run(each, seed=seed, status="failed", evaluations=()) for each in steps]


def test_half_width() -> None:
    three, one = (
        table1.rows(summarise(seeds(1_000, *accuracies)), None)[0]
        for accuracies in ((0.990, 0.991, 0.992), (0.990,))
    )
    # t(0.975; 2) = 4.302653, s = 0.001
    assert half_width(three) == pytest.approx(4.302653 * 0.001 / 3**0.5, rel=1e-6)
    assert half_width(one) is None


SPREAD = seeds(1_000, 0.990, 0.991, 0.992)
EQUAL = seeds(2_500, 0.99, 0.99, 0.99)


@pytest.mark.parametrize(
    ("rule", "results", "ended"),
    [
        (StoppingRule(0.0024842, 1e9), SPREAD, "each mean is within ±0.0024842 (widest: ±0.00248"),
        (StoppingRule(0.0024840, 1e9), SPREAD, ""),
        (
            StoppingRule(0.1, 1e9),
            [*SPREAD, *EQUAL],
            "each mean is within ±0.1 (widest: ±0.00248 at 1,000 steps)",
        ),
        # Every step count must reach the target, also one without finished runs.
        (StoppingRule(0.001, 1e9), EQUAL, "each mean is within ±0.001 (widest: ±0.00000 at 2,500"),
        (StoppingRule(0.001, 1e9), [*EQUAL, *seeds(1_000, 0.97, 0.98, 0.99)], ""),
        (StoppingRule(0.1, 1e9), [r for s in range(3) for r in failed(5_000, seed=s)] + EQUAL, ""),
        # Two seeds that agree are not enough.
        (StoppingRule(0.1, 1e9), [], ""),
        (StoppingRule(0.1, 1e9), seeds(1_000, 0.99, 0.99), ""),
        # A seed that failed partly does not stop it.
        (StoppingRule(), [*of_seeds(2), *failed(1_000, 2_500)], "no row of the last one finished"),
        (StoppingRule(), [*of_seeds(2), run(1_000, seed=2), *failed(2_500)], ""),
        (None, EQUAL, ""),
    ],
)
def test_when_the_results_are_enough(
    rule: StoppingRule | None, results: list[RunResult], ended: str
) -> None:
    seed_count = SeedCount(rule, Clock())
    assert seed_count.enough(results) is bool(ended)
    if ended:
        assert seed_count.ended.startswith(f"Stopped after 3 seeds: {ended}")
    else:
        assert seed_count.ended == ""


@pytest.mark.parametrize(
    ("seed_seconds", "budget_seconds", "trained"),
    [
        (10.0, 100.0, 10),  # ends with the budget
        (10.0, 99.0, 9),
        (10.0, 19.0, 1),
        (10.0, 1.0, 1),  # the first is always trained: its duration is unknown
    ],
)
def test_no_seed_is_started_that_would_exceed_the_budget(
    seed_seconds: float, budget_seconds: float, trained: int
) -> None:
    clock = Clock()
    seed_count = SeedCount(StoppingRule(1e-6, budget_seconds), clock)
    for number in range(50):
        if seed_count.enough(of_seeds(number)):
            break
        clock.now += seed_seconds
    assert seed_count.ended.startswith(
        f"Stopped after {trained} seed{'s' if trained > 1 else ''}: one more would end after the "
    )
    # The budget can stop it below three seeds.
    assert seed_count.ended.endswith("(no interval yet)") == (trained == 1)


def test_recorded_seeds_do_not_count_toward_the_budget() -> None:
    clock = Clock()
    seed_count = SeedCount(StoppingRule(1e-6, 25.0), clock)
    assert not seed_count.enough(of_seeds(10))
    clock.now += 10
    assert not seed_count.enough(of_seeds(11))  # the next ends after 20 s
    clock.now += 10
    assert seed_count.enough(of_seeds(12))


def test_the_rule_as_text() -> None:
    assert str(StoppingRule()) == (
        "until the 95% interval of each row's mean max test accuracy is within "
        "±0.0005, or until one more would end after 30 min 00 s"
    )


# The command with a fake worker, which gives every seed the same results: seconds, for its imports

AUTO = ("run", "smoke", "--seeds", "auto", "--no-report")


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(process, "COMMAND", fakes.worker())
    (tmp_path / "user").mkdir()
    return Bench(tmp_path / "user")


def test_the_rule_and_the_reason_to_stop_are_printed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = bench.call_with_store(*AUTO)
    assert ended.status == 0, ended.stderr
    assert ended.stdout.splitlines()[:2] == [
        f"smoke: seeds {StoppingRule()}",
        "Stopped after 3 seeds: each mean is within ±0.0005 (widest: ±0.00000 at 200 steps)",
    ]
    monkeypatch.setattr(process, "COMMAND", fakes.worker("sys.exit(9)"))
    again = bench.call_with_store(*AUTO, "--resume", "--json")
    assert again.status == 0, again.stderr  # enough was recorded: nothing was trained
    assert [one["seed"] for one in again.document["runs"]] == [0, 1, 2]
    assert "Stopped after 3 seeds" in again.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="its state folder is named by a variable")
def test_a_state_folder_that_is_not_writable_is_reported_and_recorded(
    bench: Bench, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    ended = bench.call(
        *(*AUTO, "--budget", "0.1s", "--json"),
        MLFLOW_TRACKING_URI=sqlite_url(bench.folder / "mlflow.db"),
        XDG_STATE_HOME=f"{tmp_path}/file",
    )
    assert ended.status == 0, ended.stderr
    assert "can't lock out other benchmarks" in ended.error_line
    (one,) = ended.document["runs"]
    assert (one["seed"], one["verdict"]) == (0, "suspect")
    assert "not exclusive" in one["reasons"]
