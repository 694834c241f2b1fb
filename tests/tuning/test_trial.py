"""Search time of a study."""

from __future__ import annotations

from typing import Any

import pytest
from factories import finished_trial
from hypothesis import given
from hypothesis import strategies as st

from mnist_bench.tuning.trial import StudyTrial, searched_seconds


def trial(
    number: int, seconds: float | None, start: float | None = None, **changes: Any
) -> StudyTrial:
    """A trial with this duration and start, in seconds."""
    at_ms = None if start is None else round(start * 1_000)
    return finished_trial(number, seconds=seconds, begun_at_ms=at_ms, **changes)


@pytest.mark.parametrize(
    ("trials", "seconds"),
    [
        ((), 0),
        ((trial(0, 10.0), trial(1, 5.0), trial(2, None)), 15),  # of old documents
        ((trial(0, 10.0, 0), trial(1, 9_000.0, 10), trial(2, 5.0, 9_100, retry_of=1)), 15),
        # The second machine's clock is an hour ahead; its trials ran at the same time.
        (
            (
                trial(0, 10.0, 0, machine_id="a"),
                trial(1, 6.0, 3_602, machine_id="b"),
                trial(2, 5.0, 3_605, machine_id="b"),
            ),
            10 + 8,
        ),
    ],
    ids=["none", "without a start", "retried", "two machines"],
)
def test_searched_seconds(trials: tuple[StudyTrial, ...], seconds: float) -> None:
    assert searched_seconds(trials) == pytest.approx(seconds)


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(1, 20)), max_size=8))
def test_searched_seconds_is_the_busy_time(spans: list[tuple[int, int]]) -> None:
    trials = tuple(trial(n, float(length), start) for n, (start, length) in enumerate(spans))
    busy = {second for start, length in spans for second in range(start, start + length)}
    assert searched_seconds(trials) == pytest.approx(len(busy))
