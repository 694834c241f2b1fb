"""Verdicts of runs, with conditions around each threshold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import factories
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnist_bench.measurement import quality
from mnist_bench.measurement.conditions import Conditions, Stretch, Surroundings, TrainingStretch
from mnist_bench.measurement.quality import VERDICTS, Reason, Threshold, Verdict, assess, assess_now

NUDGE = 1e-6
"""Relative change that is larger than rounding errors."""
STRETCHES = 12
PACE = 0.16
"""Seconds per step of the quiet run."""
RUN_SECONDS = STRETCHES * factories.STRETCH_SECONDS


def verdict_of(words: str, conditions: Conditions) -> Verdict:
    """Verdict of one reason."""
    return next((r.verdict for r in assess(conditions).reasons if r.words == words), "clean")


def words_of(conditions: Conditions) -> list[str]:
    return [reason.words for reason in assess(conditions).reasons]


def rank(conditions: Conditions) -> int:
    return VERDICTS.index(assess(conditions).verdict)


def stretched(**changes: Any) -> Conditions:
    """Conditions with these values in the last stretch."""
    stretches = factories.training_stretches([PACE] * STRETCHES)
    last = stretches[-1].model_copy(update={"seen": factories.stretch(**changes)})
    return factories.conditions(stretches=(*stretches[:-1], last))


def ended_with(**changes: Any) -> Conditions:
    return factories.conditions(
        surroundings=(factories.surroundings(), factories.surroundings(**changes))
    )


def uneven(share: float) -> Conditions:
    """One of eight warm stretches is slower, by this share of their total time."""
    slow = (1 + 7 * share) / (1 - share)
    assert slow > quality.SLOW_STRETCH
    return trained([PACE] * 7 + [PACE * slow])


def drifted(drift: float) -> Conditions:
    third = quality.DRIFT_STRETCHES // 3
    return trained([PACE] * (quality.DRIFT_STRETCHES - third) + [PACE * (1 + drift)] * third)


def waited(share: float) -> Conditions:
    """Ten stretches, the last of which waited for this share of the total time."""
    idle_seconds = 9 * factories.STRETCH_SECONDS * share / (1 - share)
    stretches = warm([PACE] * 10)
    idle = factories.stretch(wall_seconds=idle_seconds, own_cpu_seconds=0.0)
    last = stretches[-1].model_copy(update={"seen": idle})
    return factories.conditions(stretches=(*stretches[:-1], last))


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
    quality.OTHER_LOAD: lambda share: stretched(
        other_cpu_seconds=share * RUN_SECONDS * factories.CORES
    ),
    quality.STEAL: lambda share: stretched(steal_seconds=share * RUN_SECONDS * factories.CORES),
    quality.THROTTLED: lambda share: stretched(throttled_seconds=share * RUN_SECONDS),
    quality.WAITED: waited,
    quality.UNEVEN: uneven,
    quality.DRIFT: drifted,
    quality.CALIBRATION_DRIFT: lambda drift: factories.conditions(
        calibration_seconds=(0.02, 0.02 * (1 + drift))
    ),
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
        ("other load", "50.0%", stretched(other_cpu_seconds=RUN_SECONDS * factories.CORES / 2)),
        ("steal", "25.0%", stretched(steal_seconds=RUN_SECONDS * factories.CORES / 4)),
        ("throttled", "50.0%", stretched(throttled_seconds=RUN_SECONDS / 2)),
        ("memory pressure", "50.0%", stretched(memory_stall_seconds=RUN_SECONDS / 2)),
        ("suspended", "12.0 s", stretched(suspended_seconds=12.0)),
        ("swapping", "1,024 MiB", stretched(swapped_bytes=2**30)),
        ("kept waiting", "50.0%", waited(0.5)),
        ("uneven steps", "60.0%", uneven(0.6)),
        ("drift of step time", "80.0%", drifted(0.8)),
        ("calibration drift", "50.0%", factories.conditions(calibration_seconds=(0.03, 0.02))),
        ("clock fell", "50.0%", ended_with(clock_mhz=1_500.0)),
        ("hot", "101 °C", ended_with(temperature_celsius=101.0)),
        ("memory full", "99.0%", memory_used(0.99)),
        ("on battery", "not on mains power", ended_with(on_battery=True)),
        (
            "limited cores",
            "1.5 of 4",
            factories.conditions(surroundings=(factories.surroundings(quota_cores=1.5),)),
        ),
    ],
)
def test_detail_of_a_reason(words: str, figure: str, conditions: Conditions) -> None:
    assert [r.detail for r in assess(conditions).reasons if r.words == words] == [figure]


# Load


def test_load_is_relative_to_the_usable_cores() -> None:
    seconds = quality.OTHER_LOAD.suspect * RUN_SECONDS * 2 * (1 + NUDGE)
    loaded = stretched(other_cpu_seconds=seconds)
    assert verdict_of("other load", loaded) == "clean"  # relative to four cores
    halved = loaded.model_copy(update={"surroundings": (factories.surroundings(affinity_cores=2),)})
    assert verdict_of("other load", halved) == "suspect"


def test_coarse_ticks_of_other_load_average_out() -> None:
    """Excess ticks in one stretch are missing in another."""
    stretches = factories.training_stretches([PACE] * STRETCHES)
    above = factories.stretch(other_cpu_seconds=factories.STRETCH_SECONDS * factories.CORES)
    below = factories.stretch(other_cpu_seconds=-factories.STRETCH_SECONDS * factories.CORES)
    both = [s.model_copy(update={"seen": above if s.step % 100 else below}) for s in stretches]
    assert "other load" not in words_of(factories.conditions(stretches=tuple(both)))


# Pace


def test_stretches_are_compared_by_time_per_step() -> None:
    even = [
        TrainingStretch(
            step=0,
            steps=steps,
            train_seconds=steps * PACE,
            rss_bytes=None,
            seen=factories.stretch(),
        )
        for steps in (1, 50, 50, 9, 41, 50, 50, 9, 41, 50, 50, 49) * 4
    ]
    assert words_of(factories.conditions(stretches=tuple(even))) == []


def test_the_first_stretches_are_excluded() -> None:
    """They may be slow or wait for memory even on a quiet machine."""
    stretches = factories.training_stretches([PACE * 9] * quality.WARM_UP_STRETCHES + [PACE] * 10)
    idle = factories.stretch(own_cpu_seconds=0.0)
    cold = [s.model_copy(update={"seen": idle}) for s in stretches[: quality.WARM_UP_STRETCHES]]
    rest = stretches[quality.WARM_UP_STRETCHES :]
    assert words_of(factories.conditions(stretches=(*cold, *rest))) == []


def test_speeding_up_is_drift() -> None:
    third = quality.DRIFT_STRETCHES // 3
    faster = trained([PACE * 2] * third + [PACE] * (quality.DRIFT_STRETCHES - third))
    assert verdict_of("drift of step time", faster) != "clean"


def test_drift_requires_enough_stretches() -> None:
    rising = [PACE * 1.05**number for number in range(quality.DRIFT_STRETCHES)]
    assert verdict_of("drift of step time", trained(rising)) != "clean"
    assert verdict_of("drift of step time", trained(rising[:-1])) == "clean"


@pytest.mark.parametrize("share", [1.01, 0.99])
def test_slightly_less_processor_time_is_not_waiting(share: float) -> None:
    """Four of ten stretches got somewhat less processor time than usual."""
    less = factories.stretch(own_cpu_seconds=24.0 * quality.BUSY_ENOUGH * share)
    stretches = list(warm([PACE] * 10))
    stretches[-4:] = [s.model_copy(update={"seen": less}) for s in stretches[-4:]]
    verdict = verdict_of("kept waiting", factories.conditions(stretches=tuple(stretches)))
    assert (verdict == "clean") is (share > 1)


def test_without_processor_time_there_is_no_waiting() -> None:
    conditions = factories.conditions(stretches=warm([PACE] * 10, own_cpu_seconds=0.0))
    assert words_of(conditions) == []


@pytest.mark.parametrize("warm_stretches", [0, 1])
def test_one_stretch_can_not_be_uneven(warm_stretches: int) -> None:
    assert words_of(trained([PACE * 9] * warm_stretches)) == []


def test_stretches_of_zero_seconds_are_accepted() -> None:
    assert words_of(trained([0.0] * 4 + [PACE] * 8)) == []
    assert words_of(trained([0.0] * quality.DRIFT_STRETCHES)) == []
    instant = warm([PACE] * 10, wall_seconds=0.0)
    assert words_of(factories.conditions(stretches=instant)) == []


# Calibration


def test_several_calibrations_give_one_reason() -> None:
    factor = 1 + quality.CALIBRATION_DRIFT.suspect * 2
    varying = factories.conditions(calibration_seconds=(0.02, 0.02 * factor, 0.02, 0.02 * factor))
    assert words_of(varying) == ["calibration drift"]


def test_faster_calibration_is_drift() -> None:
    factor = 1 + quality.CALIBRATION_DRIFT.suspect * (1 + NUDGE)
    assert words_of(factories.conditions(calibration_seconds=(0.02 * factor, 0.02))) == [
        "calibration drift"
    ]


@pytest.mark.parametrize("seconds", [(), (0.02,)])
def test_one_calibration_has_no_drift(seconds: tuple[float, ...]) -> None:
    assert words_of(factories.conditions(calibration_seconds=seconds)) == []


# Surroundings


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"on_battery": True}, ["on battery"]),
        ({"on_battery": None, "battery_percent": None}, []),
        ({"battery_percent": 3.0}, []),
        ({"affinity_cores": 3}, ["limited cores"]),
        ({"quota_cores": 3.5}, ["limited cores"]),
        ({"quota_cores": 4.0}, []),
        ({"quota_cores": 64.0}, []),
        ({"affinity_cores": None}, []),
    ],
)
def test_reasons_without_a_threshold(changes: dict[str, Any], words: list[str]) -> None:
    conditions = factories.conditions(surroundings=(factories.surroundings(**changes),))
    assert words_of(conditions) == words
    assert assess(conditions).verdict == ("suspect" if words else "clean")


def test_battery_at_any_time_makes_a_run_suspect() -> None:
    readings = [factories.surroundings(on_battery=state) for state in (False, True, None, False)]
    assert words_of(factories.conditions(surroundings=tuple(readings))) == ["on battery"]


def test_a_run_that_is_not_exclusive_is_suspect() -> None:
    assert words_of(factories.conditions(exclusive=False)) == ["not exclusive"]
    assert assess(factories.conditions(exclusive=False)).verdict == "suspect"


# Several reasons


def everything() -> Conditions:
    """Every reason at once, at its worst."""
    bad = {
        "other_cpu_seconds": 99.0,
        "steal_seconds": 99.0,
        "throttled_seconds": 99.0,
        "memory_stall_seconds": 99.0,
        "swapped_bytes": 2**40,
        "suspended_seconds": 3_600.0,
    }
    surroundings = factories.surroundings(
        affinity_cores=1,
        on_battery=True,
        clock_mhz=100.0,
        temperature_celsius=120.0,
        memory_available_bytes=0,
    )
    third = quality.DRIFT_STRETCHES // 3
    paces = [PACE] * (2 * third) + [PACE * 9] * third
    idle = factories.training_stretches(
        [PACE * 9] * 3, **(bad | {"own_cpu_seconds": 0.0, "wall_seconds": 99.0})
    )
    return Conditions(
        surroundings=(factories.surroundings(affinity_cores=1), surroundings),
        calibration_seconds=(0.02, 0.2),
        stretches=(*warm(paces, **bad), *idle),
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
    assert assessment.verdict == "invalid"


def test_reason_names_contain_no_comma() -> None:
    for reason in assess(everything()).reasons:
        assert "," not in reason.words
        assert len(reason.words.splitlines()) == 1
        assert reason.detail


# A step count that is part of a longer training


def test_a_shorter_step_count_ignores_later_conditions() -> None:
    stretches = factories.training_stretches([PACE] * STRETCHES)
    suspended = factories.stretch(suspended_seconds=3_600.0)
    later = stretches[-1].model_copy(update={"seen": suspended})
    whole = factories.conditions(
        surroundings=(*[factories.surroundings()] * 3, factories.surroundings(on_battery=True)),
        calibration_seconds=(0.02, 0.02, 0.09),
        stretches=(*stretches[:-1], later),
    )
    short = factories.conditions(
        surroundings=whole.surroundings[:3],
        calibration_seconds=whole.calibration_seconds[:2],
        stretches=whole.stretches[:-1],
    )
    assert words_of(whole) == ["suspended", "calibration drift", "on battery"]
    assert assess(short).reasons == ()


# Unknown values


def test_a_run_with_unknown_conditions_is_clean() -> None:
    unknown = Stretch(wall_seconds=8.0, own_cpu_seconds=24.0)
    stretches = [
        s.model_copy(update={"seen": unknown})
        for s in factories.training_stretches([PACE] * STRETCHES)
    ]
    unknown_host = Conditions(surroundings=(Surroundings(),) * 2, stretches=tuple(stretches))
    assert assess(unknown_host).reasons == assess(Conditions()).reasons == ()


def test_load_with_an_unknown_number_of_cores_is_ignored() -> None:
    loaded = stretched(other_cpu_seconds=RUN_SECONDS)
    unknown_host = loaded.model_copy(update={"surroundings": (Surroundings(), Surroundings())})
    assert verdict_of("other load", loaded) != "clean"
    assert verdict_of("other load", unknown_host) == "clean"


def test_impossible_values_are_ignored() -> None:
    zeros = dict.fromkeys(("logical_cores", "affinity_cores", "memory_total_bytes"), 0)
    surroundings = factories.surroundings(**zeros, quota_cores=0.0, clock_mhz=0.0)
    conditions = stretched(other_cpu_seconds=RUN_SECONDS).model_copy(
        update={"surroundings": (surroundings, surroundings), "calibration_seconds": (0.0, 0.02)}
    )
    assert words_of(conditions) == []


# The idle machine


def test_an_idle_machine_is_clean() -> None:
    assert assess_now(factories.stretch(), factories.surroundings()).reasons == ()


def test_a_busy_machine_is_invalid() -> None:
    busy = factories.stretch(other_cpu_seconds=factories.STRETCH_SECONDS * factories.CORES)
    assessment = assess_now(busy, factories.surroundings(on_battery=True))
    assert [reason.words for reason in assessment.reasons] == ["other load", "on battery"]
    assert assessment.verdict == "invalid"


# Any conditions

SECONDS = st.floats(0, 1e6)
MAYBE_SECONDS = st.none() | SECONDS
MAYBE_COUNT = st.none() | st.integers(0, 2**40)
STRETCH = st.builds(
    Stretch,
    wall_seconds=SECONDS,
    own_cpu_seconds=SECONDS,
    family_cpu_seconds=MAYBE_SECONDS,
    other_cpu_seconds=st.none() | st.floats(-1e3, 1e6),
    steal_seconds=MAYBE_SECONDS,
    throttled_seconds=MAYBE_SECONDS,
    memory_stall_seconds=MAYBE_SECONDS,
    swapped_bytes=MAYBE_COUNT,
    suspended_seconds=st.none() | st.floats(-1e3, 1e6),
)
TRAINING = st.builds(
    TrainingStretch,
    step=st.integers(0, 10**6),
    steps=st.integers(0, 100),
    train_seconds=SECONDS,
    rss_bytes=MAYBE_COUNT,
    seen=STRETCH,
)
SURROUNDINGS = st.builds(
    Surroundings,
    logical_cores=st.none() | st.integers(1, 256),
    affinity_cores=st.none() | st.integers(1, 256),
    quota_cores=st.none() | st.floats(0.01, 256),
    governor=st.none() | st.text(max_size=8),
    clock_mhz=st.none() | st.floats(0, 1e4),
    on_battery=st.none() | st.booleans(),
    battery_percent=st.none() | st.floats(0, 100),
    temperature_celsius=st.none() | st.floats(-50, 200),
    memory_available_bytes=MAYBE_COUNT,
    memory_total_bytes=MAYBE_COUNT,
    swap_used_bytes=MAYBE_COUNT,
)


def _many(stretches: list[TrainingStretch]) -> list[TrainingStretch]:
    """Repeat the stretches, so that the run has enough for the drift."""
    return stretches * (quality.DRIFT_STRETCHES // 4) if len(stretches) > 4 else stretches


CONDITIONS = st.builds(
    Conditions,
    surroundings=st.lists(SURROUNDINGS, max_size=4).map(tuple),
    calibration_seconds=st.lists(SECONDS, max_size=4).map(tuple),
    stretches=st.lists(TRAINING, max_size=12).map(_many).map(tuple),
    exclusive=st.booleans(),
)
OPTIONAL = {
    kind: [name for name, field in kind.model_fields.items() if not field.is_required()]
    for kind in (Stretch, Surroundings)
}


@given(CONDITIONS)
def test_every_run_can_be_assessed(conditions: Conditions) -> None:
    assessment = assess(conditions)
    ranks = [VERDICTS.index(reason.verdict) for reason in assessment.reasons]
    assert ranks == sorted(ranks, reverse=True)
    assert 0 not in ranks
    assert assessment.verdict == VERDICTS[max(ranks, default=0)]
    words = [reason.words for reason in assessment.reasons]
    assert len(words) == len(set(words))


@given(STRETCH, SURROUNDINGS)
def test_every_idle_sample_can_be_assessed(stretch: Stretch, surroundings: Surroundings) -> None:
    assert assess_now(stretch, surroundings).verdict in VERDICTS


@given(
    conditions=CONDITIONS.filter(lambda conditions: conditions.stretches),
    data=st.data(),
    more=st.floats(1e-3, 1e6),
)
@pytest.mark.parametrize(
    "name",
    [
        "other_cpu_seconds",
        "steal_seconds",
        "throttled_seconds",
        "memory_stall_seconds",
        "suspended_seconds",
        "swapped_bytes",
    ],
)
def test_more_of_a_disturbance_never_improves_a_verdict(
    name: str, conditions: Conditions, data: st.DataObject, more: float
) -> None:
    index = data.draw(st.integers(0, len(conditions.stretches) - 1))
    stretches = list(conditions.stretches)
    before = getattr(stretches[index].seen, name)
    if before is None:
        return
    after = before + (round(more) if isinstance(before, int) else more)
    disturbed = stretches[index].seen.model_copy(update={name: after})
    stretches[index] = stretches[index].model_copy(update={"seen": disturbed})
    worse = conditions.model_copy(update={"stretches": tuple(stretches)})
    assert rank(worse) >= rank(conditions)


@given(conditions=CONDITIONS, data=st.data())
def test_unknown_values_never_make_a_verdict_worse(
    conditions: Conditions, data: st.DataObject
) -> None:
    stretches, readings = list(conditions.stretches), list(conditions.surroundings)
    for index, stretch in enumerate(stretches):
        unknown = dict.fromkeys(data.draw(st.sets(st.sampled_from(OPTIONAL[Stretch]))))
        unknown_state = stretch.seen.model_copy(update=unknown)
        if "family_cpu_seconds" in unknown or "other_cpu_seconds" in unknown:
            unknown_state = unknown_state.model_copy(update={"other_cpu_seconds": None})
        stretches[index] = stretch.model_copy(update={"seen": unknown_state})
    for index, reading in enumerate(readings):
        names = data.draw(st.sets(st.sampled_from(OPTIONAL[Surroundings])))
        readings[index] = reading.model_copy(update=dict.fromkeys(names))
    less = conditions.model_copy(
        update={"stretches": tuple(stretches), "surroundings": tuple(readings)}
    )
    assert rank(less) <= rank(conditions)
