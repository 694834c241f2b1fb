"""Whether a run can be trusted, by hand-made conditions around each limit."""

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
"""Of a figure: larger than what rounding does to it."""
STRETCHES = 12
PACE = 0.16
"""Seconds a step of the quiet run."""
RUN_SECONDS = STRETCHES * factories.STRETCH_SECONDS


def verdict_of(words: str, conditions: Conditions) -> Verdict:
    """What one reason makes of a run."""
    return next((r.verdict for r in assess(conditions).reasons if r.words == words), "clean")


def words_of(conditions: Conditions) -> list[str]:
    return [reason.words for reason in assess(conditions).reasons]


def rank(conditions: Conditions) -> int:
    return VERDICTS.index(assess(conditions).verdict)


def stretched(**changes: Any) -> Conditions:
    """All of it in the last stretch: what counts is the run."""
    stretches = factories.training_stretches([PACE] * STRETCHES)
    last = stretches[-1].model_copy(update={"seen": factories.stretch(**changes)})
    return factories.conditions(stretches=(*stretches[:-1], last))


def ended_with(**changes: Any) -> Conditions:
    return factories.conditions(
        surroundings=(factories.surroundings(), factories.surroundings(**changes))
    )


def uneven(share: float) -> Conditions:
    """One of eight warm stretches takes longer, by this share of all their time."""
    slow = (1 + 7 * share) / (1 - share)
    assert slow > quality.SLOW_STRETCH
    return trained([PACE] * 7 + [PACE * slow])


def drifted(drift: float) -> Conditions:
    third = quality.DRIFT_STRETCHES // 3
    return trained([PACE] * (quality.DRIFT_STRETCHES - third) + [PACE * (1 + drift)] * third)


def waited(share: float) -> Conditions:
    """Ten stretches, the last of which did not run for so long that this share was waited."""
    idle_seconds = 9 * factories.STRETCH_SECONDS * share / (1 - share)
    stretches = warm([PACE] * 10)
    idle = factories.stretch(wall_seconds=idle_seconds, own_cpu_seconds=0.0)
    last = stretches[-1].model_copy(update={"seen": idle})
    return factories.conditions(stretches=(*stretches[:-1], last))


def warm(paces: list[float], **changes: Any) -> tuple[TrainingStretch, ...]:
    """Stretches of these paces, after those that warm up."""
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
EVERY_LIMIT = pytest.mark.parametrize("limits", CASES, ids=lambda limits: limits.words)


# Each reason, around its limits


def test_a_quiet_run_is_clean() -> None:
    judged = assess(factories.conditions())
    assert (judged.verdict, judged.reasons) == ("clean", ())


def test_every_limit_is_tried_here() -> None:
    assert set(CASES) == set(quality.THRESHOLDS)
    assert len({limits.words for limits in CASES}) == len(CASES)
    assert all(limits.figure for limits in CASES)


@EVERY_LIMIT
def test_under_the_limit_is_clean_and_at_it_suspect(limits: Threshold) -> None:
    made = CASES[limits]
    assert verdict_of(limits.words, made(limits.suspect * (1 - NUDGE))) == "clean"
    at = assess(made(limits.suspect * (1 + NUDGE)))
    assert [r.verdict for r in at.reasons if r.words == limits.words] == ["suspect"]
    assert at.verdict != "clean"


@EVERY_LIMIT
def test_what_spoils_a_run(limits: Threshold) -> None:
    made = CASES[limits]
    if limits.invalid is None:
        # Far beyond the limit it is no worse: half of what is left, or many times as much.
        far = (1 + limits.suspect) / 2 if limits.suspect < 1 else limits.suspect * 100
        assert verdict_of(limits.words, made(far)) == "suspect"
        return
    assert limits.suspect < limits.invalid
    assert verdict_of(limits.words, made(limits.invalid * (1 - NUDGE))) == "suspect"
    at = made(limits.invalid * (1 + NUDGE))
    assert verdict_of(limits.words, at) == "invalid"
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
def test_a_limit_is_the_smallest_value_that_counts(
    invalid: float | None, value: float, expected: Verdict
) -> None:
    limits = Threshold("noise", "how loud it was", 1.0, invalid, shown=lambda bels: f"{bels:g} bel")
    assert limits.reason(value) == Reason("noise", f"{value:g} bel", expected)


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
def test_the_figure_behind_a_reason(words: str, figure: str, conditions: Conditions) -> None:
    assert [r.detail for r in assess(conditions).reasons if r.words == words] == [figure]


# Load


def test_load_is_a_share_of_the_cores_that_the_run_might_have_had() -> None:
    seconds = quality.OTHER_LOAD.suspect * RUN_SECONDS * 2 * (1 + NUDGE)
    loaded = stretched(other_cpu_seconds=seconds)
    assert verdict_of("other load", loaded) == "clean"  # of four cores
    halved = loaded.model_copy(update={"surroundings": (factories.surroundings(affinity_cores=2),)})
    assert verdict_of("other load", halved) == "suspect"


