"""What a study's trials took together."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnist_bench.tuning.trial import StudyTrial, is_superfluous, root_of, searched_seconds


def tried(
    number: int, seconds: float | None, begun: float | None = None, **changes: Any
) -> StudyTrial:
    """A trial that began so many seconds after the first and took so many."""
    at = None if begun is None else round(begun * 1_000)
    return StudyTrial(
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


def test_machines_add_up_whatever_their_clocks_say() -> None:
    # The second machine's clock is an hour ahead; its trials went on beside the first one's.
    trials = (
        tried(0, 10.0, 0, machine_id="a"),
        tried(1, 6.0, 3_602, machine_id="b"),
        tried(2, 5.0, 3_605, machine_id="b"),
    )
    assert searched_seconds(trials) == pytest.approx(10 + 8)


# Trials of machines that share a study


def test_the_first_of_those_that_try_a_trial_again() -> None:
    trials = (tried(0, 1.0), tried(1, 1.0), tried(2, 1.0, retry_of=1), tried(3, 1.0, retry_of=2))
    assert [root_of(trials, number) for number in range(4)] == [0, 1, 1, 1]


def states(*each: str, **last: int) -> tuple[StudyTrial, ...]:
    """Trials in these states; the last one is the one in question."""
    made = [StudyTrial(number=n, state=state, chosen={}) for n, state in enumerate(each)]
    return (*made[:-1], made[-1].model_copy(update=last))


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
def test_who_asks_one_too_many(trials: tuple[StudyTrial, ...], expected: bool) -> None:  # noqa: FBT001
    assert is_superfluous(trials, trials[-1].number, 3) is expected


def test_later_trials_do_not_make_an_earlier_one_superfluous() -> None:
    trials = states("finished", "running", "running", "running")
    assert [is_superfluous(trials, number, 3) for number in (1, 2, 3)] == [False, False, True]


def test_who_tries_again_what_is_just_being_put_away_is_wanted() -> None:
    """Its machine has queued it, and not failed its own yet: it may die in between."""
    trials = states("finished", "running", "running", retry_of=1)
    assert not is_superfluous(trials, 2, 9)


@pytest.mark.parametrize("state", ["running", "finished", "pruned"])
def test_of_two_that_try_the_same_again_one_stands(state: str) -> None:
    twins = states("failed", state, "running", retry_of=0)
    twins = (twins[0], twins[1].model_copy(update={"retry_of": 0}), twins[2])
    assert is_superfluous(twins, 2, 9)
    assert is_superfluous(twins, 1, 9) is False
    dead = (twins[0], twins[1].model_copy(update={"state": "failed"}), twins[2])
    assert not is_superfluous(dead, 2, 9)


def test_a_retry_that_ended_stands_for_an_elder_one_that_was_asked_for_later() -> None:
    trials = (
        StudyTrial(number=0, state="failed", chosen={}),
        StudyTrial(number=1, state="running", chosen={}, retry_of=0),
        StudyTrial(number=2, state="finished", chosen={}, retry_of=0),
    )
    assert is_superfluous(trials, 1, 9)
