"""Whether the machine let a run's figures be trusted: conditions in, verdict and reasons out; pure.

Thresholds that disturbed and quiet runs can show were settled on some of them and tried on others
(`benchmarks/trust/`); the rest are choices. docs/measuring.md tells which.
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
        words: Short, the same for all runs with this reason, without a comma.
        detail: The figure behind it, for people.
        verdict: What it makes of the run.
    """

    words: str
    detail: str
    verdict: Verdict


@dataclass(frozen=True)
class Threshold:
    """From where on a figure makes a run suspect, and from where on invalid.

    Attributes:
        words: What the reason is called.
        figure: What is looked at, in a sentence.
        suspect: The smallest value that makes a run suspect.
        invalid: The same for invalid; None where the figure alone never does.
        shown: The value as text.
    """

    words: str
    figure: str
    suspect: float
    invalid: float | None = None
    shown: Callable[[float], str] = formatting.percent

    def reason(self, value: float) -> Reason:
        """What a value means."""
        verdict: Verdict = "suspect" if value >= self.suspect else "clean"
        if self.invalid is not None and value >= self.invalid:
            verdict = "invalid"
        return Reason(self.words, self.shown(value), verdict)


def _whole_mebibytes(size_bytes: float) -> str:
    return formatting.mebibytes(int(size_bytes))


OTHER_LOAD = Threshold(
    "other load", "processor time of other programs, of all that there was", 0.03, 0.25
)
STEAL = Threshold(
    "steal", "processor time that a virtual machine's host kept for others, likewise", 0.02, 0.15
)
THROTTLED = Threshold(
    "throttled", "time in which a container's quota stopped the training, of its time", 0.02, 0.25
)
WAITED = Threshold(
    "kept waiting", "time in which the training was ready and did not run, of its time", 0.03, 0.25
)
UNEVEN = Threshold(
    "uneven steps", "what slow stretches took longer than the median one, of all time", 0.12, 0.5
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
    "memory pressure", "time in which some process waited for memory, of all time", 0.01, 0.2
)
SWAPPED = Threshold("swapping", "moved to and from swap", 16 * 2**20, shown=_whole_mebibytes)
MEMORY_USED = Threshold("memory full", "memory that could not be had any more, of all", 0.95)
CLOCK_FALL = Threshold(
    "clock fell", "how far the processor's frequency fell below its highest in the run", 0.15
)
TEMPERATURE = Threshold(
    "hot", "temperature of the processor", 95.0, shown=lambda degrees: f"{degrees:.0f} °C"
)
THRESHOLDS = (
    OTHER_LOAD,
    STEAL,
    THROTTLED,
    WAITED,
    UNEVEN,
    DRIFT,
    CALIBRATION_DRIFT,
    SUSPENDED,
    MEMORY_STALL,
    SWAPPED,
    MEMORY_USED,
    CLOCK_FALL,
    TEMPERATURE,
)
"""All of them, for people to read."""

BUSY_ENOUGH = 0.85
"""A stretch waited where it got less than this share of the processor time that is its usual."""
SLOW_STRETCH = 1.10
"""A stretch counts as slow above so many times the median."""
WARM_UP_STRETCHES = 2
"""The first steps are slower on a quiet machine too: memory is touched for the first time."""
DRIFT_STRETCHES = 30
"""Fewer stretches than these have no thirds worth comparing."""


@dataclass(frozen=True)
class Assessment:
    """What is to be thought of a run's figures.

    Attributes:
        reasons: Every reason against it, worst first; empty where it is clean.
    """

    reasons: tuple[Reason, ...]

    @property
    def verdict(self) -> Verdict:
        """That of the worst reason."""
        return self.reasons[0].verdict if self.reasons else "clean"


def assess(conditions: Conditions) -> Assessment:
    """Judge a run by all that was seen of the machine up to its last step."""
    stretches = [stretch.seen for stretch in conditions.stretches]
    found = [
        *_of_load(stretches, _cores(conditions.surroundings)),
        *_of_pace(conditions.stretches),
        *_of_calibration(conditions.calibration_seconds),
        *_of_surroundings(conditions.surroundings),
        *([] if conditions.exclusive else [_NOT_EXCLUSIVE]),
    ]
    return _judgement(found)


def assess_now(seen: Stretch, surroundings: Surroundings) -> Assessment:
    """Judge a moment in which nothing of ours was trained: is it a good one to measure?"""
    cores = _cores((surroundings,))
    return _judgement([*_of_load([seen], cores), *_of_surroundings((surroundings,))])


_NOT_EXCLUSIVE = Reason("not exclusive", "other benchmarks were not kept away", "suspect")


