"""The stopping rule of `--seeds auto`, with a fake clock."""

from __future__ import annotations

import sys
from pathlib import Path

import fakes
import pytest
from factories import run, seeds
from program import Bench, patched_program

from mnist_bench.analysis import table1
from mnist_bench.results.run import RunResult
from mnist_bench.results.run_summary import summarise
from mnist_bench.runner.seeds import SeedCount, StoppingRule, half_width


class Clock:
    """A clock that the test advances."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def of_seeds(number: int, steps: int = 1_000) -> list[RunResult]:
    """Runs with a large spread: 0.98 and 0.99 alternate."""
    return seeds(steps, *(0.98 + 0.01 * (seed % 2) for seed in range(number)))


def count_seeds(rule: StoppingRule, seconds: float, limit: int = 50) -> SeedCount:
    """Apply a rule with seeds of this duration; `ended` says after how many it stopped."""
    clock = Clock()
    seed_count = SeedCount(rule, clock)
    for number in range(limit):
        if seed_count.enough(of_seeds(number)):
            break
        clock.now += seconds
    return seed_count


# The interval


def test_half_width() -> None:
    (row,) = table1.rows(summarise(seeds(1_000, 0.990, 0.991, 0.992)), None)
    # t(0.975; 2) = 4.302653, s = 0.001
    assert half_width(row) == pytest.approx(4.302653 * 0.001 / 3**0.5, rel=1e-6)


def test_one_seed_has_no_interval() -> None:
    (row,) = table1.rows(summarise(seeds(1_000, 0.990)), None)
    assert half_width(row) is None


@pytest.mark.parametrize(("target", "enough"), [(0.0024842, True), (0.0024840, False)])
def test_the_precision_target(target: float, *, enough: bool) -> None:
    seed_count = SeedCount(StoppingRule(target, 1e9), Clock())
    assert seed_count.enough(seeds(1_000, 0.990, 0.991, 0.992)) is enough


def test_every_step_count_must_reach_the_target() -> None:
    narrow, wide = seeds(2_500, 0.99, 0.99, 0.99), seeds(1_000, 0.97, 0.98, 0.99)
    assert SeedCount(StoppingRule(0.001, 1e9), Clock()).enough(narrow)
    assert not SeedCount(StoppingRule(0.001, 1e9), Clock()).enough([*narrow, *wide])


def test_two_seeds_that_agree_are_not_enough() -> None:
    seed_count = SeedCount(StoppingRule(0.1, 1e9), Clock())
    assert not seed_count.enough([])
    assert not seed_count.enough(seeds(1_000, 0.99, 0.99))
    assert seed_count.enough(seeds(1_000, 0.99, 0.99, 0.99))


def test_a_step_count_without_finished_runs_does_not_reach_the_target() -> None:
    failed = [run(2_500, seed=s, status="failed", evaluations=()) for s in range(3)]
    seed_count = SeedCount(StoppingRule(0.1, 1e9), Clock())
    assert not seed_count.enough([*failed, *seeds(1_000, 0.99, 0.99, 0.99)])


def test_the_reason_names_the_widest_interval() -> None:
    seed_count = SeedCount(StoppingRule(0.1, 1e9), Clock())
    seed_count.enough(seeds(1_000, 0.990, 0.991, 0.992) + seeds(2_500, 0.99, 0.99, 0.99))
    assert seed_count.ended == (
        "Stopped after 3 seeds: each mean is within ±0.1 (widest: ±0.00248 at 1,000 steps)"
    )


# The budget


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
    seed_count = count_seeds(StoppingRule(1e-6, budget_seconds), seed_seconds)
    assert seed_count.ended.startswith(
        f"Stopped after {trained} seed{'s' if trained > 1 else ''}: one more would end after the "
    )


def test_recorded_seeds_do_not_count_toward_the_budget() -> None:
    clock = Clock()
    seed_count = SeedCount(StoppingRule(1e-6, 25.0), clock)
    assert not seed_count.enough(of_seeds(100))
    clock.now += 10
    assert not seed_count.enough(of_seeds(101))  # the next ends after 20 s
    clock.now += 10
    assert seed_count.enough(of_seeds(102))


def test_the_budget_can_stop_below_three_seeds() -> None:
    seed_count = count_seeds(StoppingRule(0.1, 15.0), 10.0)
    assert seed_count.ended.endswith("the budget of 15.0 s (no interval yet)")


# Failures


def test_a_seed_without_finished_runs_stops_it() -> None:
    seed_count = SeedCount(StoppingRule(), Clock())
    failed = [run(s, seed=2, status="failed", evaluations=()) for s in (1_000, 2_500)]
    assert seed_count.enough([*of_seeds(2), *failed])
    assert seed_count.ended == "Stopped after 3 seeds: no row of the last one finished"


def test_a_seed_that_failed_partly_does_not_stop_it() -> None:
    seed_count = SeedCount(StoppingRule(), Clock())
    last = [run(1_000, seed=2), run(2_500, seed=2, status="failed", evaluations=())]
    assert not seed_count.enough([*of_seeds(2), *last])


def test_ended_is_empty_while_it_runs() -> None:
    seed_count = SeedCount(StoppingRule(), Clock())
    assert not seed_count.enough([])
    assert seed_count.ended == ""


def test_without_a_rule_it_never_stops() -> None:
    seed_count = SeedCount(None, Clock())
    assert not seed_count.enough(seeds(1_000, 0.99, 0.99, 0.99))
    assert seed_count.ended == ""


def test_the_rule_as_text() -> None:
    assert str(StoppingRule()) == (
        "until the 95% interval of each row's mean max test accuracy is within "
        "±0.0005, or until one more would end after 30 min 00 s"
    )


# The command with a fake worker, which gives every seed the same results


def with_worker(fault: str = "pass") -> tuple[str, ...]:
    command = fakes.worker(fault)
    return patched_program(f"from mnist_bench.runner import process\nprocess.COMMAND = {command!r}")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    parent = tmp_path / "user"
    parent.mkdir()
    return Bench(parent)


AUTO = ("run", "smoke", "--seeds", "auto")


def test_the_rule_and_the_reason_to_stop_are_printed(bench: Bench) -> None:
    ended = bench.run(*AUTO, program=with_worker())
    assert ended.status == 0, ended.stderr
    lines = ended.stdout.splitlines()
    assert lines[0] == f"smoke: seeds {StoppingRule()}"
    assert lines[1] == (
        "Stopped after 3 seeds: each mean is within ±0.0005 (widest: ±0.00000 at 200 steps)"
    )
    again = bench.run(*AUTO, "--resume", "--json", program=with_worker("sys.exit(9)"))
    assert again.status == 0, again.stderr  # enough was recorded: nothing was trained
    assert [one["seed"] for one in again.document["runs"]] == [0, 1, 2]
    assert "Stopped after 3 seeds" in again.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="its state folder is named by a variable")
def test_a_state_folder_that_is_not_writable_is_reported_and_recorded(
    bench: Bench, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    ended = bench.run(
        *AUTO,
        "--budget",
        "0.1s",
        "--json",
        program=with_worker(),
        XDG_STATE_HOME=f"{tmp_path}/file",
    )
    assert ended.status == 0, ended.stderr
    assert "can't lock out other benchmarks" in ended.error_line
    (one,) = ended.document["runs"]
    assert (one["seed"], one["verdict"]) == (0, "suspect")
    assert "not exclusive" in one["reasons"]


def test_a_worker_that_always_fails_is_started_once(bench: Bench) -> None:
    ended = bench.run(*AUTO, "--json", program=with_worker("sys.exit(9)"))
    assert ended.status == 1
    assert [one["status"] for one in ended.document["runs"]] == ["failed"]
    assert "Stopped after 1 seed: no row of the last one finished" in ended.stderr
