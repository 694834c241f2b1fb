"""What more threads bring: the same training at several thread counts. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from mnist_bench.analysis.costs import costs_of
from mnist_bench.analysis.grouping import arithmetic, one_per_seed, question, seed_of
from mnist_bench.core import formatting
from mnist_bench.results.document import Scaling
from mnist_bench.results.run_summary import RunSummary


def scaling_of(results: Iterable[RunSummary]) -> tuple[Scaling, ...]:
    """A line for every thread count of those trainings that have several, rising.

    Args:
        results: Runs however they ended; only the finished ones are counted.
    """
    trainings: dict[object, dict[int, list[RunSummary]]] = {}
    for result in sorted(results, key=lambda result: result.steps):
        if result.status == "finished":
            counts = trainings.setdefault(_training(result), {})
            counts.setdefault(result.threads, []).append(result)
    several = [counts for counts in trainings.values() if len(counts) > 1]
    return tuple(
        _line(one_per_seed(counts[threads]), one_per_seed(counts[min(counts)]))
        for counts in several
        for threads in sorted(counts)
    )


def _training(result: RunSummary) -> tuple[object, ...]:
    """What must agree for runs to differ in their threads alone."""
    asked = result.scenario, question(result), result.dataset_digest, result.steps
    return *asked, arithmetic(result), result.machine_id


def _line(runs: Sequence[RunSummary], base: Sequence[RunSummary]) -> Scaling:
    """One thread count, held against the one with the fewest threads."""
    of = runs[0]
    costs = costs_of(runs)
    ratios = _ratios(runs, base)
    speedup = statistics.mean(ratios) if ratios else None
    base_threads = base[0].threads
    no_pair = f"no seed was timed at {formatting.threads(base_threads)} too" if not ratios else None
    # Where no run of this count was timed, the costs say so already.
    notes = (costs.note, no_pair if costs.timed_n else None)
    return Scaling(
        scenario=of.scenario,
        model=of.model,
        hyperparameters=of.hyperparameters,
        dataset=of.dataset,
        steps=of.steps,
        precision=of.precision,
        device=of.device,
        device_name=of.device_name,
        machine_id=of.machine_id,
        threads=of.threads,
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
            statistics.stdev(ratios) if len(ratios) > 1 and of.threads != base_threads else None
        ),
        efficiency=None if speedup is None else speedup * base_threads / of.threads,
        note="; ".join(filter(None, notes)) or None,
        run_ids=tuple(run.run_id for run in runs if run.run_id is not None),
    )


def _ratios(runs: Sequence[RunSummary], base: Sequence[RunSummary]) -> list[float]:
    """The base's train seconds by those of the same seed here, where both were timed."""
    seconds = _seconds_by_seed(base)
    return [
        seconds[seed] / here for seed, here in _seconds_by_seed(runs).items() if seed in seconds
    ]


def _seconds_by_seed(runs: Sequence[RunSummary]) -> dict[int, float]:
    """Train seconds of the runs that the machine did not spoil; none of them 0."""
    return {
        seed_of(run): run.train_seconds_total
        for run in runs
        if run.verdict != "invalid" and run.train_seconds_total
    }
