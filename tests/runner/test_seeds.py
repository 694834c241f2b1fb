"""How many seeds are enough: the interval by hand, the budget by a clock that is moved by hand."""

from __future__ import annotations

import sys
from pathlib import Path

import fakes
import pytest
from factories import run, seeds
from program import Bench, altered

from mnist_bench.analysis import table1
from mnist_bench.results.run import RunResult
from mnist_bench.results.run_summary import summarise
from mnist_bench.runner.seeds import SeedCount, StoppingRule, half_width


class Clock:
    """Seconds that go on only when they are told to."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def of_seeds(number: int, steps: int = 1_000) -> list[RunResult]:
    """Runs that never come close: 0.98 and 0.99 in turn."""
    return seeds(steps, *(0.98 + 0.01 * (seed % 2) for seed in range(number)))


def asked_each_seed(rule: StoppingRule, seconds: float, limit: int = 50) -> SeedCount:
    """A rule at work where each seed takes so many seconds; how many it took is in `ended`."""
    clock = Clock()
    repetition = SeedCount(rule, clock)
    for number in range(limit):
        if repetition.enough(of_seeds(number)):
            break
        clock.now += seconds
    return repetition


# The interval


def test_half_width_by_hand() -> None:
    (row,) = table1.rows(summarise(seeds(1_000, 0.990, 0.991, 0.992)), None)
    # t(0.975; 2) = 4.302653, s = 0.001
    assert half_width(row) == pytest.approx(4.302653 * 0.001 / 3**0.5, rel=1e-6)


def test_one_seed_has_no_interval() -> None:
    (row,) = table1.rows(summarise(seeds(1_000, 0.990)), None)
    assert half_width(row) is None


@pytest.mark.parametrize(("target", "enough"), [(0.0024842, True), (0.0024840, False)])
def test_the_target_bites(target: float, *, enough: bool) -> None:
    repetition = SeedCount(StoppingRule(target, 1e9), Clock())
    assert repetition.enough(seeds(1_000, 0.990, 0.991, 0.992)) is enough


def test_every_row_must_be_known_well_enough() -> None:
    narrow, wide = seeds(2_500, 0.99, 0.99, 0.99), seeds(1_000, 0.97, 0.98, 0.99)
    assert SeedCount(StoppingRule(0.001, 1e9), Clock()).enough(narrow)
    assert not SeedCount(StoppingRule(0.001, 1e9), Clock()).enough([*narrow, *wide])


def test_two_seeds_that_agree_are_not_enough() -> None:
    repetition = SeedCount(StoppingRule(0.1, 1e9), Clock())
    assert not repetition.enough([])
    assert not repetition.enough(seeds(1_000, 0.99, 0.99))
    assert repetition.enough(seeds(1_000, 0.99, 0.99, 0.99))


def test_a_row_that_never_finishes_is_never_known() -> None:
    failed = [run(2_500, seed=s, status="failed", evaluations=()) for s in range(3)]
    repetition = SeedCount(StoppingRule(0.1, 1e9), Clock())
    assert not repetition.enough([*failed, *seeds(1_000, 0.99, 0.99, 0.99)])


def test_why_it_stopped_names_the_widest_row() -> None:
    repetition = SeedCount(StoppingRule(0.1, 1e9), Clock())
    repetition.enough(seeds(1_000, 0.990, 0.991, 0.992) + seeds(2_500, 0.99, 0.99, 0.99))
    assert repetition.ended == (
        "Stopped after 3 seeds: each mean is within ±0.1 (widest: ±0.00248 at 1,000 steps)"
    )


# The budget


@pytest.mark.parametrize(
    ("seed_seconds", "budget_seconds", "trained"),
    [
        (10.0, 100.0, 10),  # ends with the budget
        (10.0, 99.0, 9),
        (10.0, 19.0, 1),
        (10.0, 1.0, 1),  # the first is always begun: nothing tells what it takes
    ],
)
def test_no_seed_is_begun_that_would_end_after_the_budget(
    seed_seconds: float, budget_seconds: float, trained: int
) -> None:
    repetition = asked_each_seed(StoppingRule(1e-6, budget_seconds), seed_seconds)
    assert repetition.ended.startswith(
        f"Stopped after {trained} seed{'s' if trained > 1 else ''}: one more would end after the "
    )


def test_seeds_that_were_there_before_cost_no_time() -> None:
    clock = Clock()
    repetition = SeedCount(StoppingRule(1e-6, 25.0), clock)
    assert not repetition.enough(of_seeds(100))
    clock.now += 10
    assert not repetition.enough(of_seeds(101))  # the next ends after 20 s
    clock.now += 10
    assert repetition.enough(of_seeds(102))


def test_the_budget_ends_it_below_three_seeds_too() -> None:
    repetition = asked_each_seed(StoppingRule(0.1, 15.0), 10.0)
    assert repetition.ended.endswith("the budget of 15.0 s (no interval yet)")


# Failures


def test_a_seed_that_failed_altogether_ends_it() -> None:
    repetition = SeedCount(StoppingRule(), Clock())
    failed = [run(s, seed=2, status="failed", evaluations=()) for s in (1_000, 2_500)]
    assert repetition.enough([*of_seeds(2), *failed])
    assert repetition.ended == "Stopped after 3 seeds: no row of the last one finished"


def test_a_seed_that_failed_in_part_does_not() -> None:
    repetition = SeedCount(StoppingRule(), Clock())
    last = [run(1_000, seed=2), run(2_500, seed=2, status="failed", evaluations=())]
    assert not repetition.enough([*of_seeds(2), *last])


def test_nothing_is_said_while_it_goes_on() -> None:
    repetition = SeedCount(StoppingRule(), Clock())
    assert not repetition.enough([])
    assert repetition.ended == ""


def test_without_a_rule_no_seed_is_too_many() -> None:
    repetition = SeedCount(None, Clock())
    assert not repetition.enough(seeds(1_000, 0.99, 0.99, 0.99))
    assert repetition.ended == ""


def test_the_rule_in_words() -> None:
    assert str(StoppingRule()) == (
        "until the 95% interval of each row's mean max test accuracy is within "
        "±0.0005, or until one more would end after 30 min 00 s"
    )


# The command, with a worker that trains nothing: every seed is alike


def with_worker(fault: str = "pass") -> tuple[str, ...]:
    command = fakes.worker(fault)
    return altered(f"from mnist_bench.runner import process\nprocess.COMMAND = {command!r}")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    parent = tmp_path / "user"
    parent.mkdir()
    return Bench(parent)


AUTO = ("run", "smoke", "--seeds", "auto")


def test_the_rule_is_declared_first_and_its_end_is_told(bench: Bench) -> None:
    ended = bench.run(*AUTO, program=with_worker())
    assert ended.status == 0, ended.stderr
    lines = ended.stdout.splitlines()
    assert lines[0] == f"smoke: seeds {StoppingRule()}"
    assert lines[1] == (
        "Stopped after 3 seeds: each mean is within ±0.0005 (widest: ±0.00000 at 200 steps)"
    )
    again = bench.run(*AUTO, "--resume", "--json", program=with_worker("sys.exit(9)"))
    assert again.status == 0, again.stderr  # enough was there: nothing was trained
    assert [one["seed"] for one in again.document["runs"]] == [0, 1, 2]
    assert "Stopped after 3 seeds" in again.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="its state folder is named by a variable")
def test_a_state_folder_that_refuses_is_told_and_recorded(bench: Bench, tmp_path: Path) -> None:
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
    assert "other benchmarks can't be kept away" in ended.complaint
    (one,) = ended.document["runs"]
    assert (one["seed"], one["verdict"]) == (0, "suspect")
    assert "not exclusive" in one["reasons"]


def test_a_worker_that_always_fails_is_not_started_for_half_an_hour(bench: Bench) -> None:
    ended = bench.run(*AUTO, "--json", program=with_worker("sys.exit(9)"))
    assert ended.status == 1
    assert [one["status"] for one in ended.document["runs"]] == ["failed"]
    assert "Stopped after 1 seed: no row of the last one finished" in ended.stderr
