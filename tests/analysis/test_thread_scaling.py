"""Speed-up and efficiency over thread counts, on hand-made results."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Any

import pytest
from factories import evaluations, run

from mnist_bench.analysis.thread_scaling import scaling_of
from mnist_bench.results.document import Scaling
from mnist_bench.results.run import RunResult
from mnist_bench.results.run_summary import summarise
from mnist_bench.scenarios.hyperparameters import Lenet5Hyperparameters, PaperCnnHyperparameters


def _scaling(results: Sequence[RunResult]) -> tuple[Scaling, ...]:
    return scaling_of(summarise(results))


def timed(threads: int, seconds: float, seed: int = 0, **changes: Any) -> RunResult:
    """A run of 500 steps with `seconds` of training."""
    curve = evaluations(500, 0.98, seconds=seconds / 500)
    names = {"run_id": f"run-{threads}-{seed}", "trajectory": f"t{threads}-{seed}"}
    return run(500, 0.98, seed, **(names | {"threads": threads, "evaluations": curve} | changes))


def by_threads(*results: RunResult) -> dict[int, Scaling]:
    return {line.threads: line for line in _scaling(results)}


def test_by_hand() -> None:
    # Seed 0: 40 s / 20 s = 2, seed 1: 42 s / 28 s = 1.5. Their mean is 1.75, their standard
    # deviation 0.5 / sqrt(2). The ratio of the means would be 41 / 24 = 1.71.
    scaling = by_threads(timed(1, 40), timed(2, 20), timed(1, 42, 1), timed(2, 28, 1))
    assert list(scaling) == [1, 2]
    two_threads = scaling[2]
    assert (
        two_threads.scenario,
        two_threads.steps,
        two_threads.base_threads,
        two_threads.n,
        two_threads.pairs,
    ) == (
        "table-1",
        500,
        1,
        2,
        2,
    )
    assert two_threads.train_seconds_mean == pytest.approx(24)
    assert two_threads.images_per_second_mean == pytest.approx((25_000 / 20 + 25_000 / 28) / 2)
    assert two_threads.speedup_mean == pytest.approx(1.75)
    assert two_threads.speedup_sd == pytest.approx(0.5 / sqrt(2))
    assert two_threads.efficiency == pytest.approx(0.875)
    assert two_threads.peak_rss_bytes_max == 1_000 * 2**20 + 500
    assert (two_threads.note, two_threads.run_ids) == (None, ("run-2-0", "run-2-1"))
    one_thread = scaling[1]
    assert (
        one_thread.speedup_mean,
        one_thread.speedup_sd,
        one_thread.efficiency,
        one_thread.pairs,
    ) == (1, None, 1, 2)
    assert one_thread.train_seconds_mean == pytest.approx(41)


def test_thread_counts_ascend_and_one_pair_has_no_standard_deviation() -> None:
    scaling = _scaling([timed(4, 10), timed(1, 30), timed(2, 15)])
    assert [line.threads for line in scaling] == [1, 2, 4]
    assert [line.speedup_mean for line in scaling] == pytest.approx([1, 2, 3])
    assert [line.efficiency for line in scaling] == pytest.approx([1, 1, 0.75])
    assert [line.speedup_sd for line in scaling] == [None] * 3


def test_base_is_the_smallest_thread_count() -> None:
    scaling = by_threads(timed(2, 20), timed(8, 10))
    assert [line.base_threads for line in scaling.values()] == [2, 2]
    assert scaling[8].speedup_mean == pytest.approx(2)
    assert scaling[8].efficiency == pytest.approx(0.5)  # twice as fast with four times the threads


def test_more_threads_may_be_slower() -> None:
    scaling = by_threads(timed(1, 20), timed(2, 25))
    assert scaling[2].speedup_mean == pytest.approx(0.8)
    assert scaling[2].efficiency == pytest.approx(0.4)


def test_pairs_with_an_invalid_run_are_left_out() -> None:
    invalid = {"verdict": "invalid", "reasons": ("steal",)}
    clean = {"verdict": "clean"}
    scaling = by_threads(
        timed(1, 40, 0, **clean), timed(2, 20, 0, **clean),
        timed(1, 400, 1, **invalid), timed(2, 25, 1, **clean),
    )  # fmt: skip
    assert (scaling[2].pairs, scaling[2].timed_n, scaling[2].n) == (1, 2, 2)
    assert scaling[2].speedup_mean == pytest.approx(2)
    assert scaling[2].train_seconds_mean == pytest.approx(22.5)
    assert scaling[1].train_seconds_mean == pytest.approx(40)
    assert (scaling[1].clean, scaling[1].suspect, scaling[1].invalid) == (1, 0, 1)
    assert scaling[1].note == "1 invalid run left out of time, speed and memory: steal"
    assert scaling[2].note is None


def test_no_speedup_over_an_invalid_base() -> None:
    invalid = {"verdict": "invalid", "reasons": ("steal",)}
    scaling = by_threads(timed(1, 400, **invalid), timed(2, 20), timed(4, 10))
    assert [line.base_threads for line in scaling.values()] == [1, 1, 1]
    for line in scaling.values():
        assert line.speedup_mean is line.speedup_sd is line.efficiency is None
        assert line.pairs == 0
    assert scaling[2].note == "no seed was timed at 1 thread too"
    assert scaling[1].note == "no time, speed and memory, every run is invalid: steal"
    assert scaling[4].train_seconds_mean == pytest.approx(10)


def test_different_seeds_are_not_paired() -> None:
    scaling = by_threads(timed(1, 40, 0), timed(2, 20, 1))
    assert scaling[2].speedup_mean is None
    assert scaling[2].note == "no seed was timed at 1 thread too"


def test_pairs_are_matched_by_training_seed() -> None:
    # If each step count is trained from step 0, equal run seeds are different trainings.
    scaling = by_threads(timed(1, 40, 0, training_seed=7), timed(2, 20, 3, training_seed=7))
    assert scaling[2].speedup_mean == pytest.approx(2)


def test_repeated_seed_counts_once() -> None:
    scaling = by_threads(timed(1, 40), timed(1, 60), timed(2, 20))
    assert (scaling[1].n, scaling[1].train_seconds_mean) == pytest.approx((1, 60))
    assert scaling[2].speedup_mean == pytest.approx(3)


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "lenet-5", "hyperparameters": Lenet5Hyperparameters()},
        {"scenario": "other"}, {"precision": "bfloat16"},
        {"device": "gpu"}, {"device": "gpu", "device_name": "A"}, {"machine_id": "f" * 16},
        {"dataset": "mnist-5k"}, {"dataset_digest": "e" * 64}, {"eval_every": 50},
        {"hyperparameters": PaperCnnHyperparameters(batch_size=64)}, {"status": "failed"},
        {"status": "killed"}, {"threads": 1, "seed": 1},
    ],
)  # fmt: skip
def test_only_the_same_training_is_compared(changes: dict[str, Any]) -> None:
    assert _scaling([timed(1, 40), timed(2, 20)]) != ()
    assert _scaling([timed(1, 40), timed(**{"threads": 2, "seconds": 20, **changes})]) == ()


def test_step_counts_and_precisions_are_separate() -> None:
    short = [timed(threads, 30 / threads) for threads in (1, 2)]
    long = [run(1_000, threads=threads) for threads in (1, 2)]
    bfloat16 = [timed(threads, 12 / threads, precision="bfloat16") for threads in (1, 2)]
    scaling = _scaling([*long, *short, *bfloat16, run(2_500, threads=2)])
    assert [(line.steps, line.precision, line.threads) for line in scaling] == [
        (500, "float32", 1), (500, "float32", 2), (500, "bfloat16", 1), (500, "bfloat16", 2),
        (1_000, "float32", 1), (1_000, "float32", 2),
    ]  # fmt: skip
    seconds = [line.train_seconds_mean for line in scaling]
    assert seconds == pytest.approx([30, 15, 12, 6, 20, 20])


def test_no_peak_for_two_methods() -> None:
    other = timed(2, 21, 1, memory_method="ru_maxrss")
    scaling = by_threads(timed(1, 40), timed(2, 20), timed(1, 41, 1), other)
    assert scaling[2].peak_rss_bytes_max is None
    assert "VmHWM and ru_maxrss" in (scaling[2].note or "")


def test_nothing_to_compare() -> None:
    assert _scaling([]) == ()
    assert _scaling([timed(2, 20), timed(2, 21, 1)]) == ()
