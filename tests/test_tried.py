"""What a study's trials took together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnist_bench.tried import Tried, searched_seconds


def tried(number: int, seconds: float | None, begun: float | None = None, **changes: int) -> Tried:
    """A trial that began so many seconds after the first and took so many."""
    at = None if begun is None else round(begun * 1_000)
    return Tried(
        number=number, state="finished", chosen={}, seconds=seconds, begun_at_ms=at, **changes
    )


def test_trials_one_after_the_other_add_up() -> None:
    assert searched_seconds((tried(0, 10.0, 0), tried(1, 5.0, 10), tried(2, 1.0, 60))) == 16


def test_trials_beside_one_another_count_once() -> None:
    # 0 to 10 with 2 to 8 inside it and 9 to 14 across its end; 20 to 21 apart.
    trials = (tried(0, 10.0, 0), tried(1, 6.0, 2), tried(2, 5.0, 9), tried(3, 1.0, 20))
    assert searched_seconds(trials) == pytest.approx(15)
    assert searched_seconds(trials[::-1]) == pytest.approx(15)


def test_where_no_beginning_is_known_trials_add_up() -> None:
    assert searched_seconds((tried(0, 10.0), tried(1, 5.0), tried(2, None))) == 15
    assert searched_seconds(()) == 0


def test_what_was_left_behind_has_no_time() -> None:
    trials = (tried(0, 10.0, 0), tried(1, 9_000.0, 10), tried(2, 5.0, 9_100, retry_of=1))
    assert searched_seconds(trials) == 15


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(1, 20)), max_size=8))
def test_it_is_how_long_any_trial_went_on(spans: list[tuple[int, int]]) -> None:
    trials = tuple(tried(n, float(took), begun) for n, (begun, took) in enumerate(spans))
    busy = {second for begun, took in spans for second in range(begun, begun + took)}
    assert searched_seconds(trials) == pytest.approx(len(busy))
