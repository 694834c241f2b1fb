"""What runs took: time, speed and memory, of those runs only that the machine did not spoil."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mnist_bench.analysis.grouping import groups, question, way
from mnist_bench.core.formatting import counted
from mnist_bench.measurement.conditions import known
from mnist_bench.results.run import PHASES, PhaseName
from mnist_bench.results.run_summary import RunSummary


@dataclass(frozen=True)
class Peak:
    """The largest high-water mark of several runs.

    Attributes:
        rss_bytes: None where it is not known, or refused.
        refusal: Why marks that are known do not compare; None where they do.
    """

    rss_bytes: int | None
    refusal: str | None = None


@dataclass(frozen=True)
class Costs:
    """Time, speed and memory of runs that are draws of one quantity.

    Attributes:
        clean: Runs that were judged so; likewise `suspect` and `invalid`.
        timed_n: Runs that the figures below are taken over: all but the invalid ones.
        train_seconds_mean: Seconds inside training.
        train_seconds_sd: Their standard deviation; None where fewer than two are known.
        images_per_second_mean: Training images a second, training only.
        images_per_second_sd: Their standard deviation, likewise.
        peak_rss_bytes_max: The largest of the runs' high-water marks.
        note: What was left out or refused, and why; None where nothing was.
    """

    clean: int
    suspect: int
    invalid: int
    timed_n: int
    train_seconds_mean: float | None
    train_seconds_sd: float | None
    images_per_second_mean: float | None
    images_per_second_sd: float | None
    peak_rss_bytes_max: int | None
    note: str | None


@dataclass(frozen=True)
class PhaseCost:
    """What one phase took in several trainings.

    Attributes:
        name: Of the phase.
        seconds_mean: Wall-clock seconds, over the trainings that tell it.
        seconds_sd: Their standard deviation; None where fewer than two are known.
        peak_rss_bytes_max: The largest high-water mark of the phase; None where it is not known.
        shared: Trainings in which the suite's other process worked meanwhile.
        trainings: Of how many.
    """

    name: PhaseName
    seconds_mean: float
    seconds_sd: float | None
    peak_rss_bytes_max: int | None
    shared: int
    trainings: int


@dataclass(frozen=True)
class Phases:
    """Where the time of the longest trainings went.

    Attributes:
        steps: How far these trainings were followed.
        threads: Theirs; trainings of other thread counts are not in it.
        trainings: How many there are.
        costs: By phase, in the order of `PHASES`; those that none tells are absent.
    """

    steps: int
    threads: int
    trainings: int
    costs: tuple[PhaseCost, ...]


@dataclass(frozen=True)
class TotalCost:
    """What runs took together.

    Attributes:
        trainings: How many trainings there were; rows cut from one count once.
        train_seconds: Seconds inside training, all that were spent.
        invalid_trainings: Those of which some run was invalid.
        peak: The largest high-water mark of a training process that was not spoilt.
    """

    trainings: int
    train_seconds: float | None
    invalid_trainings: int
    peak: Peak


def trusted(runs: Iterable[RunSummary]) -> list[RunSummary]:
    """Runs whose time, speed and memory count: all but the invalid ones."""
    return [run for run in runs if run.verdict != "invalid"]


def peak_of(runs: Iterable[RunSummary]) -> Peak:
    """The largest mark; marks read by different methods are never held against one another."""
    marks = [(run.peak_rss_bytes, run.memory_method)
             for run in runs if run.peak_rss_bytes is not None]  # fmt: skip
    methods = sorted({method or "a method without a name" for _, method in marks})
    if len(methods) > 1:
        return Peak(None, f"read by methods that do not compare: {' and '.join(methods)}")
    return Peak(max((size_bytes for size_bytes, _ in marks), default=None))


def costs_of(runs: Sequence[RunSummary]) -> Costs:
    """Time, speed and memory of runs that are draws of one quantity."""
    timed = trusted(runs)
    verdicts = Counter(run.verdict for run in runs)
    peak = peak_of(timed)
    seconds_mean, seconds_sd = mean_and_sd([run.train_seconds_total for run in timed])
    speed_mean, speed_sd = mean_and_sd([run.images_per_second for run in timed])
    notes = [_left_out(runs), f"no peak memory: {peak.refusal}" if peak.refusal else None]
    return Costs(
        clean=verdicts["clean"],
        suspect=verdicts["suspect"],
        invalid=verdicts["invalid"],
        timed_n=len(timed),
        train_seconds_mean=seconds_mean,
        train_seconds_sd=seconds_sd,
        images_per_second_mean=speed_mean,
        images_per_second_sd=speed_sd,
        peak_rss_bytes_max=peak.rss_bytes,
        note="; ".join(filter(None, notes)) or None,
    )


def phases_of(runs: Iterable[RunSummary]) -> Phases | None:
    """Where the time of the longest trainings went; None where no run can tell.

    Of trainings that asked another question, or were carried out differently, it takes those that
    the row of as many steps takes.
    """
    told = [run for run in trusted(runs) if run.status == "finished" and run.seconds]
    # A training's longest row holds what its shorter ones hold, and more.
    whole = {run.trajectory: run for run in sorted(told, key=lambda run: run.steps)}
    steps = max((run.steps for run in whole.values()), default=0)
    longest = [run for run in whole.values() if run.steps == steps]
    if not longest:
        return None
    first = next((of.taken[0] for of in groups(longest) if of.taken), longest[0])
    alike = [run for run in longest if _job(run) == _job(first)]
    costs = (_phase_cost(name, alike) for name in PHASES)
    return Phases(steps, first.threads, len(alike), tuple(cost for cost in costs if cost))


def _job(run: RunSummary) -> tuple[object, ...]:
    """What a training was and how it was carried out: times of two jobs are never averaged."""
    return question(run), way(run)


def total_cost(runs: Sequence[RunSummary]) -> TotalCost:
    """What runs took together: a training that several rows are cut from is counted once."""
    seconds: dict[str, float] = {}
    for run in runs:
        if run.train_seconds_total is not None:
            longest = max(run.train_seconds_total, seconds.get(run.trajectory, 0.0))
            seconds[run.trajectory] = longest
    good = trusted(runs)
    return TotalCost(
        trainings=len({run.trajectory for run in runs}),
        train_seconds=sum(seconds.values()) if seconds else None,
        invalid_trainings=len({run.trajectory for run in runs if run.verdict == "invalid"}),
        peak=peak_of(good) if good or not runs else Peak(None, "every run is invalid"),
    )


def mean_and_sd(figures: Sequence[float | None]) -> tuple[float | None, float | None]:
    """Of the figures that are known; the standard deviation needs two of them."""
    values = known(figures)
    # `statistics` is exact: equal values have exactly their own mean, and a deviation of 0.
    mean = statistics.mean(values) if values else None
    return mean, statistics.stdev(values) if len(values) > 1 else None


def _left_out(runs: Sequence[RunSummary]) -> str | None:
    invalid = [run for run in runs if run.verdict == "invalid"]
    if not invalid:
        return None
    reasons = dict.fromkeys(reason for run in invalid for reason in run.reasons or ())
    why = ", ".join(reasons) or "no reason was recorded"
    if len(invalid) == len(runs):
        return f"no time, speed and memory, every run is invalid: {why}"
    number = counted(len(invalid), "invalid run")
    return f"{number} left out of time, speed and memory: {why}"


def _phase_cost(name: PhaseName, runs: Sequence[RunSummary]) -> PhaseCost | None:
    seconds, sd = mean_and_sd([run.seconds.get(name) for run in runs])
    if seconds is None:
        return None
    peaks = [run.phase_peak_rss_bytes[name] for run in runs if name in run.phase_peak_rss_bytes]
    return PhaseCost(
        name=name,
        seconds_mean=seconds,
        seconds_sd=sd,
        # Where the runs' own marks do not compare, those of their phases do not either.
        peak_rss_bytes_max=None if peak_of(runs).refusal else max(peaks, default=None),
        shared=sum(name in run.shared_phases for run in runs),
        trainings=len(runs),
    )
