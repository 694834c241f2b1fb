"""Search time of a study."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnist_bench.tuning.trial import StudyTrial, searched_seconds


def trial(
    number: int, seconds: float | None, start: float | None = None, **changes: Any
) -> StudyTrial:
    """A trial with this duration and start, in seconds."""
    at = None if start is None else round(start * 1_000)
    return StudyTrial(
        number=number, state="finished", chosen={}, seconds=seconds, begun_at_ms=at, **changes
    )


def test_consecutive_trials_add_up() -> None:
    assert searched_seconds((trial(0, 10.0, 0), trial(1, 5.0, 10), trial(2, 1.0, 60))) == 16


def test_concurrent_trials_count_once() -> None:
    # 0 to 10 with 2 to 8 inside it and 9 to 14 across its end; 20 to 21 apart.
    trials = (trial(0, 10.0, 0), trial(1, 6.0, 2), trial(2, 5.0, 9), trial(3, 1.0, 20))
    assert searched_seconds(trials) == pytest.approx(15)
    assert searched_seconds(trials[::-1]) == pytest.approx(15)


def test_trials_without_a_start_time_add_up() -> None:
    assert searched_seconds((trial(0, 10.0), trial(1, 5.0), trial(2, None))) == 15
    assert searched_seconds(()) == 0


def test_retried_trials_are_left_out() -> None:
    trials = (trial(0, 10.0, 0), trial(1, 9_000.0, 10), trial(2, 5.0, 9_100, retry_of=1))
    assert searched_seconds(trials) == 15


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(1, 20)), max_size=8))
def test_searched_seconds_is_the_busy_time(spans: list[tuple[int, int]]) -> None:
    trials = tuple(trial(n, float(length), start) for n, (start, length) in enumerate(spans))
    busy = {second for start, length in spans for second in range(start, start + length)}
    assert searched_seconds(trials) == pytest.approx(len(busy))


def test_machines_add_up_with_different_clocks() -> None:
    # The second machine's clock is an hour ahead; its trials ran at the same time.
    trials = (
        trial(0, 10.0, 0, machine_id="a"),
        trial(1, 6.0, 3_602, machine_id="b"),
        trial(2, 5.0, 3_605, machine_id="b"),
    )
    assert searched_seconds(trials) == pytest.approx(10 + 8)
