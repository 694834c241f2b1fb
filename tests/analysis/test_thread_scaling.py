"""Speed-up and efficiency over thread counts, on hand-made results."""

from __future__ import annotations

from math import sqrt
from typing import Any

import pytest
from factories import differing, evaluations, run

from mnist_bench.analysis.thread_scaling import scaling_of
from mnist_bench.results.document import Scaling
from mnist_bench.results.run import RunResult
from mnist_bench.results.run_summary import summarise
from mnist_bench.scenarios.hyperparameters import Lenet5Hyperparameters, PaperCnnHyperparameters


def timed(threads: int, seconds: float, seed: int = 0, **changes: Any) -> RunResult:
    """A run of 500 steps with `seconds` of training."""
    curve = evaluations(500, 0.98, seconds=seconds / 500)
    names = {"run_id": f"run-{threads}-{seed}", "trajectory": f"t{threads}-{seed}"}
    return run(500, 0.98, seed, **(names | {"threads": threads, "evaluations": curve} | changes))


def scaling(*results: RunResult) -> tuple[Scaling, ...]:
    return scaling_of(summarise(results))


CLEAN, INVALID = {"verdict": "clean"}, {"verdict": "invalid", "reasons": ("steal",)}
NO_SPEEDUP = {"speedup_mean": None, "speedup_sd": None, "efficiency": None, "pairs": 0}
NO_PAIR = "no seed was timed at 1 thread too"
CASES: dict[str, tuple[list[RunResult], list[dict[str, Any]]]] = {
    # Seed 0: 40 s / 20 s = 2, seed 1: 42 s / 28 s = 1.5. Their mean is 1.75, their standard
    # deviation 0.5 / sqrt(2). The ratio of the means would be 41 / 24 = 1.71.
    "by hand": ([timed(1, 40), timed(2, 20), timed(1, 42, 1), timed(2, 28, 1)], [
        {"threads": 1, "speedup_mean": 1, "speedup_sd": None, "efficiency": 1, "pairs": 2,
         "train_seconds_mean": 41},
        {"scenario": "table-1", "steps": 500, "threads": 2, "base_threads": 1, "n": 2, "pairs": 2,
         "train_seconds_mean": 24, "images_per_second_mean": (25_000 / 20 + 25_000 / 28) / 2,
         "speedup_mean": 1.75, "speedup_sd": 0.5 / sqrt(2), "efficiency": 0.875,
         "peak_rss_bytes_max": 1_000 * 2**20 + 500, "note": None,
         "run_ids": ("run-2-0", "run-2-1")}]),
    "thread counts ascend": ([timed(4, 10), timed(1, 30), timed(2, 15)], [
        {"threads": 1, "speedup_mean": 1, "efficiency": 1, "speedup_sd": None},
        {"threads": 2, "speedup_mean": 2, "efficiency": 1, "speedup_sd": None},
        {"threads": 4, "speedup_mean": 3, "efficiency": 0.75, "speedup_sd": None}]),
    # Twice as fast with four times the threads.
    "from the smallest": ([timed(2, 20), timed(8, 10)], [
        {"base_threads": 2}, {"base_threads": 2, "speedup_mean": 2, "efficiency": 0.5}]),
    "slower": ([timed(1, 20), timed(2, 25)], [{}, {"speedup_mean": 0.8, "efficiency": 0.4}]),
    "a pair with an invalid run": (
        [timed(1, 40, 0, **CLEAN), timed(2, 20, 0, **CLEAN), timed(1, 400, 1, **INVALID),
         timed(2, 25, 1, **CLEAN)], [
            {"train_seconds_mean": 40, "clean": 1, "suspect": 0, "invalid": 1,
             "note": "1 disturbed run left out of time and speed: steal"},
            {"pairs": 1, "timed_n": 2, "n": 2, "speedup_mean": 2, "train_seconds_mean": 22.5,
             "note": None}]),
    "an invalid base": ([timed(1, 400, **INVALID), timed(2, 20), timed(4, 10)], [
        {"note": "time and speed are of invalid runs: steal", **NO_SPEEDUP},
        {"base_threads": 1, "note": NO_PAIR, **NO_SPEEDUP},
        {"base_threads": 1, "train_seconds_mean": 10, **NO_SPEEDUP}]),
    "other seeds": ([timed(1, 40, 0), timed(2, 20, 1)], [{}, {"note": NO_PAIR, **NO_SPEEDUP}]),
    # If each step count is trained from step 0, equal run seeds are different trainings.
    "seeds of the trainings": (
        [timed(1, 40, 0, training_seed=7), timed(2, 20, 3, training_seed=7)],
        [{}, {"speedup_mean": 2}]),
    "a repeated seed": ([timed(1, 40), timed(1, 60), timed(2, 20)], [
        {"n": 1, "train_seconds_mean": 60}, {"speedup_mean": 3}]),
    "two methods": ([timed(1, 40), timed(2, 20), timed(2, 21, 1, memory_method="ru_maxrss")], [
        {}, {"peak_rss_bytes_max": None,
             "note": "no peak memory: read by methods that do not compare: VmHWM and ru_maxrss"}]),
    "nothing": ([], []),
    "one count": ([timed(2, 20), timed(2, 21, 1)], []),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_scaling(name: str) -> None:
    results, expected = CASES[name]
    lines = scaling(*results)
    assert len(lines) == len(expected)
    found = [differing(line, each) for line, each in zip(lines, expected, strict=True)]
    assert not any(found), found


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
    assert scaling(timed(1, 40), timed(**{"threads": 2, "seconds": 20, **changes})) == ()


def test_step_counts_and_precisions_are_separate() -> None:
    short = [timed(threads, 30 / threads) for threads in (1, 2)]
    long = [run(1_000, threads=threads) for threads in (1, 2)]
    bfloat16 = [timed(threads, 12 / threads, precision="bfloat16") for threads in (1, 2)]
    lines = scaling(*long, *short, *bfloat16, run(2_500, threads=2))
    assert [(each.steps, each.precision, each.threads) for each in lines] == [
        (500, "float32", 1), (500, "float32", 2), (500, "bfloat16", 1), (500, "bfloat16", 2),
        (1_000, "float32", 1), (1_000, "float32", 2),
    ]  # fmt: skip
    seconds = [each.train_seconds_mean for each in lines]
    assert seconds == pytest.approx([30, 15, 12, 6, 20, 20])
