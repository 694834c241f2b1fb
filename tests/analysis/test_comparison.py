"""Comparison of groups of runs, on hand-made runs."""

from __future__ import annotations

from math import exp, log, sqrt
from typing import Any

import pytest
from factories import evaluations, run

from mnist_bench.analysis.comparison import Comparison, Side, compare, unmatched
from mnist_bench.results.run import RunResult
from mnist_bench.results.run_summary import summarise
from mnist_bench.scenarios.hyperparameters import PaperCnnHyperparameters


def timed(seed: int, seconds: float, final: float = 0.98, steps: int = 1_000, **changes: Any
          ) -> RunResult:  # fmt: skip
    """A run with these train seconds and this final accuracy."""
    curve = evaluations(steps, 0.985, final=final, seconds=seconds / steps)
    return run(steps, seed=seed, **({"evaluations": curve} | changes))


def side(*runs: RunResult, label: str = "other") -> Side:
    return Side(label, summarise(runs))


def compared(base: Side, other: Side) -> Comparison:
    (line,) = compare(base, [other])
    return line


def test_by_hand() -> None:
    # Logarithms of 10 and 40 are log 20 ∓ log 2; those of 5 and 20 are log 10 ∓ log 2: the ratio of
    # geometric means is 1/2. Both have s² = 2·(log 2)², so Welch's error is sqrt(2·(log 2)²) and
    # its degrees of freedom 2; t(0.975; 2) = 4.302653.
    line = compared(side(timed(0, 10), timed(1, 40)), side(timed(0, 5), timed(1, 20)))
    assert (line.base_n, line.other_n, line.base_steps, line.other_steps) == (2, 2, 1_000, 1_000)
    seconds = line.train_seconds
    assert seconds is not None
    assert seconds.value == pytest.approx(0.5)
    half = 4.302653 * sqrt(2) * log(2)
    assert seconds.low == pytest.approx(0.5 * exp(-half), rel=1e-5)
    assert seconds.high == pytest.approx(0.5 * exp(half), rel=1e-5)
    assert seconds.is_within_noise
    assert line.peak_rss_bytes == pytest.approx(1)
    assert line.notes == ()


def test_a_difference_beyond_noise() -> None:
    base = side(timed(0, 10.0, 0.980), timed(1, 10.1, 0.981), timed(2, 9.9, 0.979))
    other = side(timed(0, 20.0, 0.990), timed(1, 20.2, 0.991), timed(2, 19.8, 0.989))
    line = compared(base, other)
    assert line.train_seconds is not None
    assert line.final_test_accuracy is not None
    assert line.train_seconds.value == pytest.approx(2)
    assert line.final_test_accuracy.value == pytest.approx(0.01)
    assert line.train_seconds.is_within_noise is False
    assert line.final_test_accuracy.is_within_noise is False


def test_one_seed_has_no_interval() -> None:
    line = compared(side(timed(0, 10)), side(timed(0, 15), timed(1, 15)))
    assert line.train_seconds is not None
    assert line.train_seconds.value == pytest.approx(1.5)
    assert (line.train_seconds.low, line.train_seconds.is_within_noise) == (None, None)
    assert line.notes == ("one seed: no interval",)


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"threads": 4}, "threads differ: 4 against 2"),
        ({"precision": "bfloat16"}, "precision differ: bfloat16 against float32"),
        ({"device": "gpu", "device_name": "A GPU"}, "device differ: A GPU against cpu"),
        ({"hyperparameters": PaperCnnHyperparameters(batch_size=60)}, "hyperparameters differ"),
        ({"verdict": "suspect", "reasons": ("on battery",)},
         "power differs: other ran on battery, times mislead"),
    ],
)  # fmt: skip
def test_other_differences_are_noted(changes: dict[str, Any], note: str) -> None:
    base = side(timed(0, 10), timed(1, 11))
    assert note in compared(base, side(timed(0, 10, **changes), timed(1, 11, **changes))).notes


def test_different_machines_are_noted() -> None:
    base = side(timed(0, 10), timed(1, 11))
    other = side(timed(0, 10, machine_id="f" * 16), timed(1, 11, machine_id="f" * 16))
    assert compared(base, other).notes == ("machines differ",)


