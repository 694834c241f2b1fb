"""Finalists: which trials are repeated, and which one becomes the candidate."""

from __future__ import annotations

from typing import Any

import pytest
from factories import ACCURACY_GOAL, TIME_GOAL, finished_trial
from hypothesis import given
from hypothesis import strategies as st

from mnist_bench.core.limits import REPEATS
from mnist_bench.tuning.finalists import (
    best_finalist,
    covers,
    finalists_of,
    missing_repeats,
    paper_reference,
    ranked,
)
from mnist_bench.tuning.trial import StudyTrial


def trial(number: int, value: float | None, **changes: Any) -> StudyTrial:
    """A trial with this value; without one it was pruned."""
    if value is None:
        return finished_trial(number, **{"state": "pruned"} | changes)
    return finished_trial(number, value, **changes)


def repeats(of: int, first: int, *values: float, **changes: Any) -> list[StudyTrial]:
    return [
        trial(first + index, value, repeat_of=of, **changes) for index, value in enumerate(values)
    ]


SEARCH = [
    trial(0, 0.97, is_papers=True),
    trial(1, 0.99),
    trial(2, None),
    trial(3, 0.994, missed={"max seconds": 0.5}),
    trial(4, 0.992),
    trial(5, 0.992),
]


def numbers(trials: list[StudyTrial]) -> list[int]:
    return [trial.number for trial in trials]


def test_ranking_puts_best_feasible_first_then_earlier_without_repeats() -> None:
    assert numbers(ranked(SEARCH, TIME_GOAL)) == [0, 1, 4, 5]
    assert numbers(ranked([*SEARCH, *repeats(1, 6, 0.999)], ACCURACY_GOAL)) == [4, 5, 1, 0]


def test_each_finalist_gets_its_repeats() -> None:
    assert missing_repeats(SEARCH, ACCURACY_GOAL, 2) == [4] * REPEATS + [5] * REPEATS
    assert missing_repeats(SEARCH, ACCURACY_GOAL, 0) == []
    assert missing_repeats(SEARCH, ACCURACY_GOAL, 100) == [4, 4, 4, 5, 5, 5, 1, 1, 1, 0, 0, 0]


@pytest.mark.parametrize(
    ("state", "missing"),
    [("waiting", []), ("running", []), ("finished", []), ("failed", [4]), ("pruned", [4])],
)
def test_failed_repeats_are_missing(state: str, missing: list[int]) -> None:
    started = [*repeats(4, 6, 0.99, 0.991), trial(8, None, repeat_of=4, state=state)]
    assert missing_repeats([*SEARCH, *started], ACCURACY_GOAL, 1) == missing


def test_mean_of_repeats_decides() -> None:
    again = [*repeats(4, 6, 0.989, 0.990, 0.991), *repeats(5, 9, 0.991, 0.991, 0.9919)]
    found = finalists_of([*SEARCH, *again], ACCURACY_GOAL)
    assert [finalist.trial for finalist in found] == [5, 4]
    assert found[0].values == pytest.approx((0.9913,))
    assert found[1].values == pytest.approx((0.990,))  # 0.992 of the search is not in it
    assert found[1].repeats == (6, 7, 8)
    best = best_finalist(found, SEARCH)
    assert best is not None
    assert (best.number, best.values) == (5, pytest.approx((0.9913,)))


def test_fewer_seconds_are_better() -> None:
    again = [*repeats(4, 6, 3.0, 3.1, 3.2), *repeats(5, 9, 2.0, 2.1, 2.2)]
    assert [f.trial for f in finalists_of([*SEARCH, *again], TIME_GOAL)] == [5, 4]


def test_no_finalist_before_all_repeats_finished() -> None:
    assert finalists_of(SEARCH, ACCURACY_GOAL) == ()
    assert finalists_of([*SEARCH, *repeats(4, 6, 0.99, 0.991)], ACCURACY_GOAL) == ()


def test_infeasible_finalist_comes_last_and_cannot_win() -> None:
    fast, slow = {"max seconds": -0.3}, {"max seconds": 0.3}
    search = [trial(1, 0.99, missed=fast), trial(2, 0.98, missed=fast)]
    first = repeats(1, 3, 0.99, 0.99, missed=slow) + repeats(1, 5, 0.99, missed=fast)
    second = repeats(2, 6, 0.98, 0.98, 0.98, missed=fast)
    trials = [*search, *first, *second]
    found = finalists_of(trials, ACCURACY_GOAL)
    assert [(finalist.trial, finalist.is_feasible) for finalist in found] == [(2, True), (1, False)]
    assert found[1].missed == {"max seconds": pytest.approx(0.1)}
    best = best_finalist(found, trials)
    assert best is not None
    assert (best.number, best.missed["max seconds"]) == (2, pytest.approx(-0.3))
    assert best_finalist(found[1:], trials) is None
    assert best_finalist((), trials) is None


def test_finalists_do_not_cover_a_later_better_trial() -> None:
    finalists = finalists_of([*SEARCH, *repeats(4, 6, 0.989, 0.990, 0.991)], ACCURACY_GOAL)
    assert covers(finalists, SEARCH[4])
    assert not covers(finalists, trial(9, 0.995))
    assert covers(finalists, None)
    assert not covers((), None)


@given(
    values=st.lists(st.floats(0, 1), min_size=1, max_size=8),
    count=st.integers(0, 10),
    again=st.floats(0, 1),
)
def test_all_finalists_exist_when_no_repeat_is_missing(
    values: list[float], count: int, again: float
) -> None:
    trials = [trial(number, value) for number, value in enumerate(values)]
    while missing := missing_repeats(trials, ACCURACY_GOAL, count):
        trials.append(trial(len(trials), again, repeat_of=missing[0]))
    found = finalists_of(trials, ACCURACY_GOAL)
    assert len(found) == min(count, len(values))
    assert all(len(each.repeats) == REPEATS for each in found)
    assert {each.trial for each in found} == set(numbers(ranked(trials, ACCURACY_GOAL)[:count]))


def test_paper_trial_is_repeated_on_request() -> None:
    assert (
        missing_repeats(SEARCH, ACCURACY_GOAL, 1, with_paper=True) == [4] * REPEATS + [0] * REPEATS
    )
    # Not twice if it is the best itself.
    assert missing_repeats(SEARCH[:1], ACCURACY_GOAL, 1, with_paper=True) == [0] * REPEATS
    trials = [*SEARCH, *repeats(0, 6, 0.96, 0.97, 0.98, is_papers=True)]
    assert missing_repeats(trials, ACCURACY_GOAL, 1, with_paper=True) == [4] * REPEATS
    best = paper_reference(trials)
    assert best is not None
    assert (best.number, best.values) == (0, pytest.approx((0.97,)))
    assert paper_reference(SEARCH) == SEARCH[0]
    assert paper_reference(SEARCH[1:]) is None