def test_coarse_ticks_of_others_even_out() -> None:
    """What was counted too much in one stretch is missing in another."""
    stretches = factories.training_stretches([PACE] * STRETCHES)
    there = factories.stretch(other_cpu_seconds=factories.STRETCH_SECONDS * factories.CORES)
    back = factories.stretch(other_cpu_seconds=-factories.STRETCH_SECONDS * factories.CORES)
    both = [s.model_copy(update={"seen": there if s.step % 100 else back}) for s in stretches]
    assert "other load" not in words_of(factories.conditions(stretches=tuple(both)))


# Pace


def test_stretches_of_unequal_length_are_held_against_each_other_by_the_step() -> None:
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


def test_the_first_stretches_warm_up() -> None:
    """They may be slow, and may wait for memory: that is no fault of the machine's."""
    stretches = factories.training_stretches([PACE * 9] * quality.WARM_UP_STRETCHES + [PACE] * 10)
    idle = factories.stretch(own_cpu_seconds=0.0)
    cold = [s.model_copy(update={"seen": idle}) for s in stretches[: quality.WARM_UP_STRETCHES]]
    rest = stretches[quality.WARM_UP_STRETCHES :]
    assert words_of(factories.conditions(stretches=(*cold, *rest))) == []


def test_a_faster_end_is_a_drift_too() -> None:
    third = quality.DRIFT_STRETCHES // 3
    faster = trained([PACE * 2] * third + [PACE] * (quality.DRIFT_STRETCHES - third))
    assert verdict_of("drift of step time", faster) != "clean"


def test_a_few_stretches_have_no_drift() -> None:
    rising = [PACE * 1.05**number for number in range(quality.DRIFT_STRETCHES)]
    assert verdict_of("drift of step time", trained(rising)) != "clean"
    assert verdict_of("drift of step time", trained(rising[:-1])) == "clean"


@pytest.mark.parametrize("share", [1.01, 0.99])
def test_a_little_less_processor_time_is_no_waiting(share: float) -> None:
    """Four of ten stretches got somewhat less than what is usual."""
    less = factories.stretch(own_cpu_seconds=24.0 * quality.BUSY_ENOUGH * share)
    stretches = list(warm([PACE] * 10))
    stretches[-4:] = [s.model_copy(update={"seen": less}) for s in stretches[-4:]]
    told = verdict_of("kept waiting", factories.conditions(stretches=tuple(stretches)))
    assert (told == "clean") is (share > 1)


def test_a_process_whose_time_is_not_counted_did_not_wait() -> None:
    told = factories.conditions(stretches=warm([PACE] * 10, own_cpu_seconds=0.0))
    assert words_of(told) == []


@pytest.mark.parametrize("warm_stretches", [0, 1])
def test_one_stretch_has_no_pace_to_leave(warm_stretches: int) -> None:
    assert words_of(trained([PACE * 9] * warm_stretches)) == []


def test_a_stretch_too_short_for_the_clock_spoils_nothing() -> None:
    assert words_of(trained([0.0] * 4 + [PACE] * 8)) == []
    assert words_of(trained([0.0] * quality.DRIFT_STRETCHES)) == []
    at_once = warm([PACE] * 10, wall_seconds=0.0)
    assert words_of(factories.conditions(stretches=at_once)) == []


# Calibration


def test_calibrations_are_one_reason_however_many_there_are() -> None:
    d = 1 + quality.CALIBRATION_DRIFT.suspect * 2
    there_and_back = factories.conditions(calibration_seconds=(0.02, 0.02 * d, 0.02, 0.02 * d))
    assert words_of(there_and_back) == ["calibration drift"]


def test_a_machine_that_got_faster_was_slower_before() -> None:
    factor = 1 + quality.CALIBRATION_DRIFT.suspect * (1 + NUDGE)
    assert words_of(factories.conditions(calibration_seconds=(0.02 * factor, 0.02))) == [
        "calibration drift"
    ]


@pytest.mark.parametrize("seconds", [(), (0.02,)])
def test_one_calibration_compares_with_nothing(seconds: tuple[float, ...]) -> None:
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
def test_what_makes_a_run_suspect_by_itself(changes: dict[str, Any], words: list[str]) -> None:
    told = factories.conditions(surroundings=(factories.surroundings(**changes),))
    assert words_of(told) == words
    assert assess(told).verdict == ("suspect" if words else "clean")


def test_a_charger_pulled_for_a_moment_is_not_forgotten() -> None:
    moments = [factories.surroundings(on_battery=state) for state in (False, True, None, False)]
    assert words_of(factories.conditions(surroundings=tuple(moments))) == ["on battery"]


def test_others_let_in_make_a_run_suspect() -> None:
    assert words_of(factories.conditions(exclusive=False)) == ["not exclusive"]
    assert assess(factories.conditions(exclusive=False)).verdict == "suspect"


# Several reasons


