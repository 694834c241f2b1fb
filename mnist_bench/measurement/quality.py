"""Verdict of a run: whether its times and memory can be trusted, with reasons.

Thresholds that disturbed and quiet runs can show were fitted on some of them and validated on
others (`benchmarks/trust/`); the rest are choices. docs/measuring.md says which.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, TypeAlias

from mnist_bench.core import formatting
from mnist_bench.measurement.conditions import (
    Conditions,
    Stretch,
    Surroundings,
    TrainingStretch,
    known,
    total,
)

Verdict: TypeAlias = Literal["clean", "suspect", "invalid"]
VERDICTS: tuple[Verdict, ...] = ("clean", "suspect", "invalid")


@dataclass(frozen=True)
class Reason:
    """Why a run is not clean.

    Attributes:
        words: Short name, the same for all runs with this reason, without a comma.
        detail: The measured value as text.
        verdict: The run's verdict if this is its worst reason.
    """

    words: str
    detail: str
    verdict: Verdict


@dataclass(frozen=True)
class Threshold:
    """Limits of a value from which a run is suspect or invalid.

    Attributes:
        figure: What is measured, in words.
        suspect: Smallest value that makes a run suspect.
        invalid: Smallest value that makes a run invalid; None if the value alone never does.
    """

    words: str
    figure: str
    suspect: float
    invalid: float | None = None
    shown: Callable[[float], str] = formatting.percent

    def reason(self, value: float) -> Reason:
        """The reason that a value gives, whose verdict may be clean."""
        verdict: Verdict = "suspect" if value >= self.suspect else "clean"
        if self.invalid is not None and value >= self.invalid:
            verdict = "invalid"
        return Reason(self.words, self.shown(value), verdict)


OTHER_LOAD = Threshold(
    "other load", "share of all processor time that other programs used", 0.03, 0.25
)
STEAL = Threshold(
    "steal",
    "share of all processor time that a virtual machine's host kept for others",
    0.02,
    0.15,
)
THROTTLED = Threshold(
    "throttled", "share of the training's time in which a container's quota stopped it", 0.02, 0.25
)
WAITED = Threshold(
    "kept waiting", "share of the training's time in which it was ready and did not run", 0.03, 0.25
)
UNEVEN = Threshold(
    "uneven steps", "share of all time that slow stretches took beyond the median one", 0.12, 0.5
)
DRIFT = Threshold(
    "drift of step time", "how much slower the slower of a run's first and last third was", 0.1, 0.5
)
CALIBRATION_DRIFT = Threshold(
    "calibration drift", "how far the calibration's times lie apart, one to the next", 0.5
)
SUSPENDED = Threshold(
    "suspended", "sleep of the machine while it trained", 0.5, 1.0, formatting.duration
)
MEMORY_STALL = Threshold(
    "memory pressure", "share of all time in which some process waited for memory", 0.01, 0.2
)
SWAPPED = Threshold(
    "swapping",
    "moved to and from swap",
    16 * 2**20,
    shown=lambda size_bytes: formatting.mebibytes(int(size_bytes)),
)
MEMORY_USED = Threshold("memory full", "share of all memory that was in use", 0.95)
CLOCK_FALL = Threshold(
    "clock fell", "how far the processor's frequency fell below its highest in the run", 0.15
)
TEMPERATURE = Threshold(
    "hot", "temperature of the processor", 95.0, shown=lambda degrees: f"{degrees:.0f} °C"
)
THRESHOLDS = (
    *(OTHER_LOAD, STEAL, THROTTLED, WAITED, UNEVEN, DRIFT, CALIBRATION_DRIFT, SUSPENDED),
    *(MEMORY_STALL, SWAPPED, MEMORY_USED, CLOCK_FALL, TEMPERATURE),
)
"""All thresholds, for display."""

BUSY_ENOUGH = 0.85
"""A stretch waited if it got less than this share of the usual processor time."""
SLOW_STRETCH = 1.10
"""A stretch is slow from this multiple of the median time per step."""
WARM_UP_STRETCHES = 2
"""The first steps are slower even on a quiet machine: memory is touched for the first time."""
DRIFT_STRETCHES = 30
"""Least number of stretches for comparing the first and last third."""


@dataclass(frozen=True)
class Assessment:
    """Verdict of a run with its reasons.

    Attributes:
        reasons: Every reason against it, worst first; empty if it is clean.
    """

    reasons: tuple[Reason, ...]

    @property
    def verdict(self) -> Verdict:
        """Verdict of the worst reason."""
        return self.reasons[0].verdict if self.reasons else "clean"


def assess(conditions: Conditions) -> Assessment:
    """Assess a run by the machine's state up to its last step."""
    stretches = [stretch.seen for stretch in conditions.stretches]
    reasons = [
        *_load_reasons(stretches, _cores(conditions.surroundings)),
        *_pace_reasons(conditions.stretches),
        *_calibration_reasons(conditions.calibration_seconds),
        *_surroundings_reasons(conditions.surroundings),
    ]
    if not conditions.exclusive:
        reasons.append(Reason("not exclusive", "other benchmarks were not kept away", "suspect"))
    return _assessment(reasons)


