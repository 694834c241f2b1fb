"""Costs of runs: time, speed and memory, without disturbed runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol, TypeVar

from mnist_bench.analysis.grouping import execution_settings, groups, task_of
from mnist_bench.analysis.statistics import mean_and_sd
from mnist_bench.core.formatting import counted
from mnist_bench.core.records import shared_fields
from mnist_bench.measurement.quality import MEMORY_STALL, MEMORY_USED, SWAPPED, Verdict
from mnist_bench.results.document import MachineCosts
from mnist_bench.results.run import PHASES, PhaseName
from mnist_bench.results.run_summary import DISTURBED, RunSummary


@dataclass(frozen=True)
class Peak:
    """Largest peak RSS of several runs.

    Attributes:
        rss_bytes: None if unknown, or if the runs' peaks are not comparable.
        refusal: Why the peaks are not comparable; None if they are.
    """

    rss_bytes: int | None
    refusal: str | None = None


@dataclass(frozen=True)
class Costs:
    """Time, speed and memory of replicates.

    Standard deviations are None if fewer than two values are known.

    Attributes:
        clean: Number of runs with this verdict; so are `suspect` and `invalid`.
        timed_n: Runs that time and speed are taken over, see `trusted`.
        timed_suspect: Suspect runs among them: all of them, or none.
        images_per_second_mean: Training images per train second.
        peak_rss_bytes_max: Of the runs whose memory nothing disturbed, see `with_memory`.
        disturbed_train_seconds_mean: Of the invalid runs, where there are no others; so is the
            speed below. None elsewhere.
        disturbed_peak_rss_bytes_max: Of all runs, where something disturbed the memory of all.
        note: What was left out, and why; None if nothing was.
    """

    clean: int
    suspect: int
    invalid: int
    timed_n: int
    timed_suspect: int
    train_seconds_mean: float | None
    train_seconds_sd: float | None
    images_per_second_mean: float | None
    images_per_second_sd: float | None
    peak_rss_bytes_max: int | None
    disturbed_train_seconds_mean: float | None
    disturbed_images_per_second_mean: float | None
    disturbed_peak_rss_bytes_max: int | None
    note: str | None


@dataclass(frozen=True)
class PhaseCost:
    """Time and memory of one phase over several trainings.

    Attributes:
        seconds_mean: Wall-clock seconds, over the trainings that recorded the phase.
        seconds_sd: Standard deviation; None if fewer than two values are known.
        shared: Trainings during whose phase the parent process was busy too.
    """

    name: PhaseName
    seconds_mean: float
    seconds_sd: float | None
    peak_rss_bytes_max: int | None
    shared: int
    trainings: int


@dataclass(frozen=True)
class Phases:
    """Costs by phase of the longest trainings.

    Attributes:
        threads: Of these trainings; others are excluded.
        costs: One per recorded phase, in the order of `PHASES`.
    """

    steps: int
    threads: int
    trainings: int
    costs: tuple[PhaseCost, ...]


@dataclass(frozen=True)
class TotalCost:
    """Total cost of runs.

    Attributes:
        trainings: Number of trainings; runs of one training count once.
        train_seconds: Sum over trainings, including invalid ones.
        worker_seconds: The same, of all phases.
        invalid_trainings: Trainings with an invalid run.
        peak: Largest peak, see `with_memory`.
    """

    trainings: int
    train_seconds: float | None
    worker_seconds: float | None
    invalid_trainings: int
    peak: Peak


class _Judged(Protocol):
    @property
    def verdict(self) -> Verdict | None: ...


Run = TypeVar("Run", bound=_Judged)
_MEMORY_REASONS = {reason.words for reason in (MEMORY_STALL, SWAPPED, MEMORY_USED)}


def trusted(runs: Iterable[Run]) -> list[Run]:
    """Runs whose time and speed are used: the undisturbed ones, else the suspect ones."""
    valid = [run for run in runs if run.verdict != "invalid"]
    return [run for run in valid if run.verdict not in DISTURBED] or valid


def is_memory_disturbed(run: RunSummary) -> bool:
    """Whether memory was short, so that a peak may be too low; other load does not change it."""
    return not _MEMORY_REASONS.isdisjoint(run.reasons or ())


def with_memory(runs: Iterable[RunSummary]) -> list[RunSummary]:
    """Runs whose peak memory is used."""
    return [run for run in runs if not is_memory_disturbed(run)]


def peak_of(runs: Iterable[RunSummary]) -> Peak:
    """Largest peak RSS; peaks measured by different methods are not comparable."""
    peaks = [(run.peak_rss_bytes, run.memory_method)
             for run in runs if run.peak_rss_bytes is not None]  # fmt: skip
    methods = sorted({method or "a method without a name" for _, method in peaks})
    if len(methods) > 1:
        return Peak(None, f"read by methods that do not compare: {' and '.join(methods)}")
    return Peak(max((size_bytes for size_bytes, _ in peaks), default=None))


def costs_of(runs: Sequence[RunSummary]) -> Costs:
    """Time, speed and memory of replicates."""
    timed, undisturbed = trusted(runs), with_memory(runs)
    verdicts = Counter(run.verdict for run in runs)
    peak = peak_of(undisturbed)
    seconds_mean, seconds_sd = mean_and_sd([run.train_seconds_total for run in timed])
    speed_mean, speed_sd = mean_and_sd([run.images_per_second for run in timed])
    disturbed = [] if timed else runs
    notes = [*_left_out(runs), f"no peak memory: {peak.refusal}" if peak.refusal else None]
    return Costs(
        clean=verdicts["clean"],
        suspect=verdicts["suspect"],
        invalid=verdicts["invalid"],
        timed_n=len(timed),
        timed_suspect=sum(run.verdict == "suspect" for run in timed),
        train_seconds_mean=seconds_mean,
        train_seconds_sd=seconds_sd,
        images_per_second_mean=speed_mean,
        images_per_second_sd=speed_sd,
        peak_rss_bytes_max=peak.rss_bytes,
        disturbed_train_seconds_mean=mean_and_sd([run.train_seconds_total for run in disturbed])[0],
        disturbed_images_per_second_mean=mean_and_sd([r.images_per_second for r in disturbed])[0],
        disturbed_peak_rss_bytes_max=None if undisturbed else peak_of(runs).rss_bytes,
        note="; ".join(filter(None, notes)) or None,
    )


def machine_costs(
    results: Sequence[RunSummary], machine_id: str | None, names: Mapping[str | None, str]
) -> tuple[MachineCosts, ...]:
    """Costs of each machine, for the groups whose runs are not all of the machine.

    Args:
        results: Runs of one scenario with any status, oldest first.
        machine_id: The machine; it is the first of each step count.
        names: Hardware by machine id, as far as it is known.
    """
    return tuple(
        MachineCosts(
            machine=names.get(of_machine),
            n=len(runs),
            pooled_n=len({id(run) for run in runs} & {id(run) for run in group.runs}),
            run_ids=tuple(run.run_id for run in runs if run.run_id is not None),
            **shared_fields(runs[0], MachineCosts),
            **asdict(costs_of(runs)),
        )
        for group in groups(results, machine_id)
        if group.by_machine.keys() - {group.machine_id}
        for of_machine, runs in sorted(
            group.by_machine.items(), key=lambda item: item[0] != group.machine_id
        )
    )


def phases_of(runs: Iterable[RunSummary]) -> Phases | None:
    """Costs by phase of the longest trainings; None if no run recorded any.

    If these trainings differ in their task or execution settings, it uses those that the row of
    this step count uses.
    """
    timed = [run for run in trusted(runs) if run.status == "finished" and run.seconds]
    # The longest run of a training includes the phases of the shorter ones.
    longest_by_training = {run.trajectory: run for run in sorted(timed, key=lambda run: run.steps)}
    steps = max((run.steps for run in longest_by_training.values()), default=0)
    longest = [run for run in longest_by_training.values() if run.steps == steps]
    if not longest:
        return None
    reference_run = next((group.runs[0] for group in groups(longest) if group.runs), longest[0])
    # What must be equal for times to be averaged.
    settings = task_of(reference_run), execution_settings(reference_run)
    alike = [run for run in longest if (task_of(run), execution_settings(run)) == settings]
    costs = (_phase_cost(name, alike) for name in PHASES)
    return Phases(steps, reference_run.threads, len(alike), tuple(cost for cost in costs if cost))


def total_cost(runs: Sequence[RunSummary]) -> TotalCost:
    """Total cost of runs; a training that yields several runs counts once."""

    def summed(seconds_of: Callable[[RunSummary], float | None]) -> float | None:
        longest: dict[str, float] = {}  # by training
        for run in runs:
            if (seconds := seconds_of(run)) is not None:
                longest[run.trajectory] = max(seconds, longest.get(run.trajectory, 0.0))
        return sum(longest.values()) if longest else None

    return TotalCost(
        trainings=len({run.trajectory for run in runs}),
        train_seconds=summed(lambda run: run.train_seconds_total),
        worker_seconds=summed(lambda run: sum(run.seconds.values()) or None),
        invalid_trainings=len({run.trajectory for run in runs if run.verdict == "invalid"}),
        peak=peak_of(with_memory(runs) or runs),
    )


def _left_out(runs: Sequence[RunSummary]) -> Iterator[str]:
    """Which runs time, speed and memory are without, and why."""
    timed = {id(run) for run in trusted(runs)}
    disturbed = [run for run in runs if id(run) not in timed]
    if disturbed and not timed:
        yield f"time and speed are of invalid runs: {_reasons(disturbed)}"
    elif disturbed:
        number = counted(len(disturbed), "disturbed run")
        yield f"{number} left out of time and speed: {_reasons(disturbed)}"
    short = [run for run in runs if is_memory_disturbed(run)]
    if short and len(short) < len(runs):
        yield f"{counted(len(short), 'run')} left out of peak memory: {_reasons(short)}"


def _reasons(runs: Sequence[RunSummary]) -> str:
    reasons = dict.fromkeys(reason for run in runs for reason in run.reasons or ())
    return ", ".join(reasons) or "no reason was recorded"


def _phase_cost(name: PhaseName, runs: Sequence[RunSummary]) -> PhaseCost | None:
    seconds, seconds_sd = mean_and_sd([run.seconds.get(name) for run in runs])
    if seconds is None:
        return None
    peaks = [run.phase_peak_rss_bytes[name] for run in runs if name in run.phase_peak_rss_bytes]
    return PhaseCost(
        name=name,
        seconds_mean=seconds,
        seconds_sd=seconds_sd,
        # If the runs' peaks are not comparable, those of their phases are not either.
        peak_rss_bytes_max=None if peak_of(runs).refusal else max(peaks, default=None),
        shared=sum(name in run.shared_phases for run in runs),
        trainings=len(runs),
    )
