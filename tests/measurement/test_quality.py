"""Verdicts of runs, with conditions around each threshold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import cycle
from typing import Any

import factories
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnist_bench.core.records import Record
from mnist_bench.measurement import quality
from mnist_bench.measurement.conditions import Conditions, Stretch, Surroundings, TrainingStretch
from mnist_bench.measurement.quality import VERDICTS, Reason, Threshold, Verdict, assess, assess_now

NUDGE = 1e-6
"""Relative change that is larger than rounding errors."""
STRETCHES = 12
PACE = 0.16
"""Seconds per step of the quiet run."""
RUN_SECONDS = STRETCHES * factories.STRETCH_SECONDS
CPU_SECONDS = RUN_SECONDS * factories.CORES
THIRD = quality.DRIFT_STRETCHES // 3


def verdict_of(words: str, conditions: Conditions) -> Verdict:
    """Verdict of one reason."""
    return next((r.verdict for r in assess(conditions).reasons if r.words == words), "clean")


def words_of(conditions: Conditions) -> list[str]:
    return [reason.words for reason in assess(conditions).reasons]


def rank(conditions: Conditions) -> int:
    return VERDICTS.index(assess(conditions).verdict)


def on(*surroundings: Surroundings, of: Conditions | None = None) -> Conditions:
    """Conditions with other surroundings."""
    return (of or factories.conditions()).model_copy(update={"surroundings": surroundings})


def replaced(stretches: Sequence[TrainingStretch], *seen: Stretch) -> Conditions:
    """Conditions whose last stretches have these counters."""
    last = zip(stretches[-len(seen) :], seen, strict=True)
    changed = [stretch.model_copy(update={"seen": each}) for stretch, each in last]
    return factories.conditions(stretches=(*stretches[: -len(seen)], *changed))


def stretched(**changes: Any) -> Conditions:
    """Conditions with these values in the last stretch."""
    stretches = factories.training_stretches([PACE] * STRETCHES)
    return replaced(stretches, factories.stretch(**changes))


def ended_with(**changes: Any) -> Conditions:
    return on(factories.surroundings(), factories.surroundings(**changes))


def here(**changes: Any) -> Conditions:
    return on(factories.surroundings(**changes))


def calibrated(*seconds: float) -> Conditions:
    return factories.conditions(calibration_seconds=seconds)


def uneven(share: float) -> Conditions:
    """One of eight warm stretches is slower, by this share of their total time."""
    slow = (1 + 7 * share) / (1 - share)
    assert slow > quality.SLOW_STRETCH
    return trained([PACE] * 7 + [PACE * slow])


def drifted(drift: float) -> Conditions:
    return trained([PACE] * (2 * THIRD) + [PACE * (1 + drift)] * THIRD)


def waited(share: float) -> Conditions:
    """Ten stretches, the last of which waited for this share of the total time."""
    idle_seconds = 9 * factories.STRETCH_SECONDS * share / (1 - share)
    idle = factories.stretch(wall_seconds=idle_seconds, own_cpu_seconds=0.0)
    return replaced(warm([PACE] * 10), idle)


def warm(paces: list[float], **changes: Any) -> tuple[TrainingStretch, ...]:
    """Stretches with these seconds per step, after the warm-up ones."""
    return factories.training_stretches([PACE] * quality.WARM_UP_STRETCHES + paces, **changes)


def trained(paces: list[float]) -> Conditions:
    return factories.conditions(stretches=warm(paces))


def memory_used(share: float) -> Conditions:
    total_bytes = 10**12
    available_bytes = round(total_bytes * (1 - share))
    return ended_with(memory_available_bytes=available_bytes, memory_total_bytes=total_bytes)


CASES: dict[Threshold, Callable[[float], Conditions]] = {
    quality.OTHER_LOAD: lambda share: stretched(other_cpu_seconds=share * CPU_SECONDS),
    quality.STEAL: lambda share: stretched(steal_seconds=share * CPU_SECONDS),
    quality.THROTTLED: lambda share: stretched(throttled_seconds=share * RUN_SECONDS),
    quality.WAITED: waited,
    quality.UNEVEN: uneven,
    quality.DRIFT: drifted,
    quality.CALIBRATION_DRIFT: lambda drift: calibrated(0.02, 0.02 * (1 + drift)),
    quality.SUSPENDED: lambda seconds: stretched(suspended_seconds=seconds),
    quality.MEMORY_STALL: lambda share: stretched(memory_stall_seconds=share * RUN_SECONDS),
    quality.SWAPPED: lambda size_bytes: stretched(swapped_bytes=round(size_bytes)),
    quality.MEMORY_USED: memory_used,
    quality.CLOCK_FALL: lambda fall: ended_with(clock_mhz=3_000.0 * (1 - fall)),
    quality.TEMPERATURE: lambda degrees: ended_with(temperature_celsius=degrees),
}
EVERY_THRESHOLD = pytest.mark.parametrize("threshold", CASES, ids=lambda threshold: threshold.words)


# Thresholds


def test_a_quiet_run_is_clean() -> None:
    assessment = assess(factories.conditions())
    assert (assessment.verdict, assessment.reasons) == ("clean", ())


def test_every_threshold_has_a_case() -> None:
    assert set(CASES) == set(quality.THRESHOLDS)
    assert len({threshold.words for threshold in CASES}) == len(CASES)
    assert all(threshold.figure for threshold in CASES)


@EVERY_THRESHOLD
def test_suspect_from_the_threshold_on(threshold: Threshold) -> None:
    conditions = CASES[threshold]
    assert verdict_of(threshold.words, conditions(threshold.suspect * (1 - NUDGE))) == "clean"
    at = assess(conditions(threshold.suspect * (1 + NUDGE)))
    assert [r.verdict for r in at.reasons if r.words == threshold.words] == ["suspect"]
    assert at.verdict != "clean"


@EVERY_THRESHOLD
def test_invalid_from_the_threshold_on(threshold: Threshold) -> None:
    conditions = CASES[threshold]
    if threshold.invalid is None:
        # Far above the threshold it is still only suspect.
        far = (1 + threshold.suspect) / 2 if threshold.suspect < 1 else threshold.suspect * 100
        assert verdict_of(threshold.words, conditions(far)) == "suspect"
        return
    assert threshold.suspect < threshold.invalid
    assert verdict_of(threshold.words, conditions(threshold.invalid * (1 - NUDGE))) == "suspect"
    at = conditions(threshold.invalid * (1 + NUDGE))
    assert verdict_of(threshold.words, at) == "invalid"
    assert assess(at).verdict == "invalid"


@pytest.mark.parametrize(
    ("invalid", "value", "expected"),
    [
        (2.0, 0.99, "clean"),
        (2.0, 1.0, "suspect"),
        (2.0, 1.99, "suspect"),
        (2.0, 2.0, "invalid"),
        (None, 0.99, "clean"),
        (None, 1e9, "suspect"),
    ],
)
def test_a_threshold_is_inclusive(invalid: float | None, value: float, expected: Verdict) -> None:
    threshold = Threshold(
        "noise", "how loud it was", 1.0, invalid, shown=lambda bels: f"{bels:g} bel"
    )
    assert threshold.reason(value) == Reason("noise", f"{value:g} bel", expected)


@pytest.mark.parametrize(
    ("words", "figure", "conditions"),
    [
        ("other load", "50.0%", stretched(other_cpu_seconds=CPU_SECONDS / 2)),
        ("steal", "25.0%", stretched(steal_seconds=CPU_SECONDS / 4)),
        ("throttled", "50.0%", stretched(throttled_seconds=RUN_SECONDS / 2)),
        ("memory pressure", "50.0%", stretched(memory_stall_seconds=RUN_SECONDS / 2)),
        ("suspended", "12.0 s", stretched(suspended_seconds=12.0)),
        ("swapping", "1,024 MiB", stretched(swapped_bytes=2**30)),
        ("kept waiting", "50.0%", waited(0.5)),
        ("uneven steps", "60.0%", uneven(0.6)),
        ("drift of step time", "80.0%", drifted(0.8)),
        ("calibration drift", "50.0%", calibrated(0.03, 0.02)),
        ("clock fell", "50.0%", ended_with(clock_mhz=1_500.0)),
        ("hot", "101 °C", ended_with(temperature_celsius=101.0)),
        ("memory full", "99.0%", memory_used(0.99)),
        ("on battery", "not on mains power", ended_with(on_battery=True)),
        ("limited cores", "1.5 of 4", here(quota_cores=1.5)),
        ("other load", "100.0%", stretched(other_cpu_seconds=9 * CPU_SECONDS)),
    ],
)
def test_detail_of_a_reason(words: str, figure: str, conditions: Conditions) -> None:
    assert [r.detail for r in assess(conditions).reasons if r.words == words] == [figure]


# Conditions and their reasons

HALF_SUSPECT = stretched(
    other_cpu_seconds=quality.OTHER_LOAD.suspect * CPU_SECONDS / 2 * (1 + NUDGE)
)
"""Other load that is half of the threshold's on four cores."""
RISING = [PACE * 1.01**number for number in range(quality.DRIFT_STRETCHES)]
CALIBRATION = quality.CALIBRATION_DRIFT.suspect


