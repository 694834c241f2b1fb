"""Comparison of groups of runs, on hand-made runs."""

from __future__ import annotations

from math import exp, log, sqrt
from typing import Any

import pytest
from factories import differing, evaluations, run

from mnist_bench.analysis.comparison import Comparison, Effect, Side, compare, unmatched
from mnist_bench.results.run import RunResult
from mnist_bench.results.run_summary import summarise
from mnist_bench.scenarios.hyperparameters import PaperCnnHyperparameters

A, B, C = "a" * 16, "b" * 16, "c" * 16


def timed(
    seed: int, seconds: float, final: float = 0.98, steps: int = 1_000, **changes: Any
) -> RunResult:
    """A run with these train seconds and this final accuracy."""
    curve = evaluations(steps, 0.985, final=final, seconds=seconds / steps)
    return run(steps, seed=seed, **({"evaluations": curve} | changes))


def side(*runs: RunResult, label: str = "other") -> Side:
    return Side(label, summarise(runs))


def two(seconds: float = 10, **changes: Any) -> list[RunResult]:
    """Two seeds with nearly the same train seconds."""
    return [timed(0, seconds, **changes), timed(1, 1.1 * seconds, **changes)]


def compared(base: list[RunResult], other: list[RunResult]) -> Comparison:
    (line,) = compare(side(*base), [side(*other)])
    return line


def effect(value: float, half: float) -> dict[str, Any]:
    ends = {"low": value - half, "high": value + half}
    return {"value": value, **ends, "is_within_noise": ends["low"] <= 0 <= ends["high"]}


def ratio(value: float, log_half: float) -> dict[str, Any]:
    ends = {"low": value * exp(-log_half), "high": value * exp(log_half)}
    return {"value": value, **ends, "is_within_noise": ends["low"] <= 1 <= ends["high"]}


UNKNOWN = {"low": None, "high": None, "is_within_noise": None}
T2, T4 = 4.302652729911275, 2.776445105197793
"""t(0.975) with two and four degrees of freedom."""


@pytest.mark.parametrize(
    ("base", "other", "seconds", "accuracy"),
    [
        # Logarithms of 10 and 40 are log 20 ∓ log 2; those of 5 and 20 are log 10 ∓ log 2: the
        # ratio of geometric means is 1/2. Both have s² = 2·(log 2)², so Welch's error is
        # sqrt(2·(log 2)²) with 2 degrees of freedom. Equal accuracies have rounding error.
        ([(10, 0.98), (40, 0.98)], [(5, 0.98), (20, 0.98)],
         ratio(0.5, T2 * sqrt(2) * log(2)), effect(0, T2 * 1e-4 / sqrt(12))),
        # One image more of 10,000. Whole numbers of images: s = 1/10,000/sqrt(12) on both sides.
        ([(10, 0.9920), (10, 0.9920)], [(10, 0.9921), (10, 0.9921)],
         ratio(1, 0), effect(0.0001, T2 * 1e-4 / sqrt(12))),
        # Both have s = 0.001: Welch's error is 0.001·sqrt(2/3) with 4 degrees of freedom; the
        # logarithms of the seconds are the same on both sides but for log 2.
        ([(10, 0.980), (11, 0.981), (12, 0.979)], [(20, 0.990), (22, 0.991), (24, 0.989)],
         {"value": 2.0, "is_within_noise": False}, effect(0.01, T4 * 0.001 * sqrt(2 / 3))),
        # One seed has no interval.
        ([(10, 0.98)], [(15, 0.99), (15, 0.99)],
         {"value": 1.5} | UNKNOWN, {"value": 0.01} | UNKNOWN),
    ],
)  # fmt: skip
def test_by_hand(
    base: list[tuple[float, float]], other: list[tuple[float, float]],
    seconds: dict[str, Any], accuracy: dict[str, Any],
) -> None:  # fmt: skip
    sides = ([timed(seed, *each) for seed, each in enumerate(of)] for of in (base, other))
    line = compared(*sides)
    facts = line.base_n, line.other_n, line.base_steps, line.other_steps, line.peak_rss_bytes
    assert facts == (len(base), len(other), 1_000, 1_000, 1)
    assert line.notes == (() if len(base) > 1 else ("one seed: no interval",))
    assert not differing(line.train_seconds, seconds)
    assert not differing(line.final_test_accuracy, accuracy)
    assert "machines" not in line.model_dump()  # of one machine