A, B, C = "a" * 16, "b" * 16, "c" * 16


def test_accuracies_are_pooled_and_times_compared_on_each_machine() -> None:
    # Base: seeds 0 and 1 on A (10 s, 40 s), 2 on B (100 s); final accuracies 0.97, 0.98, 0.99: mean
    # 0.98. The other: seed 0 on A (5 s), 1 and 2 on B (40 s, 90 s); 0.98, 0.99, 1.0: mean 0.99.
    # Both have s = 0.01, so Welch's error is 0.01·sqrt(2/3) with 4 degrees of freedom:
    # t(0.975; 4) = 2.776445. On A 5 / sqrt(10·40) = 0.25, on B sqrt(40·90) / 100 = 0.6.
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
        timed(0, 5, 0.98, machine_id=A, peak_rss_bytes=1_000),
        timed(1, 40, 0.99, **on_b | {"threads": 4}),
        timed(2, 90, 1.0, **on_b | {"threads": 4}),
    )
    line = compared(base, other)
    assert (line.base_n, line.other_n) == (3, 3)
    accuracy = line.final_test_accuracy
    assert accuracy is not None
    assert accuracy.value == pytest.approx(0.01)
    assert accuracy.high == pytest.approx(0.01 + 2.776445 * 0.01 * sqrt(2 / 3), rel=1e-5)
    assert (line.train_seconds, line.peak_rss_bytes) == (None, None)
    on_a, on_b_too = line.machines
    assert (on_a.machine, on_a.machine_id, on_a.base_n, on_a.other_n) == ("Slow CPU", A, 2, 1)
    assert (on_b_too.machine, on_b_too.machine_id) == (None, B)
    assert (on_b_too.base_n, on_b_too.other_n) == (1, 2)
    assert (on_b_too.base_threads, on_b_too.other_threads) == (8, 4)
    seconds = [each.train_seconds.value for each in line.machines if each.train_seconds]
    assert seconds == pytest.approx([0.25, 0.6])
    assert [each.peak_rss_bytes for each in line.machines] == pytest.approx([2, 1])
    assert line.notes == (
        "accuracies of the base pooled over 2 machines",
        "accuracies pooled over 2 machines",
    )


def test_seed_of_two_machines_counts_once() -> None:
    base = side(timed(0, 10, 0.97), timed(0, 20, 0.99, machine_id=B), timed(1, 11, 0.97))
    line = compared(base, side(timed(0, 5, 0.98), timed(1, 5.5, 0.98)))
    assert (line.base_n, line.other_n) == (2, 2)
    assert line.final_test_accuracy is not None
    assert line.final_test_accuracy.value == pytest.approx(0.01)
    assert [each.base_n for each in line.machines] == [2]
    assert line.notes == (
        "machines differ",
        "left out of the base: 1 of a seed that another machine ran first",
    )


def test_times_without_a_common_machine_are_not_compared() -> None:
    base = side(timed(0, 10, machine_id=A), timed(1, 10, machine_id=B))
    line = compared(base, side(timed(0, 5, machine_id=C), timed(1, 5, machine_id=C)))
    assert (line.train_seconds, line.machines) == (None, ())
    assert "time and memory are not compared: no machine ran both" in line.notes


def test_costs_of_one_of_the_machines_are_noted() -> None:
    base = side(timed(0, 10, machine_id=A), timed(1, 10, machine_id=B))
    invalid = timed(2, 10, machine_id=B, verdict="invalid")
    line = compared(base, side(timed(0, 5, machine_id=A), timed(1, 5, machine_id=B), invalid))
    note = "bbbbbbbb: 1 invalid of 2 runs left out of time and memory"
    assert [each for each in line.notes if "invalid" in each] == [note]


def test_machines_are_absent_from_the_json_of_one_machine() -> None:
    one = compared(side(timed(0, 10)), side(timed(0, 5)))
    assert "machines" not in one.model_dump()