def coarse_ticks() -> Conditions:
    """Excess ticks in one stretch are missing in another."""
    seconds = factories.STRETCH_SECONDS * factories.CORES
    ticks = [factories.stretch(other_cpu_seconds=sign * seconds) for sign in (1, -1)]
    return replaced(factories.training_stretches([PACE] * STRETCHES), *ticks * (STRETCHES // 2))


def stretches_of_other_lengths() -> Conditions:
    lengths = (1, 50, 50, 9, 41, 50, 50, 9, 41, 50, 50, 49) * 4
    of = factories.training_stretches([PACE] * len(lengths))
    changes = ({"steps": steps, "train_seconds": steps * PACE} for steps in lengths)
    stretches = (each.model_copy(update=change) for each, change in zip(of, changes, strict=True))
    return factories.conditions(stretches=tuple(stretches))


def slow_start() -> Conditions:
    """The first stretches may be slow or wait for memory even on a quiet machine."""
    first = factories.training_stretches([PACE * 9] * 2, own_cpu_seconds=0.0)
    rest = factories.training_stretches([PACE] * 10)
    assert len(first) == quality.WARM_UP_STRETCHES
    return factories.conditions(stretches=(*first, *rest))


def less_processor_time(share: float) -> Conditions:
    """Four of ten stretches got less processor time than usual, by this share of the limit."""
    less = factories.stretch(own_cpu_seconds=24.0 * quality.BUSY_ENOUGH * share)
    return replaced(warm([PACE] * 10), *[less] * 4)


def unknown_counters() -> Conditions:
    unknown = Stretch(wall_seconds=8.0, own_cpu_seconds=24.0)
    known = replaced(factories.training_stretches([PACE] * STRETCHES), *[unknown] * STRETCHES)
    return known.model_copy(
        update={"surroundings": (Surroundings(),) * 2, "calibration_seconds": ()}
    )


IMPOSSIBLE = factories.surroundings(
    logical_cores=0, affinity_cores=0, memory_total_bytes=0, quota_cores=0.0, clock_mhz=0.0
)


@pytest.mark.parametrize(
    ("conditions", "words"),
    [
        (HALF_SUSPECT, []),
        (on(factories.surroundings(affinity_cores=2), of=HALF_SUSPECT),
         ["other load", "limited cores"]),
        (on(Surroundings(), Surroundings(), of=stretched(other_cpu_seconds=RUN_SECONDS)), []),
        (coarse_ticks(), []),
        # Pace: by time per step, after the first stretches.
        (stretches_of_other_lengths(), []),
        (slow_start(), []),
        (trained([PACE * 1.2] * THIRD + [PACE] * (2 * THIRD)), ["drift of step time"]),
        (trained(RISING), ["drift of step time"]),
        (trained(RISING[:-1]), []),  # too few stretches
        (less_processor_time(1.01), []),
        (less_processor_time(0.99), ["kept waiting"]),
        (factories.conditions(stretches=warm([PACE] * 10, own_cpu_seconds=0.0)), []),
        (trained([]), []),
        (trained([PACE * 9]), []),
        (trained([0.0] * 4 + [PACE] * 8), []),
        (trained([0.0] * quality.DRIFT_STRETCHES), []),
        (factories.conditions(stretches=warm([PACE] * 10, wall_seconds=0.0)), []),
        # Calibration: one reason, whichever way and however often its time changes.
        (calibrated(*(0.02, 0.02 * (1 + 2 * CALIBRATION)) * 2), ["calibration drift"]),
        (calibrated(0.02 * (1 + CALIBRATION * (1 + NUDGE)), 0.02), ["calibration drift"]),
        (calibrated(0.02), []),
        (calibrated(), []),
        (calibrated(0.0, 0.02), []),
        # Reasons without a threshold.
        (here(on_battery=True), ["on battery"]),
        (here(on_battery=None, battery_percent=None), []),
        (here(battery_percent=3.0), []),
        (here(affinity_cores=3), ["limited cores"]),
        (here(quota_cores=3.5), ["limited cores"]),
        (here(quota_cores=4.0), []),
        (here(quota_cores=64.0), []),
        (here(affinity_cores=None), []),
        (on(*(factories.surroundings(on_battery=state) for state in (False, True, None, False))),
         ["on battery"]),
        (factories.conditions(exclusive=False), ["not exclusive"]),
        # Unknown values.
        (unknown_counters(), []),
        (Conditions(), []),
        (on(IMPOSSIBLE, IMPOSSIBLE, of=stretched(other_cpu_seconds=RUN_SECONDS)), []),
    ],
)  # fmt: skip
def test_reasons(conditions: Conditions, words: list[str]) -> None:
    assert words_of(conditions) == words
    assert assess(conditions).verdict == ("suspect" if words else "clean")


# Several reasons


def everything() -> Conditions:
    """Every reason at once, at its worst."""
    bad = dict.fromkeys(
        ("other_cpu_seconds", "steal_seconds", "throttled_seconds", "memory_stall_seconds"), 99.0
    ) | {"swapped_bytes": 2**40, "suspended_seconds": 3_600.0}
    surroundings = factories.surroundings(
        affinity_cores=1, on_battery=True, clock_mhz=100.0, temperature_celsius=120.0,
        memory_available_bytes=0,
    )  # fmt: skip
    idle = {"own_cpu_seconds": 0.0, "wall_seconds": 99.0}
    return Conditions(
        surroundings=(factories.surroundings(affinity_cores=1), surroundings),
        calibration_seconds=(0.02, 0.2),
        stretches=(
            *warm([PACE] * (2 * THIRD) + [PACE * 9] * THIRD, **bad),
            *factories.training_stretches([PACE * 9] * 3, **(bad | idle)),
        ),
        exclusive=False,
    )


def test_reasons_are_complete_and_sorted_worst_first() -> None:
    assessment = assess(everything())
    ranks = [VERDICTS.index(reason.verdict) for reason in assessment.reasons]
    assert ranks == sorted(ranks, reverse=True)
    assert {VERDICTS[index] for index in ranks} == {"suspect", "invalid"}
    words = [reason.words for reason in assessment.reasons]
    assert set(words) == {
        *(threshold.words for threshold in CASES),
        "on battery",
        "limited cores",
        "not exclusive",
    }
    assert len(words) == len(set(words))
    assert all(reason.detail for reason in assessment.reasons)
    assert not any("," in each for each in words)  # which separates them in MLflow's tag
    assert assessment.verdict == "invalid"


# The idle machine


def test_the_machine_now() -> None:
    assert assess_now(factories.stretch(), factories.surroundings()).reasons == ()
    busy = factories.stretch(other_cpu_seconds=factories.STRETCH_SECONDS * factories.CORES)
    assessment = assess_now(busy, factories.surroundings(on_battery=True))
    assert [reason.words for reason in assessment.reasons] == ["other load", "on battery"]
    assert assessment.verdict == "invalid"


# Any conditions

SECONDS = st.floats(0, 1e6)
MAYBE_SECONDS = st.none() | SECONDS
MAYBE_COUNT = st.none() | st.integers(0, 2**40)
SIGNED = st.none() | st.floats(-1e3, 1e6)
CORES = st.none() | st.integers(1, 256)
SOME_SHARES = ("steal_seconds", "throttled_seconds", "memory_stall_seconds")
STRETCH = st.builds(
    Stretch, wall_seconds=SECONDS, own_cpu_seconds=SECONDS, family_cpu_seconds=MAYBE_SECONDS,
    other_cpu_seconds=SIGNED, suspended_seconds=SIGNED, swapped_bytes=MAYBE_COUNT,
    **dict.fromkeys(SOME_SHARES, MAYBE_SECONDS),
)  # fmt: skip
DISTURBANCES = ("other_cpu_seconds", "suspended_seconds", "swapped_bytes", *SOME_SHARES)
TRAINING = st.builds(
    TrainingStretch, step=st.just(0), steps=st.integers(0, 100), train_seconds=SECONDS,
    rss_bytes=st.none(), seen=STRETCH,
)  # fmt: skip
SURROUNDINGS = st.builds(
    Surroundings, logical_cores=CORES, affinity_cores=CORES,
    quota_cores=st.none() | st.floats(0.01, 256), clock_mhz=st.none() | st.floats(0, 1e4),
    on_battery=st.none() | st.booleans(), temperature_celsius=st.none() | st.floats(-50, 200),
    memory_available_bytes=MAYBE_COUNT, memory_total_bytes=MAYBE_COUNT,
)  # fmt: skip
CONDITIONS = st.builds(
    Conditions,
    surroundings=st.lists(SURROUNDINGS, max_size=3).map(tuple),
    calibration_seconds=st.lists(SECONDS, max_size=4).map(tuple),
    # Five or six are repeated, so that there are enough for the drift.
    stretches=st.lists(TRAINING, max_size=6).map(
        lambda few: tuple(few * (8 if len(few) > 4 else 1))
    ),
    exclusive=st.booleans(),
)


def optional(kind: type[Record]) -> st.SearchStrategy[set[str]]:
    """Some of the fields that may be unknown."""
    names = [name for name, field in kind.model_fields.items() if not field.is_required()]
    return st.sets(st.sampled_from(names))


@given(CONDITIONS)
def test_every_run_can_be_assessed(conditions: Conditions) -> None:
    assessment = assess(conditions)
    ranks = [VERDICTS.index(reason.verdict) for reason in assessment.reasons]
    assert ranks == sorted(ranks, reverse=True)
    assert 0 not in ranks
    assert assessment.verdict == VERDICTS[max(ranks, default=0)]
    words = [reason.words for reason in assessment.reasons]
    assert len(words) == len(set(words))
    for stretch, surroundings in zip(conditions.stretches, conditions.surroundings, strict=False):
        assert assess_now(stretch.seen, surroundings).verdict in VERDICTS


@given(CONDITIONS.filter(lambda conditions: conditions.stretches), st.data(), st.floats(1e-3, 1e6))
def test_more_of_a_disturbance_never_improves_a_verdict(
    conditions: Conditions, data: st.DataObject, more: float
) -> None:
    index = data.draw(st.integers(0, len(conditions.stretches) - 1))
    stretches, seen = list(conditions.stretches), conditions.stretches[index].seen
    for name in DISTURBANCES:
        before = getattr(seen, name)
        if before is not None:
            after = before + (round(more) if isinstance(before, int) else more)
            disturbed = seen.model_copy(update={name: after})
            stretches[index] = stretches[index].model_copy(update={"seen": disturbed})
            worse = conditions.model_copy(update={"stretches": tuple(stretches)})
            assert rank(worse) >= rank(conditions), name


@given(
    CONDITIONS,
    st.lists(optional(Stretch), min_size=1),
    st.lists(optional(Surroundings), min_size=1),
)
def test_unknown_values_never_make_a_verdict_worse(
    conditions: Conditions, of_stretches: list[set[str]], of_surroundings: list[set[str]]
) -> None:
    stretches = []
    for stretch, names in zip(conditions.stretches, cycle(of_stretches), strict=False):
        if "family_cpu_seconds" in names:  # other load is what is left of all load without it
            names |= {"other_cpu_seconds"}
        unknown = stretch.seen.model_copy(update=dict.fromkeys(names))
        stretches.append(stretch.model_copy(update={"seen": unknown}))
    readings = [
        reading.model_copy(update=dict.fromkeys(names))
        for reading, names in zip(conditions.surroundings, cycle(of_surroundings), strict=False)
    ]
    less = conditions.model_copy(
        update={"stretches": tuple(stretches), "surroundings": tuple(readings)}
    )
    assert rank(less) <= rank(conditions)