def assess_now(sample: Stretch, surroundings: Surroundings) -> Assessment:
    """Assess the idle machine: whether now is a good time to measure."""
    cores = _cores((surroundings,))
    return _assessment([*_load_reasons([sample], cores), *_surroundings_reasons((surroundings,))])


def _assessment(reasons: Sequence[Reason]) -> Assessment:
    failed = [reason for reason in reasons if reason.verdict != "clean"]
    return Assessment(tuple(sorted(failed, key=lambda r: -VERDICTS.index(r.verdict))))


def _cores(surroundings: Sequence[Surroundings]) -> int | None:
    return min(known(s.observed_cores or None for s in surroundings), default=None)


def _load_reasons(stretches: Sequence[Stretch], cores: int | None) -> Iterator[Reason]:
    """Reasons from other programs' use of the machine."""
    wall = sum(stretch.wall_seconds for stretch in stretches)
    if wall <= 0:
        return
    shares = (
        (OTHER_LOAD, total(stretches, lambda s: s.other_cpu_seconds), cores and wall * cores),
        (STEAL, total(stretches, lambda s: s.steal_seconds), cores and wall * cores),
        (THROTTLED, total(stretches, lambda s: s.throttled_seconds), wall),
        (MEMORY_STALL, total(stretches, lambda s: s.memory_stall_seconds), wall),
    )
    for threshold, value, whole in shares:
        if value is not None and whole is not None:
            yield threshold.reason(min(value / whole, 1.0))  # ticks are coarse
    values = (
        (SUSPENDED, total(stretches, lambda s: s.suspended_seconds)),
        (SWAPPED, total(stretches, lambda s: s.swapped_bytes)),
    )
    for threshold, value in values:
        if value is not None:
            yield threshold.reason(value)


def _pace_reasons(stretches: Sequence[TrainingStretch]) -> Iterator[Reason]:
    """Reasons from uneven step times, after warm-up."""
    warm = [s for s in stretches[WARM_UP_STRETCHES:] if s.steps > 0]
    if len(warm) < 2:
        return
    yield WAITED.reason(_waiting_share(warm))
    yield UNEVEN.reason(_uneven_share(warm))
    if len(warm) >= DRIFT_STRETCHES:
        third = len(warm) // 3
        ends = [
            statistics.median(map(_seconds_per_step, some))
            for some in (warm[:third], warm[-third:])
        ]
        yield DRIFT.reason(_relative_difference(*ends))


def _waiting_share(stretches: Sequence[TrainingStretch]) -> float:
    """Share of the time in which the process got less processor time than usual."""
    observed = [s.seen for s in stretches if s.seen.wall_seconds > 0]
    rates = [s.own_cpu_seconds / s.wall_seconds for s in observed]
    usual = statistics.median(rates) if rates else 0.0
    if usual <= 0:
        return 0.0
    lost = (
        s.wall_seconds - s.own_cpu_seconds / usual
        for s, rate in zip(observed, rates, strict=True)
        if rate < BUSY_ENOUGH * usual
    )
    return sum(lost) / sum(s.wall_seconds for s in observed)


def _uneven_share(stretches: Sequence[TrainingStretch]) -> float:
    """Excess time of slow stretches over the median, as a share of the time."""
    usual = statistics.median(map(_seconds_per_step, stretches))
    total_seconds = sum(s.train_seconds for s in stretches)
    if total_seconds <= 0:
        return 0.0
    slow = [s for s in stretches if _seconds_per_step(s) >= SLOW_STRETCH * usual]
    return sum(s.train_seconds - usual * s.steps for s in slow) / total_seconds


def _seconds_per_step(stretch: TrainingStretch) -> float:
    return stretch.train_seconds / stretch.steps


def _relative_difference(one: float, other: float) -> float:
    """Relative difference of the larger to the smaller; 0 if one of them is 0."""
    return max(one, other) / min(one, other) - 1 if min(one, other) > 0 else 0.0


def _calibration_reasons(seconds: Sequence[float]) -> Iterator[Reason]:
    pairs = pairwise(s for s in seconds if s > 0)
    drift = max((_relative_difference(*pair) for pair in pairs), default=None)
    if drift is not None:
        yield CALIBRATION_DRIFT.reason(drift)


def _surroundings_reasons(observed: Sequence[Surroundings]) -> Iterator[Reason]:
    """Reasons from power, cores, clock, temperature and memory."""
    if any(s.on_battery for s in observed):
        yield Reason("on battery", "not on mains power", "suspect")
    for s in observed[:1]:
        cores, all_cores = s.usable_cores, s.logical_cores
        if cores is not None and all_cores is not None and cores < all_cores:
            yield Reason("limited cores", f"{cores:g} of {all_cores}", "suspect")
    clocks = known(s.clock_mhz or None for s in observed)
    if clocks:
        yield CLOCK_FALL.reason(1 - min(clocks) / max(clocks))
    hottest = max(known(s.temperature_celsius for s in observed), default=None)
    if hottest is not None:
        yield TEMPERATURE.reason(hottest)
    used = [
        1 - s.memory_available_bytes / s.memory_total_bytes
        for s in observed
        if s.memory_available_bytes is not None and s.memory_total_bytes
    ]
    if used:
        yield MEMORY_USED.reason(max(used))
