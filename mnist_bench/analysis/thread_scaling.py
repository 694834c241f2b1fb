"""Thread scaling: speed-up and efficiency of the same training at several thread counts."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from mnist_bench.analysis.costs import costs_of
from mnist_bench.analysis.grouping import one_per_seed, precision_and_device, seed_of, task_of
from mnist_bench.core import formatting
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
            runs_by_threads = trainings.setdefault(_training_key(result), {})
            runs_by_threads.setdefault(result.threads, []).append(result)
    with_several_counts = [
        runs_by_threads for runs_by_threads in trainings.values() if len(runs_by_threads) > 1
    ]
    return tuple(
        _line(
            one_per_seed(runs_by_threads[threads]),
            one_per_seed(runs_by_threads[min(runs_by_threads)]),
        )
        for runs_by_threads in with_several_counts
        for threads in sorted(runs_by_threads)
    )


def _training_key(result: RunSummary) -> tuple[object, ...]:
    """What must be equal for runs to differ only in their threads."""
    task = result.scenario, task_of(result), result.dataset_digest, result.steps
    return *task, precision_and_device(result), result.machine_id


def _line(runs: Sequence[RunSummary], base: Sequence[RunSummary]) -> Scaling:
    """One thread count, compared with the smallest."""
    first = runs[0]
    costs = costs_of(runs)
    ratios = _ratios(runs, base)
    speedup = statistics.mean(ratios) if ratios else None
    base_threads = base[0].threads
    no_pair = f"no seed was timed at {formatting.threads(base_threads)} too" if not ratios else None
    # If no run of this count is valid, the note of the costs says so already.
    notes = (costs.note, no_pair if costs.timed_n else None)
    return Scaling(
        scenario=first.scenario,
        model=first.model,
        hyperparameters=first.hyperparameters,
        dataset=first.dataset,
        steps=first.steps,
        precision=first.precision,
        device=first.device,
        device_name=first.device_name,
        machine_id=first.machine_id,
        threads=first.threads,
        base_threads=base_threads,
        n=len(runs),
        clean=costs.clean,
        suspect=costs.suspect,
        invalid=costs.invalid,
        timed_n=costs.timed_n,
        train_seconds_mean=costs.train_seconds_mean,
        images_per_second_mean=costs.images_per_second_mean,
        peak_rss_bytes_max=costs.peak_rss_bytes_max,
        pairs=len(ratios),
        speedup_mean=speedup,
        speedup_sd=(
            statistics.stdev(ratios) if len(ratios) > 1 and first.threads != base_threads else None
        ),
        efficiency=None if speedup is None else speedup * base_threads / first.threads,
        note="; ".join(filter(None, notes)) or None,
        run_ids=tuple(run.run_id for run in runs if run.run_id is not None),
    )


def _ratios(runs: Sequence[RunSummary], base: Sequence[RunSummary]) -> list[float]:
    """Train seconds of the base divided by those of `runs`, per seed that is valid in both."""
    seconds = _seconds_by_seed(base)
    return [
        seconds[seed] / here for seed, here in _seconds_by_seed(runs).items() if seed in seconds
    ]


def _seconds_by_seed(runs: Sequence[RunSummary]) -> dict[int, float]:
    """Train seconds of the runs that are not invalid; none of them is 0."""
    return {
        seed_of(run): run.train_seconds_total
        for run in runs
        if run.verdict != "invalid" and run.train_seconds_total
    }