def test_equal_accuracies_have_rounding_error() -> None:
    # One image more of 10,000. Whole numbers of images: s = 1/10,000/sqrt(12) on both sides, two
    # degrees of freedom, t(0.975; 2) = 4.302653.
    line = compared(*(side(*(timed(s, 10, final) for s in (0, 1))) for final in (0.9920, 0.9921)))
    accuracy = line.final_test_accuracy
    assert accuracy is not None
    assert accuracy.low is not None
    half = 4.302653 / 10_000 / sqrt(12)
    assert accuracy.low == pytest.approx(0.0001 - half, rel=1e-4)
    assert accuracy.is_within_noise is True


def test_side_on_battery_is_noted() -> None:
    on_battery = {"verdict": "suspect", "reasons": ("on battery",)}
    base = side(timed(0, 10, **on_battery), timed(1, 11, **on_battery))
    line = compared(base, side(timed(0, 10), timed(1, 11)))
    assert "power differs: the base ran on battery, times mislead" in line.notes


def test_memory_of_different_methods_is_not_compared() -> None:
    base = side(timed(0, 10), timed(1, 11))
    other = side(*(timed(s, 10 + s, memory_method="getrusage") for s in (0, 1)))
    line = compared(base, other)
    assert line.peak_rss_bytes is None
    assert any(note.startswith("peak memory is not compared") for note in line.notes)


def test_accuracies_on_other_images_are_not_compared() -> None:
    base = side(timed(0, 10), timed(1, 11))
    foreign = {"dataset": "mnist-5k", "dataset_digest": "e" * 64}
    line = compared(base, side(*(timed(s, 10 + s, **foreign) for s in (0, 1))))
    assert line.final_test_accuracy is None
    assert line.train_seconds is not None
    assert "accuracies are not compared: other images" in line.notes


def test_invalid_runs_are_left_out_of_time() -> None:
    base = side(timed(0, 10), timed(1, 10))
    other = side(timed(0, 20), timed(1, 20), timed(2, 900, verdict="invalid"))
    line = compared(base, other)
    assert line.train_seconds is not None
    assert line.train_seconds.value == pytest.approx(2)
    assert line.other_n == 3
    assert "1 invalid of 3 runs left out of time and memory" in line.notes


def test_only_common_step_counts_are_compared() -> None:
    base = side(timed(0, 10), timed(0, 20, steps=2_500))
    lines = compare(base, [side(timed(0, 5), timed(0, 50, steps=5_000))])
    assert [(line.base_steps, line.other_steps) for line in lines] == [(1_000, 1_000)]
    assert compare(base, [side(timed(0, 50, steps=5_000))]) == ()
    (line,) = compare(side(timed(0, 10)), [side(timed(0, 4, steps=250))])
    assert (line.base_steps, line.other_steps) == (1_000, 250)
    assert "steps differ: 250 against 1,000" in line.notes


def test_unmatched_step_counts_are_noted() -> None:
    base = side(timed(0, 10), timed(0, 20, steps=2_500), label="base")
    other = side(timed(0, 5), timed(0, 50, steps=5_000))
    nothing = side(run(status="failed", evaluations=()), label="third")
    assert list(unmatched(base, [other, nothing])) == [
        "base: 2,500 steps are not compared: other has none",
        "other: 5,000 steps are not compared: base has none",
        "base: 1,000, 2,500 steps are not compared: third has none",
        "third: no finished run",
    ]
    # A single step count per side is compared whatever its steps.
    assert list(unmatched(side(timed(0, 10)), [side(timed(0, 4, steps=250))])) == []


def test_left_out_runs_are_noted() -> None:
    one_thread = timed(2, 90, threads=1)
    line = compared(side(timed(0, 10), timed(1, 11)), side(timed(0, 5), timed(1, 6), one_thread))
    assert line.other_n == 2
    assert "left out: 1 not with 2 threads in float32 on cpu" in line.notes
    line = compared(side(timed(0, 10), timed(1, 11), one_thread), side(timed(0, 5), timed(1, 6)))
    assert "left out of the base: 1 not with 2 threads in float32 on cpu" in line.notes


def test_without_finished_runs() -> None:
    failed = side(run(status="failed", evaluations=()))
    assert compare(side(timed(0, 10)), [failed]) == ()
