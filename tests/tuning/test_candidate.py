"""Which trial stands for a study, and whether it is worth a look at the test split."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnist_bench.tuning.candidate import Margin, candidate_of, margin_of
from mnist_bench.tuning.objective import Goal
from mnist_bench.tuning.trial import StudyTrial, paper_trial

ACCURACY = Goal(objective="accuracy")
TIME = Goal(objective="time-to-accuracy", target_accuracy=0.99)
PARETO = Goal(objective="pareto")
IMAGES = 5_000
"""Of the validation split."""


def tried(number: int, *values: float, **changes: Any) -> StudyTrial:
    """A finished trial of this worth."""
    return StudyTrial(
        **({"number": number, "state": "finished", "chosen": {}, "values": values} | changes)
    )


def papers(*values: float, **changes: Any) -> StudyTrial:
    return tried(0, *values, is_papers=True, **changes)


# The candidate


@pytest.mark.parametrize("goal", [ACCURACY, TIME])
def test_the_best_trial_is_the_candidate(goal: Goal) -> None:
    # Whether it is ahead is asked later, and of no trial the accuracy is held against a floor.
    best = tried(7, 0.5)
    assert candidate_of([best], papers(0.99), goal) is best
    assert candidate_of([best], None, goal) is best


@pytest.mark.parametrize("goal", [ACCURACY, TIME, PARETO])
def test_no_trial_is_an_answer(goal: Goal) -> None:
    assert candidate_of([], papers(0.99, 20.0, 1e9), goal) is None
    assert candidate_of([], None, goal) is None


FRONT = [
    tried(1, 0.995, 40.0, 1e9),
    tried(2, 0.992, 30.0, 1e9),
    tried(3, 0.990, 15.0, 1e9),
    tried(4, 0.980, 5.0, 1e9),
    tried(5, 0.970, 6.0, 5e8),
]


@pytest.mark.parametrize(
    ("floor", "number"),
    [
        (0.9950001, 1),  # none is as accurate: the most accurate
        (0.995, 1),
        (0.991, 2),
        (0.990, 3),  # as accurate is enough
        (0.98, 4),
        (0.5, 4),  # the fastest, and not the smallest
    ],
)
def test_of_a_trade_off_the_fastest_as_accurate_as_the_papers(floor: float, number: int) -> None:
    for front in (FRONT, FRONT[::-1]):
        found = candidate_of(front, papers(floor, 20.0, 1e9), PARETO)
        assert found is not None
        assert found.number == number


def test_of_a_trade_off_without_the_papers_the_most_accurate() -> None:
    for front in (FRONT, FRONT[::-1]):
        found = candidate_of(front, None, PARETO)
        assert found is not None
        assert found.number == 1


def test_of_a_trade_off_the_papers_own_may_stand_for_it() -> None:
    own = papers(0.994, 20.0, 1e9)
    assert candidate_of([*FRONT[1:], own], own, PARETO) is own


VALUES = st.tuples(
    st.integers(0, IMAGES).map(lambda right: right / IMAGES),
    st.floats(0.1, 1_000),
    st.floats(1e6, 1e10),
)


@given(st.lists(VALUES, min_size=1, max_size=8), VALUES)
def test_no_other_of_a_front_would_stand_better(
    front: list[tuple[float, float, float]], own: tuple[float, float, float]
) -> None:
    trials = [tried(number, *values) for number, values in enumerate(front, 1)]
    found = candidate_of(trials, papers(*own), PARETO)
    assert found in trials
    assert found is not None
    accuracy, seconds, _ = found.values
    if accuracy >= own[0]:
        rivals = [each.values[1] for each in trials if each.values[0] >= own[0]]
        assert seconds == min(rivals)
    else:
        assert accuracy == max(each.values[0] for each in trials)


# The paper's own trial


def test_the_papers_own_trial_is_one_that_finished() -> None:
    failed = papers(state="failed")
    again = tried(3, 0.98, is_papers=True, retry_of=0)
    other = tried(1, 0.99)
    assert paper_trial((failed, other, again)) is again
    assert paper_trial((failed, other)) is None
    assert paper_trial(()) is None


# The margin


@pytest.mark.parametrize("goal", [ACCURACY, TIME, PARETO])
def test_the_papers_own_is_not_ahead_of_itself(goal: Goal) -> None:
    own = papers(0.99, 20.0, 1e9)
    words = (
        "of those as accurate as the paper's own none is faster"
        if goal is PARETO
        else "nothing that was tried beats the paper's own"
    )
    assert margin_of(own, own, goal) == Margin(is_enough=False, in_words=words)


@pytest.mark.parametrize("goal", [ACCURACY, TIME, PARETO])
def test_nothing_to_be_ahead_of(goal: Goal) -> None:
    assert margin_of(tried(4, 0.99, 20.0, 1e9), None, goal) == Margin(
        is_enough=False,
        in_words="the paper's own trial did not finish: there is nothing to be ahead of",
    )


@pytest.mark.parametrize(
    ("accuracy", "words"),
    [
        (0.9900, "+0.0040 in validation accuracy"),
        (0.9870, "+0.0010 in validation accuracy"),  # 5 of 5,000 images
    ],
)
def test_a_margin_of_accuracy_that_is_enough(accuracy: float, words: str) -> None:
    assert margin_of(tried(4, accuracy), papers(0.986), ACCURACY) == Margin(
        is_enough=True, in_words=f"against the paper's own: {words}"
    )


@pytest.mark.parametrize(
    ("accuracy", "words"),
    [
        (0.9868, "+0.0008 in validation accuracy, less than 0.0010: within noise"),
        (0.9860, "+0.0000 in validation accuracy, less than 0.0010: within noise"),
        # Of a study whose own constraints the paper's configuration misses.
        (0.9760, "-0.0100 in validation accuracy, less than 0.0010: within noise"),
    ],
)
def test_a_margin_of_accuracy_within_noise(accuracy: float, words: str) -> None:
    assert margin_of(tried(4, accuracy), papers(0.986), ACCURACY) == Margin(
        is_enough=False, in_words=f"against the paper's own: {words}"
    )


@given(st.integers(0, IMAGES), st.integers(-IMAGES, IMAGES).filter(lambda more: more != 5))
def test_more_than_5_images_ahead_is_enough(right: int, more: int) -> None:
    # Of exactly 5, see below.
    candidate = tried(1, (right + more) / IMAGES)
    told = margin_of(candidate, papers(right / IMAGES), ACCURACY)
    assert told.is_enough == (more > 5)
    assert told.in_words.endswith("within noise") == (more < 5)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (10.0, "50.0% of its train seconds saved"),
        (18.9, "5.5% of its train seconds saved"),
        (19.0, "5.0% of its train seconds saved"),
    ],
)
def test_a_margin_of_seconds_that_is_enough(seconds: float, words: str) -> None:
    told = Margin(is_enough=True, in_words=f"against the paper's own: {words}")
    assert margin_of(tried(4, seconds), papers(20.0), TIME) == told
    # Of a trade-off it is the seconds too, whatever its accuracy and memory.
    ours, theirs = tried(4, 0.5, seconds, 2e9), papers(0.99, 20.0, 1e9)
    assert margin_of(ours, theirs, PARETO) == told


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (19.02, "4.9% of its train seconds saved, less than 5%: within noise"),
        (20.0, "0.0% of its train seconds saved, less than 5%: within noise"),
        (30.0, "-50.0% of its train seconds saved, less than 5%: within noise"),
    ],
)
def test_a_margin_of_seconds_within_noise(seconds: float, words: str) -> None:
    told = Margin(is_enough=False, in_words=f"against the paper's own: {words}")
    assert margin_of(tried(4, seconds), papers(20.0), TIME) == told
    ours, theirs = tried(4, 0.999, seconds, 1.0), papers(0.99, 20.0, 1e9)
    assert margin_of(ours, theirs, PARETO) == told


def test_5_images_ahead_are_enough() -> None:
    too_few = [
        right
        for right in range(IMAGES - 4)
        if not margin_of(tried(1, (right + 5) / IMAGES), papers(right / IMAGES), ACCURACY).is_enough
    ]
    assert too_few == []


def test_to_reach_a_target_that_the_papers_own_missed_is_enough() -> None:
    # The paper's trial ended after 20 s, 0.006 below the target; its value is all its seconds.
    missed = papers(20.0, missed={"target accuracy": 0.006})
    reached = tried(4, 25.0, missed={"target accuracy": -0.001})
    assert margin_of(reached, missed, TIME).is_enough
