"""Differences and totals of counters."""

from __future__ import annotations

from itertools import pairwise

import factories
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mnist_bench.measurement.conditions import (
    Conditions,
    Counters,
    Surroundings,
    between,
    total,
)

START = Counters(
    clock_seconds=100.0,
    suspended_seconds=5.0,
    own_cpu_seconds=10.0,
    family_cpu_seconds=3.0,
    busy_cpu_seconds=1_000.0,
    steal_seconds=2.0,
    throttled_seconds=4.0,
    memory_stall_seconds=6.0,
    swapped_bytes=4_096,
    processor_joules=50.0,
    battery_joules=180_000.0,
)
END = Counters(
    clock_seconds=108.0,
    suspended_seconds=35.0,
    own_cpu_seconds=22.0,
    family_cpu_seconds=3.5,
    busy_cpu_seconds=1_014.5,
    steal_seconds=2.25,
    throttled_seconds=5.0,
    memory_stall_seconds=6.5,
    swapped_bytes=12_288,
    processor_joules=290.0,
    battery_joules=179_640.0,
)
OPTIONAL = [
    name for name in Counters.model_fields if name not in {"clock_seconds", "own_cpu_seconds"}
]


def test_differences_of_two_readings() -> None:
    stretch = between(START, END)
    assert stretch.model_dump() == {
        "wall_seconds": 8.0,
        "own_cpu_seconds": 12.0,
        "family_cpu_seconds": 0.5,
        "other_cpu_seconds": 2.0,  # 14.5 busy, minus 12 of its own and 0.5 of its parent
        "steal_seconds": 0.25,
        "throttled_seconds": 1.0,
        "memory_stall_seconds": 0.5,
        "swapped_bytes": 8_192,
        "suspended_seconds": 30.0,
        "processor_joules": 240.0,
        "battery_joules": 360.0,  # drawn from it
    }


@pytest.mark.parametrize(
    ("changes", "family_seconds", "other_seconds"),
    [
        ({"busy_cpu_seconds": 1_012.25}, 0.5, -0.25),  # ticks are coarse: it keeps its sign
        ({"family_cpu_seconds": None}, None, 2.5),
    ],
)
def test_other_load(
    changes: dict[str, float | None], family_seconds: float | None, other_seconds: float
) -> None:
    stretch = between(START, END.model_copy(update=changes))
    assert (stretch.family_cpu_seconds, stretch.other_cpu_seconds) == (
        family_seconds,
        other_seconds,
    )


@pytest.mark.parametrize("name", OPTIONAL)
@pytest.mark.parametrize("which", ["start", "end", "both"])
def test_a_value_missing_in_one_reading_is_unknown(name: str, which: str) -> None:
    start = START if which == "end" else START.model_copy(update={name: None})
    end = END if which == "start" else END.model_copy(update={name: None})
    field = name.replace("busy", "other")
    assert getattr(between(START, END), field) is not None
    assert getattr(between(start, end), field) is None


def test_a_total_requires_every_value() -> None:
    stretches = [factories.stretch(steal_seconds=seconds) for seconds in (0.5, 0.25, 1.0)]
    assert total(stretches, lambda s: s.steal_seconds) == 1.75
    stretches.append(factories.stretch(steal_seconds=None))
    assert total(stretches, lambda s: s.steal_seconds) is None
    assert total([], lambda s: s.steal_seconds) is None


@pytest.mark.parametrize(
    ("logical", "affinity", "quota", "usable"),
    [
        (8, 8, None, 8),
        (8, 2, None, 2),
        (8, 8, 1.5, 1.5),
        (8, 1, 1.5, 1),
        (8, None, None, 8),
        (None, None, 0.5, 0.5),
        (None, None, None, None),
    ],
)
def test_usable_cores(
    logical: int | None, affinity: int | None, quota: float | None, usable: float | None
) -> None:
    surroundings = Surroundings(logical_cores=logical, affinity_cores=affinity, quota_cores=quota)
    assert surroundings.usable_cores == usable


@given(
    readings=st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1e6)), min_size=2, max_size=8),
)
def test_stretches_add_up_to_the_total(readings: list[tuple[float, float]]) -> None:
    counters = [
        Counters(clock_seconds=clock, own_cpu_seconds=0.0, busy_cpu_seconds=busy)
        for clock, busy in zip(*map(sorted, zip(*readings, strict=True)), strict=True)
    ]
    pieces = [between(*pair) for pair in pairwise(counters)]
    whole = between(counters[0], counters[-1])
    assert total(pieces, lambda s: s.wall_seconds) == pytest.approx(whole.wall_seconds, abs=1e-6)
    assert total(pieces, lambda s: s.other_cpu_seconds) == pytest.approx(
        whole.other_cpu_seconds, abs=1e-6
    )


def test_conditions_json_round_trip() -> None:
    for conditions in (factories.conditions(), Conditions()):
        assert Conditions.model_validate_json(conditions.model_dump_json()) == conditions


def test_an_unknown_value_is_null_and_never_nan() -> None:
    assert Surroundings().model_dump_json().count("null") == len(Surroundings.model_fields)
    with pytest.raises(ValidationError, match="finite number"):
        Surroundings(clock_mhz=float("nan"))