ON_BATTERY = {"verdict": "suspect", "reasons": ("on battery",)}
ONE_THREAD = timed(2, 90, threads=1)
NOT_ON_CPU = "1 not with 2 threads in float32 on cpu"


@pytest.mark.parametrize(
    ("base", "other", "note"),
    [
        (two(), two(threads=4), "threads differ: 4 against 2"),
        (two(), two(precision="bfloat16"), "precision differ: bfloat16 against float32"),
        (two(), two(environment="TF_ENABLE_ONEDNN_OPTS=0"),
         "environment variables differ: TF_ENABLE_ONEDNN_OPTS=0 against none"),
        (two(), two(device="gpu", device_name="A GPU"), "device differ: A GPU against cpu"),
        (two(), two(hyperparameters=PaperCnnHyperparameters(batch_size=60)),
         "hyperparameters differ: batch_size 60 against 50"),
        (two(), two(steps=250), "steps differ: 250 against 1,000"),
        (two(), two(machine_id=A), "machines differ"),
        (two(), two(**ON_BATTERY), "power differs: other ran on battery, times mislead"),
        (two(**ON_BATTERY), two(), "power differs: the base ran on battery, times mislead"),
        (two(), [*two(), ONE_THREAD], f"left out of other: {NOT_ON_CPU}"),
        ([*two(), ONE_THREAD], two(), f"left out of the base: {NOT_ON_CPU}"),
    ],
)  # fmt: skip
def test_other_differences_are_noted(
    base: list[RunResult], other: list[RunResult], note: str
) -> None:
    line = compared(base, other)
    assert line.notes == (note,)
    assert (line.base_n, line.other_n) == (2, 2)
    assert isinstance(line.train_seconds, Effect)
    assert isinstance(line.final_test_accuracy, Effect)


def test_invalid_runs_are_left_out_of_time() -> None:
    line = compared(two(10), [*two(20), timed(2, 900, verdict="invalid")])
    assert line.train_seconds is not None
    assert line.train_seconds.value == pytest.approx(2)
    assert line.other_n == 3
    assert line.notes == ("left out of time of other: 1 disturbed of 3 runs",)


def test_memory_of_different_methods_is_not_compared() -> None:
    line = compared(two(), two(memory_method="getrusage"))
    assert line.peak_rss_bytes is None
    assert line.notes[0].startswith("peak memory is not compared: ")


def test_accuracies_on_other_images_are_not_compared() -> None:
    line = compared(two(), two(dataset="mnist-5k", dataset_digest="e" * 64))
    assert line.final_test_accuracy is None
    assert line.train_seconds is not None
    assert line.notes[-1] == "accuracies are not compared: other images"


# Several machines


