"""Thread scaling: speed-up and efficiency of the same training at several thread counts."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from mnist_bench.analysis.costs import costs_of, trusted
from mnist_bench.analysis.grouping import one_per_seed, precision_and_device, seed_of, task_of
from mnist_bench.core import formatting
from mnist_bench.core.records import shared_fields
from mnist_bench.results.document import Scaling
from mnist_bench.results.run_summary import RunSummary


def scaling_of(results: Iterable[RunSummary]) -> tuple[Scaling, ...]:
    """One line per thread count, ascending, of trainings with several thread counts.

    Args:
        results: Runs with any status; only finished ones are used.
    """
    trainings: dict[object, dict[int, list[RunSummary]]] = {}
    for result in sorted(results, key=lambda result: result.steps):
        if result.status == "finished":
            task = result.scenario, task_of(result), result.dataset_digest, result.steps
            settings = precision_and_device(result), result.machine_id
            runs_by_threads = trainings.setdefault((task, settings), {})
            runs_by_threads.setdefault(result.threads, []).append(result)
    return tuple(
        _line(one_per_seed(by_threads[threads]), one_per_seed(by_threads[min(by_threads)]))
        for by_threads in trainings.values()
        for threads in sorted(by_threads)
        if len(by_threads) > 1
    )


def _line(runs: Sequence[RunSummary], base: Sequence[RunSummary]) -> Scaling:
    """One thread count, compared with the smallest."""
    first, base_threads = runs[0], base[0].threads
    costs = costs_of(runs)
    base_seconds = _seconds_by_seed(base)
    ratios = [
        base_seconds[seed] / seconds
        for seed, seconds in _seconds_by_seed(runs).items()
        if seed in base_seconds
    ]
    speedup = statistics.mean(ratios) if ratios else None
    # If no run of this count is valid, the note of the costs says so already.
    no_pair = (
        f"no seed was timed at {formatting.threads(base_threads)} too"
        if costs.timed_n and not ratios
        else None
    )
    values = shared_fields(first, Scaling) | shared_fields(costs, Scaling)
    return Scaling(**values | {
        "base_threads": base_threads,
        "n": len(runs),
        "pairs": len(ratios),
        "speedup_mean": speedup,
        "speedup_sd": (
            statistics.stdev(ratios) if len(ratios) > 1 and first.threads != base_threads else None
        ),
        "efficiency": None if speedup is None else speedup * base_threads / first.threads,
        "note": "; ".join(filter(None, (costs.note, no_pair))) or None,
        "run_ids": tuple(run.run_id for run in runs if run.run_id is not None),
    })  # fmt: skip


def _seconds_by_seed(runs: Sequence[RunSummary]) -> dict[int, float]:
    """Train seconds of the runs that count for time; none of them is 0."""
    return {
        seed_of(run): run.train_seconds_total for run in trusted(runs) if run.train_seconds_total
    }