def _judgement(reasons: Sequence[Reason]) -> Assessment:
    against = [reason for reason in reasons if reason.verdict != "clean"]
    return Assessment(tuple(sorted(against, key=lambda r: -VERDICTS.index(r.verdict))))


def _cores(surroundings: Sequence[Surroundings]) -> float | None:
    return min(known(s.usable_cores or None for s in surroundings), default=None)


def _of_load(stretches: Sequence[Stretch], cores: float | None) -> Iterator[Reason]:
    """What others took of the machine."""
    wall = sum(stretch.wall_seconds for stretch in stretches)
    if wall <= 0:
        return
    shares = (
        (OTHER_LOAD, total(stretches, lambda s: s.other_cpu_seconds), cores),
        (STEAL, total(stretches, lambda s: s.steal_seconds), cores),
        (THROTTLED, total(stretches, lambda s: s.throttled_seconds), 1.0),
        (MEMORY_STALL, total(stretches, lambda s: s.memory_stall_seconds), 1.0),
    )
    for limits, seconds, width in shares:
        if seconds is not None and width is not None:
            yield limits.reason(seconds / wall / width)
    asleep = total(stretches, lambda s: s.suspended_seconds)
    if asleep is not None:
        yield SUSPENDED.reason(asleep)
    swapped = total(stretches, lambda s: s.swapped_bytes)
    if swapped is not None:
        yield SWAPPED.reason(swapped)


def _of_pace(stretches: Sequence[TrainingStretch]) -> Iterator[Reason]:
    """How even the training's own steps were, once it is warm."""
    warm = [s for s in stretches[WARM_UP_STRETCHES:] if s.steps > 0]
    if len(warm) < 2:
        return
    yield WAITED.reason(_waited(warm))
    yield UNEVEN.reason(_uneven(warm))
    if len(warm) >= DRIFT_STRETCHES:
        third = len(warm) // 3
        ends = [statistics.median(map(_pace, part)) for part in (warm[:third], warm[-third:])]
        yield DRIFT.reason(_apart(*ends))


def _waited(stretches: Sequence[TrainingStretch]) -> float:
    """Share of the time in which the process got too little to do its usual work."""
    seen = [s.seen for s in stretches if s.seen.wall_seconds > 0]
    rates = [s.own_cpu_seconds / s.wall_seconds for s in seen]
    usual = statistics.median(rates) if rates else 0.0
    if usual <= 0:
        return 0.0
    lost = (
        s.wall_seconds - s.own_cpu_seconds / usual
        for s, rate in zip(seen, rates, strict=True)
        if rate < BUSY_ENOUGH * usual
    )
    return sum(lost) / sum(s.wall_seconds for s in seen)


def _uneven(stretches: Sequence[TrainingStretch]) -> float:
    """Share of the time that slow stretches took longer than the median one."""
    usual = statistics.median(map(_pace, stretches))
    total_seconds = sum(s.train_seconds for s in stretches)
    if total_seconds <= 0:
        return 0.0
    slow = [s for s in stretches if _pace(s) >= SLOW_STRETCH * usual]
    return sum(s.train_seconds - usual * s.steps for s in slow) / total_seconds


def _pace(stretch: TrainingStretch) -> float:
    """Seconds a step."""
    return stretch.train_seconds / stretch.steps


def _apart(one: float, other: float) -> float:
    """How much larger the larger is than the smaller; 0 where one of them is nothing."""
    return max(one, other) / min(one, other) - 1 if min(one, other) > 0 else 0.0


def _of_calibration(seconds: Sequence[float]) -> Iterator[Reason]:
    pairs = pairwise(s for s in seconds if s > 0)
    drift = max((_apart(*pair) for pair in pairs), default=None)
    if drift is not None:
        yield CALIBRATION_DRIFT.reason(drift)


def _of_surroundings(seen: Sequence[Surroundings]) -> Iterator[Reason]:
    """What the machine was like."""
    if any(s.on_battery for s in seen):
        yield Reason("on battery", "not on mains power", "suspect")
    for s in seen[:1]:
        cores, all_cores = s.usable_cores, s.logical_cores
        if cores is not None and all_cores is not None and cores < all_cores:
            yield Reason("limited cores", f"{cores:g} of {all_cores}", "suspect")
    clocks = known(s.clock_mhz or None for s in seen)
    if clocks:
        yield CLOCK_FALL.reason(1 - min(clocks) / max(clocks))
    hottest = max(known(s.temperature_celsius for s in seen), default=None)
    if hottest is not None:
        yield TEMPERATURE.reason(hottest)
    used = [
        1 - s.memory_available_bytes / s.memory_total_bytes
        for s in seen
        if s.memory_available_bytes is not None and s.memory_total_bytes
    ]
    if used:
        yield MEMORY_USED.reason(max(used))