def test_accuracies_are_pooled_and_times_compared_on_each_machine() -> None:
    # Base: seeds 0 and 1 on A (10 s, 40 s), 2 on B (100 s); final accuracies 0.97, 0.98, 0.99: mean
    # 0.98. The other: seed 0 on A (5 s), 1 and 2 on B (40 s, 90 s); 0.98, 0.99, 1.0: mean 0.99.
    # Both have s = 0.01, so Welch's error is 0.01·sqrt(2/3) with 4 degrees of freedom.
    # On A 5 / sqrt(10·40) = 0.25, on B sqrt(40·90) / 100 = 0.6.
    on_b = {"machine_id": B, "threads": 8, "peak_rss_bytes": 600}
    base = Side(
        "base",
        summarise([
            timed(0, 10, 0.97, machine_id=A, peak_rss_bytes=500),
            timed(1, 40, 0.98, machine_id=A, peak_rss_bytes=400),
            timed(2, 100, 0.99, **on_b),
        ]),
        {A: "Slow CPU"},
    )  # fmt: skip
    other = side(
        timed(0, 5, 0.98, machine_id=A, threads=4, peak_rss_bytes=1_000),
        timed(1, 40, 0.99, **on_b | {"threads": 4}),
        timed(2, 90, 1.0, **on_b | {"threads": 4}),
    )
    (line,) = compare(base, [other])
    assert (line.base_n, line.other_n) == (3, 3)
    assert not differing(line.final_test_accuracy, effect(0.01, T4 * 0.01 * sqrt(2 / 3)))
    assert (line.train_seconds, line.peak_rss_bytes) == (None, None)
    assert line.notes == (
        "accuracies of the base pooled over 2 machines",
        "accuracies pooled over 2 machines",
    )
    names = ("machine", "machine_id", "base_n", "other_n", "base_threads", "other_threads",
             "peak_rss_bytes")  # fmt: skip
    assert [tuple(getattr(each, name) for name in names) for each in line.machines] == [
        ("Slow CPU", A, 2, 1, 2, 4, 2), (None, B, 1, 2, 8, 4, 1),
    ]  # fmt: skip
    seconds = [each.train_seconds.value for each in line.machines if each.train_seconds]
    assert seconds == pytest.approx([0.25, 0.6])


def test_seed_of_two_machines_counts_once() -> None:
    base = [timed(0, 10, 0.97), timed(0, 20, 0.99, machine_id=B), timed(1, 11, 0.97)]
    line = compared(base, two())
    assert (line.base_n, line.other_n) == (2, 2)
    assert line.final_test_accuracy is not None
    assert line.final_test_accuracy.value == pytest.approx(0.01)
    assert [each.base_n for each in line.machines] == [2]
    assert line.notes == (
        "machines differ",
        "left out of the base: 1 of a seed that another machine ran first",
    )


def test_times_without_a_common_machine_are_not_compared() -> None:
    line = compared([timed(0, 10, machine_id=A), timed(1, 10, machine_id=B)], two(machine_id=C))
    assert (line.train_seconds, line.machines) == (None, ())
    assert "time and memory are not compared: no machine ran both" in line.notes


def test_costs_of_one_of_the_machines_are_noted() -> None:
    base = [timed(0, 10, machine_id=A), timed(1, 10, machine_id=B)]
    line = compared(base, [*base, timed(2, 10, machine_id=B, verdict="invalid")])
    note = "bbbbbbbb: left out of time of other: 1 disturbed of 2 runs"
    assert [each for each in line.notes if "disturbed" in each] == [note]


# Which step counts are compared


def test_only_common_step_counts_are_compared() -> None:
    base = side(timed(0, 10), timed(0, 20, steps=2_500), label="base")
    other = side(timed(0, 5), timed(0, 50, steps=5_000))
    failed = side(run(status="failed", evaluations=()), label="third")
    lines = compare(base, [other, failed])
    assert [(line.base_steps, line.other_steps) for line in lines] == [(1_000, 1_000)]
    assert compare(base, [side(timed(0, 50, steps=5_000))]) == ()
    assert list(unmatched(base, [other, failed])) == [
        "base: runs of 2,500 steps are not compared: other has none",
        "other: runs of 5,000 steps are not compared: base has none",
        "base: runs of 1,000, 2,500 steps are not compared: third has none",
        "third: no finished run",
    ]
    # A single step count per side is compared whatever its steps.
    single = side(timed(0, 10)), [side(timed(0, 4, steps=250))]
    assert [(line.base_steps, line.other_steps) for line in compare(*single)] == [(1_000, 250)]
    assert list(unmatched(*single)) == []
