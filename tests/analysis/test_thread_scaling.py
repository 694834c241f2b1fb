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
    """A run of 500 steps that trained for so many seconds."""
    curve = evaluations(500, 0.98, seconds=seconds / 500)
    names = {"run_id": f"run-{threads}-{seed}", "trajectory": f"t{threads}-{seed}"}
    return run(500, 0.98, seed, **(names | {"threads": threads, "evaluations": curve} | changes))


def by_threads(*results: RunResult) -> dict[int, Scaling]:
    return {line.threads: line for line in _scaling(results)}


def test_figures_by_hand() -> None:
    # Seed 0: 40 s / 20 s = 2, seed 1: 42 s / 28 s = 1.5. Their mean is 1.75, their standard
    # deviation 0.5 / sqrt(2). The ratio of the means, 41 / 24 = 1.71, would be another figure.
    found = by_threads(timed(1, 40), timed(2, 20), timed(1, 42, 1), timed(2, 28, 1))
    assert list(found) == [1, 2]
    two = found[2]
    assert (two.scenario, two.steps, two.base_threads, two.n, two.pairs) == (
        "table-1",
        500,
        1,
        2,
        2,
    )
    assert two.train_seconds_mean == pytest.approx(24)
    assert two.images_per_second_mean == pytest.approx((25_000 / 20 + 25_000 / 28) / 2)
    assert two.speedup_mean == pytest.approx(1.75)
    assert two.speedup_sd == pytest.approx(0.5 / sqrt(2))
    assert two.efficiency == pytest.approx(0.875)
    assert two.peak_rss_bytes_max == 1_000 * 2**20 + 500
    assert (two.note, two.run_ids) == (None, ("run-2-0", "run-2-1"))
    one = found[1]
    assert (one.speedup_mean, one.speedup_sd, one.efficiency, one.pairs) == (1, None, 1, 2)
    assert one.train_seconds_mean == pytest.approx(41)


def test_one_pair_has_no_spread_and_counts_rise() -> None:
    found = _scaling([timed(4, 10), timed(1, 30), timed(2, 15)])
    assert [line.threads for line in found] == [1, 2, 4]
    assert [line.speedup_mean for line in found] == pytest.approx([1, 2, 3])
    assert [line.efficiency for line in found] == pytest.approx([1, 1, 0.75])
    assert [line.speedup_sd for line in found] == [None] * 3


def test_without_one_thread_the_fewest_are_the_base() -> None:
    found = by_threads(timed(2, 20), timed(8, 10))
    assert [line.base_threads for line in found.values()] == [2, 2]
    assert found[8].speedup_mean == pytest.approx(2)
    assert found[8].efficiency == pytest.approx(0.5)  # twice as fast with four times the threads


def test_more_threads_may_be_slower() -> None:
    found = by_threads(timed(1, 20), timed(2, 25))
    assert found[2].speedup_mean == pytest.approx(0.8)
    assert found[2].efficiency == pytest.approx(0.4)


def test_invalid_runs_take_their_pair_with_them() -> None:
    spoilt = {"verdict": "invalid", "reasons": ("steal",)}
    good = {"verdict": "clean"}
    found = by_threads(
        timed(1, 40, 0, **good), timed(2, 20, 0, **good),
        timed(1, 400, 1, **spoilt), timed(2, 25, 1, **good),
    )  # fmt: skip
    assert (found[2].pairs, found[2].timed_n, found[2].n) == (1, 2, 2)
    assert found[2].speedup_mean == pytest.approx(2)
    assert found[2].train_seconds_mean == pytest.approx(22.5)
    assert found[1].train_seconds_mean == pytest.approx(40)
    assert (found[1].clean, found[1].suspect, found[1].invalid) == (1, 0, 1)
    assert found[1].note == "1 invalid run left out of time, speed and memory: steal"
    assert found[2].note is None


def test_a_spoilt_base_leaves_no_speedup() -> None:
    spoilt = {"verdict": "invalid", "reasons": ("steal",)}
    found = by_threads(timed(1, 400, **spoilt), timed(2, 20), timed(4, 10))
    assert [line.base_threads for line in found.values()] == [1, 1, 1]
    for line in found.values():
        assert line.speedup_mean is line.speedup_sd is line.efficiency is None
        assert line.pairs == 0
    assert found[2].note == "no seed was timed at 1 thread too"
    assert found[1].note == "no time, speed and memory, every run is invalid: steal"
    assert found[4].train_seconds_mean == pytest.approx(10)


def test_other_seeds_are_no_pair() -> None:
    found = by_threads(timed(1, 40, 0), timed(2, 20, 1))
    assert found[2].speedup_mean is None
    assert found[2].note == "no seed was timed at 1 thread too"


def test_pairs_are_of_the_training_seed() -> None:
    # Where each row is trained from zero, equal user seeds are other work.
    found = by_threads(timed(1, 40, 0, training_seed=7), timed(2, 20, 3, training_seed=7))
    assert found[2].speedup_mean == pytest.approx(2)


def test_a_seed_run_again_counts_once() -> None:
    found = by_threads(timed(1, 40), timed(1, 60), timed(2, 20))
    assert (found[1].n, found[1].train_seconds_mean) == pytest.approx((1, 60))
    assert found[2].speedup_mean == pytest.approx(3)


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
def test_only_the_same_training_is_held_against_itself(changes: dict[str, Any]) -> None:
    assert _scaling([timed(1, 40), timed(2, 20)]) != ()
    assert _scaling([timed(1, 40), timed(**{"threads": 2, "seconds": 20, **changes})]) == ()


def test_step_counts_and_precisions_are_lines_of_their_own() -> None:
    short = [timed(threads, 30 / threads) for threads in (1, 2)]
    long = [run(1_000, threads=threads) for threads in (1, 2)]
    brief = [timed(threads, 12 / threads, precision="bfloat16") for threads in (1, 2)]
    found = _scaling([*long, *short, *brief, run(2_500, threads=2)])
    assert [(line.steps, line.precision, line.threads) for line in found] == [
        (500, "float32", 1), (500, "float32", 2), (500, "bfloat16", 1), (500, "bfloat16", 2),
        (1_000, "float32", 1), (1_000, "float32", 2),
    ]  # fmt: skip
    seconds = [line.train_seconds_mean for line in found]
    assert seconds == pytest.approx([30, 15, 12, 6, 20, 20])


def test_peaks_of_two_methods_are_refused() -> None:
    other = timed(2, 21, 1, memory_method="ru_maxrss")
    found = by_threads(timed(1, 40), timed(2, 20), timed(1, 41, 1), other)
    assert found[2].peak_rss_bytes_max is None
    assert "VmHWM and ru_maxrss" in (found[2].note or "")


def test_nothing_to_compare() -> None:
    assert _scaling([]) == ()
    assert _scaling([timed(2, 20), timed(2, 21, 1)]) == ()
