"""Which trials are trained again, and which of them stands for the study then."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnist_bench.core.limits import REPEATS
from mnist_bench.tuning.finalists import (
    Finalist,
    best_finalist,
    covers,
    finalists_of,
    owed,
    paper_reference,
    ranked,
)
from mnist_bench.tuning.objective import Goal
from mnist_bench.tuning.trial import StudyTrial

ACCURACY = Goal(objective="accuracy")
TIME = Goal(objective="time-to-accuracy", target_accuracy=0.99)


def tried(number: int, value: float | None, **changes: Any) -> StudyTrial:
    """A trial of this worth; without one it was pruned."""
    state = "pruned" if value is None else "finished"
    values = () if value is None else (value,)
    return StudyTrial(
        **({"number": number, "state": state, "chosen": {}, "values": values} | changes)
    )


def repeats(of: int, first: int, *values: float, **changes: Any) -> list[StudyTrial]:
    return [
        tried(first + index, value, repeat_of=of, **changes) for index, value in enumerate(values)
    ]


SEARCH = [
    tried(0, 0.97, is_papers=True),
    tried(1, 0.99),
    tried(2, None),
    tried(3, 0.994, missed={"max seconds": 0.5}),
    tried(4, 0.992),
    tried(5, 0.992),
]


def numbers(trials: list[StudyTrial]) -> list[int]:
    return [trial.number for trial in trials]


def test_the_best_feasible_comes_first_and_of_two_alike_the_earlier() -> None:
    assert numbers(ranked(SEARCH, ACCURACY)) == [4, 5, 1, 0]
    assert numbers(ranked(SEARCH, TIME)) == [0, 1, 4, 5]


def test_a_repeat_is_none_of_the_search() -> None:
    assert numbers(ranked([*SEARCH, *repeats(1, 6, 0.999)], ACCURACY)) == [4, 5, 1, 0]


def test_each_finalist_is_owed_its_repeats() -> None:
    assert owed(SEARCH, ACCURACY, 2) == [4] * REPEATS + [5] * REPEATS
    assert owed(SEARCH, ACCURACY, 0) == []
    assert owed(SEARCH, ACCURACY, 100) == [4, 4, 4, 5, 5, 5, 1, 1, 1, 0, 0, 0]


def test_what_is_done_or_on_its_way_is_not_owed_again() -> None:
    begun = [*repeats(4, 6, 0.99, 0.991), tried(8, None, repeat_of=4, state="waiting")]
    assert owed([*SEARCH, *begun], ACCURACY, 2) == [5] * REPEATS


@pytest.mark.parametrize("state", ["failed", "pruned"])
def test_what_failed_is_owed_again(state: str) -> None:
    begun = [*repeats(4, 6, 0.99, 0.991), tried(8, None, repeat_of=4, state=state)]
    assert owed([*SEARCH, *begun], ACCURACY, 1) == [4]


def test_the_mean_of_the_repeats_decides_and_not_the_lucky_first() -> None:
    again = [*repeats(4, 6, 0.989, 0.990, 0.991), *repeats(5, 9, 0.991, 0.991, 0.9919)]
    found = finalists_of([*SEARCH, *again], ACCURACY)
    assert [finalist.trial for finalist in found] == [5, 4]
    assert found[0].values == pytest.approx((0.9913,))
    assert found[1].values == pytest.approx((0.990,))  # 0.992 of the search is not in it
    assert found[1].repeats == (6, 7, 8)


def test_fewer_seconds_are_ahead() -> None:
    again = [*repeats(4, 6, 3.0, 3.1, 3.2), *repeats(5, 9, 2.0, 2.1, 2.2)]
    assert [f.trial for f in finalists_of([*SEARCH, *again], TIME)] == [5, 4]


def test_with_repeats_on_their_way_none_is_a_finalist_yet() -> None:
    assert finalists_of(SEARCH, ACCURACY) == ()
    assert finalists_of([*SEARCH, *repeats(4, 6, 0.99, 0.991)], ACCURACY) == ()


def test_who_misses_a_constraint_in_the_mean_comes_last_and_does_not_stand() -> None:
    fast, slow = {"max seconds": -0.3}, {"max seconds": 0.3}
    search = [tried(1, 0.99, missed=fast), tried(2, 0.98, missed=fast)]
    first = repeats(1, 3, 0.99, 0.99, missed=slow) + repeats(1, 5, 0.99, missed=fast)
    second = repeats(2, 6, 0.98, 0.98, 0.98, missed=fast)
    trials = [*search, *first, *second]
    found = finalists_of(trials, ACCURACY)
    assert [(finalist.trial, finalist.is_feasible) for finalist in found] == [(2, True), (1, False)]
    assert found[1].missed == {"max seconds": pytest.approx(0.1)}
    stands = best_finalist(found, trials)
    assert stands is not None
    assert (stands.number, stands.missed["max seconds"]) == (2, pytest.approx(-0.3))
    assert best_finalist(found[1:], trials) is None
    assert best_finalist((), trials) is None


def test_it_stands_with_what_its_repeats_are_worth() -> None:
    trials = [*SEARCH, *repeats(4, 6, 0.989, 0.990, 0.991)]
    stands = best_finalist(finalists_of(trials, ACCURACY), trials)
    assert stands is not None
    assert (stands.number, stands.values) == (4, pytest.approx((0.990,)))


def test_finalists_do_not_tell_of_a_later_trial_that_beat_them_in_the_search() -> None:
    finalists = finalists_of([*SEARCH, *repeats(4, 6, 0.989, 0.990, 0.991)], ACCURACY)
    assert covers(finalists, SEARCH[4])
    assert not covers(finalists, tried(9, 0.995))
    assert covers(finalists, None)
    assert not covers((), None)


@given(
    values=st.lists(st.floats(0, 1), min_size=1, max_size=8),
    count=st.integers(0, 10),
    again=st.floats(0, 1),
)
def test_when_nothing_is_owed_all_finalists_are_there(
    values: list[float], count: int, again: float
) -> None:
    trials = [tried(number, value) for number, value in enumerate(values)]
    while left := owed(trials, ACCURACY, count):
        trials.append(tried(len(trials), again, repeat_of=left[0]))
    found = finalists_of(trials, ACCURACY)
    assert len(found) == min(count, len(values))
    assert all(isinstance(each, Finalist) and len(each.repeats) == REPEATS for each in found)
    assert {each.trial for each in found} == set(numbers(ranked(trials, ACCURACY)[:count]))


def test_the_papers_own_is_trained_again_too_where_that_is_wished_for() -> None:
    assert owed(SEARCH, ACCURACY, 1, with_papers=True) == [4] * REPEATS + [0] * REPEATS
    # Once, where it is the best itself.
    assert owed(SEARCH[:1], ACCURACY, 1, with_papers=True) == [0] * REPEATS
    trials = [*SEARCH, *repeats(0, 6, 0.96, 0.97, 0.98, is_papers=True)]
    assert owed(trials, ACCURACY, 1, with_papers=True) == [4] * REPEATS
    stands = paper_reference(trials)
    assert stands is not None
    assert (stands.number, stands.values) == (0, pytest.approx((0.97,)))
    assert paper_reference(SEARCH) == SEARCH[0]
    assert paper_reference(SEARCH[1:]) is None
