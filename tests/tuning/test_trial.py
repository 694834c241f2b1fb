"""Search time of a study, and redundant trials of shared studies."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnist_bench.tuning.trial import StudyTrial, is_redundant, root_of, searched_seconds


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


# Shared studies


def test_root_of_a_chain_of_retries() -> None:
    trials = (trial(0, 1.0), trial(1, 1.0), trial(2, 1.0, retry_of=1), trial(3, 1.0, retry_of=2))
    assert [root_of(trials, number) for number in range(4)] == [0, 1, 1, 1]


def states(*each: str, **last: int) -> tuple[StudyTrial, ...]:
    """Trials in these states, with changes to the last one."""
    trials = [StudyTrial(number=n, state=state, chosen={}) for n, state in enumerate(each)]
    return (*trials[:-1], trials[-1].model_copy(update=last))


@pytest.mark.parametrize(
    ("trials", "expected"),
    [
        (states("finished", "running", "running"), False),
        (states("finished", "pruned", "running", "running"), True),
        (states("finished", "failed", "running", "running"), False),
        (states("failed", "finished", "running", "running", retry_of=0), False),
        (states("finished", "finished", "finished", "running", repeat_of=1), False),
    ],
)
def test_trial_beyond_the_limit_is_redundant(
    trials: tuple[StudyTrial, ...], *, expected: bool
) -> None:
    assert is_redundant(trials, trials[-1].number, 3) is expected


def test_later_trials_do_not_make_an_earlier_one_redundant() -> None:
    trials = states("finished", "running", "running", "running")
    assert [is_redundant(trials, number, 3) for number in (1, 2, 3)] == [False, False, True]


def test_retry_of_a_trial_being_released_is_not_redundant() -> None:
    """Its machine queued the retry and has not failed the trial yet: it may die in between."""
    trials = states("finished", "running", "running", retry_of=1)
    assert not is_redundant(trials, 2, 9)


@pytest.mark.parametrize("state", ["running", "finished", "pruned"])
def test_one_of_two_retries_is_redundant(state: str) -> None:
    twins = states("failed", state, "running", retry_of=0)
    twins = (twins[0], twins[1].model_copy(update={"retry_of": 0}), twins[2])
    assert is_redundant(twins, 2, 9)
    assert is_redundant(twins, 1, 9) is False
    dead = (twins[0], twins[1].model_copy(update={"state": "failed"}), twins[2])
    assert not is_redundant(dead, 2, 9)


def test_retry_is_redundant_after_a_newer_one_ended() -> None:
    trials = (
        StudyTrial(number=0, state="failed", chosen={}),
        StudyTrial(number=1, state="running", chosen={}, retry_of=0),
        StudyTrial(number=2, state="finished", chosen={}, retry_of=0),
    )
    assert is_redundant(trials, 1, 9)