def everything() -> Conditions:
    """Every reason at once, as bad as can be."""
    bad = {
        "other_cpu_seconds": 99.0,
        "steal_seconds": 99.0,
        "throttled_seconds": 99.0,
        "memory_stall_seconds": 99.0,
        "swapped_bytes": 2**40,
        "suspended_seconds": 3_600.0,
    }
    moment = factories.surroundings(
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
        surroundings=(factories.surroundings(affinity_cores=1), moment),
        calibration_seconds=(0.02, 0.2),
        stretches=(*warm(paces, **bad), *idle),
        exclusive=False,
    )


def test_worst_first_and_none_is_lost() -> None:
    judged = assess(everything())
    ranks = [VERDICTS.index(reason.verdict) for reason in judged.reasons]
    assert ranks == sorted(ranks, reverse=True)
    assert {VERDICTS[index] for index in ranks} == {"suspect", "invalid"}
    words = [reason.words for reason in judged.reasons]
    assert set(words) == {
        *(limits.words for limits in CASES),
        "on battery",
        "limited cores",
        "not exclusive",
    }
    assert len(words) == len(set(words))
    assert judged.verdict == "invalid"


def test_words_can_be_joined_by_commas() -> None:
    for reason in assess(everything()).reasons:
        assert "," not in reason.words
        assert len(reason.words.splitlines()) == 1
        assert reason.detail


# A row that was cut from a longer trajectory


def test_a_short_row_is_judged_without_what_came_later() -> None:
    stretches = factories.training_stretches([PACE] * STRETCHES)
    asleep = factories.stretch(suspended_seconds=3_600.0)
    later = stretches[-1].model_copy(update={"seen": asleep})
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


# Nothing known


def test_a_run_of_which_nothing_is_known_is_clean() -> None:
    nothing = Stretch(wall_seconds=8.0, own_cpu_seconds=24.0)
    stretches = [
        s.model_copy(update={"seen": nothing})
        for s in factories.training_stretches([PACE] * STRETCHES)
    ]
    blind = Conditions(surroundings=(Surroundings(),) * 2, stretches=tuple(stretches))
    assert assess(blind).reasons == assess(Conditions()).reasons == ()


def test_load_on_nobody_knows_how_many_cores_is_no_share() -> None:
    loaded = stretched(other_cpu_seconds=RUN_SECONDS)
    blind = loaded.model_copy(update={"surroundings": (Surroundings(), Surroundings())})
    assert verdict_of("other load", loaded) != "clean"
    assert verdict_of("other load", blind) == "clean"


def test_figures_that_cannot_be_spoil_nothing() -> None:
    zeros = dict.fromkeys(("logical_cores", "affinity_cores", "memory_total_bytes"), 0)
    moment = factories.surroundings(**zeros, quota_cores=0.0, clock_mhz=0.0)
    told = stretched(other_cpu_seconds=RUN_SECONDS).model_copy(
        update={"surroundings": (moment, moment), "calibration_seconds": (0.0, 0.02)}
    )
    assert words_of(told) == []


# A moment


def test_a_quiet_moment() -> None:
    assert assess_now(factories.stretch(), factories.surroundings()).reasons == ()


def test_a_bad_moment() -> None:
    busy = factories.stretch(other_cpu_seconds=factories.STRETCH_SECONDS * factories.CORES)
    judged = assess_now(busy, factories.surroundings(on_battery=True))
    assert [reason.words for reason in judged.reasons] == ["other load", "on battery"]
    assert judged.verdict == "invalid"


# Whatever was seen

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
    """Enough of a few for a run that has thirds."""
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
def test_every_run_can_be_judged(conditions: Conditions) -> None:
    judged = assess(conditions)
    ranks = [VERDICTS.index(reason.verdict) for reason in judged.reasons]
    assert ranks == sorted(ranks, reverse=True)
    assert 0 not in ranks
    assert judged.verdict == VERDICTS[max(ranks, default=0)]
    words = [reason.words for reason in judged.reasons]
    assert len(words) == len(set(words))


@given(STRETCH, SURROUNDINGS)
def test_every_moment_can_be_judged(stretch: Stretch, surroundings: Surroundings) -> None:
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
def test_to_know_less_never_makes_a_run_worse(conditions: Conditions, data: st.DataObject) -> None:
    stretches, moments = list(conditions.stretches), list(conditions.surroundings)
    for index, stretch in enumerate(stretches):
        blind = dict.fromkeys(data.draw(st.sets(st.sampled_from(OPTIONAL[Stretch]))))
        blind_seen = stretch.seen.model_copy(update=blind)
        if "family_cpu_seconds" in blind or "other_cpu_seconds" in blind:
            blind_seen = blind_seen.model_copy(update={"other_cpu_seconds": None})
        stretches[index] = stretch.model_copy(update={"seen": blind_seen})
    for index, moment in enumerate(moments):
        names = data.draw(st.sets(st.sampled_from(OPTIONAL[Surroundings])))
        moments[index] = moment.model_copy(update=dict.fromkeys(names))
    less = conditions.model_copy(
        update={"stretches": tuple(stretches), "surroundings": tuple(moments)}
    )
    assert rank(less) <= rank(conditions)
