"""Candidate of a study and its margin over the paper's configuration."""

from __future__ import annotations

from typing import Any

import pytest
from factories import ACCURACY_GOAL, PARETO_GOAL, TIME_GOAL, finished_trial
from hypothesis import given
from hypothesis import strategies as st

from mnist_bench.tuning.candidate import Margin, candidate_of, margin_of
from mnist_bench.tuning.objective import Goal
from mnist_bench.tuning.trial import StudyTrial, paper_trial

GOALS = [ACCURACY_GOAL, TIME_GOAL, PARETO_GOAL]
IMAGES = 5_000
"""Of the validation split."""


def paper(*values: float, **changes: Any) -> StudyTrial:
    return finished_trial(0, *values, is_papers=True, **changes)


# The candidate


@pytest.mark.parametrize("goal", [ACCURACY_GOAL, TIME_GOAL])
def test_the_best_trial_is_the_candidate(goal: Goal) -> None:
    # Only `pareto` compares the accuracy with the paper's.
    best = finished_trial(7, 0.5)
    assert candidate_of([best], paper(0.99), goal) is best
    assert candidate_of([best], None, goal) is best


@pytest.mark.parametrize("goal", GOALS)
def test_no_candidate_without_a_feasible_trial(goal: Goal) -> None:
    assert candidate_of([], paper(0.99, 20.0, 1e9), goal) is None


FRONT = [
    finished_trial(1, 0.995, 40.0, 1e9),
    finished_trial(2, 0.992, 30.0, 1e9),
    finished_trial(3, 0.990, 15.0, 1e9),
    finished_trial(4, 0.980, 5.0, 1e9),
    finished_trial(5, 0.970, 6.0, 5e8),
]


@pytest.mark.parametrize(
    ("paper_accuracy", "number"),
    [
        (None, 1),  # no paper's trial: the most accurate
        (0.9950001, 1),  # none is as accurate: the most accurate
        (0.995, 1),
        (0.991, 2),
        (0.990, 3),  # as accurate is enough
        (0.98, 4),
        (0.5, 4),  # the fastest, and not the smallest
    ],
)
def test_pareto_candidate_is_the_fastest_as_accurate_as_the_paper(
    paper_accuracy: float | None, number: int
) -> None:
    reference = None if paper_accuracy is None else paper(paper_accuracy, 20.0, 1e9)
    for front in (FRONT, FRONT[::-1]):
        found = candidate_of(front, reference, PARETO_GOAL)
        assert found is not None
        assert found.number == number


def test_pareto_candidate_may_be_the_paper_trial() -> None:
    own = paper(0.994, 20.0, 1e9)
    assert candidate_of([*FRONT[1:], own], own, PARETO_GOAL) is own


# The paper's own trial


def test_paper_trial_has_finished() -> None:
    failed = paper(state="failed")
    again = finished_trial(3, 0.98, is_papers=True, retry_of=0)
    other = finished_trial(1, 0.99)
    assert paper_trial((failed, other, again)) is again
    assert paper_trial((failed, other)) is None


# The margin


@pytest.mark.parametrize("goal", GOALS)
def test_no_margin_without_another_trial(goal: Goal) -> None:
    own = paper(0.99, 20.0, 1e9)
    words = (
        "of those as accurate as the paper's own none is faster"
        if goal is PARETO_GOAL
        else "nothing that was tried beats the paper's own"
    )
    assert margin_of(own, own, goal) == Margin(is_enough=False, in_words=words)
    words = "the paper's own trial did not finish: there is nothing to be ahead of"
    assert margin_of(FRONT[0], None, goal) == Margin(is_enough=False, in_words=words)


@pytest.mark.parametrize(
    ("accuracy", "words"),
    [
        (0.9900, "+0.0040 in validation accuracy"),
        (0.9870, "+0.0010 in validation accuracy"),  # 5 of 5,000 images
        (0.9868, "+0.0008 in validation accuracy, less than 0.0010: within noise"),
        (0.9860, "+0.0000 in validation accuracy, less than 0.0010: within noise"),
        # A study whose constraints the paper's configuration violates.
        (0.9760, "-0.0100 in validation accuracy, less than 0.0010: within noise"),
    ],
)
def test_accuracy_margin(accuracy: float, words: str) -> None:
    assert margin_of(finished_trial(4, accuracy), paper(0.986), ACCURACY_GOAL) == Margin(
        is_enough="noise" not in words, in_words=f"against the paper's own: {words}"
    )


@given(st.integers(0, IMAGES), st.integers(-IMAGES, IMAGES) | st.just(5))
def test_a_lead_of_5_images_is_enough(right: int, more: int) -> None:
    """Also where the difference of two floats is a little less than 0.001."""
    candidate = finished_trial(1, (right + more) / IMAGES)
    assert margin_of(candidate, paper(right / IMAGES), ACCURACY_GOAL).is_enough == (more >= 5)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (10.0, "50.0% of its train seconds saved"),
        (18.9, "5.5% of its train seconds saved"),
        (19.0, "5.0% of its train seconds saved"),
        (19.02, "4.9% of its train seconds saved, less than 5%: within noise"),
        (20.0, "0.0% of its train seconds saved, less than 5%: within noise"),
        (30.0, "-50.0% of its train seconds saved, less than 5%: within noise"),
    ],
)
def test_seconds_margin(seconds: float, words: str) -> None:
    margin = Margin(is_enough="noise" not in words, in_words=f"against the paper's own: {words}")
    assert margin_of(finished_trial(4, seconds), paper(20.0), TIME_GOAL) == margin
    # For `pareto` the seconds count too, not accuracy or memory.
    for accuracy, peak in ((0.5, 2e9), (0.999, 1.0)):
        candidate = finished_trial(4, accuracy, seconds, peak)
        assert margin_of(candidate, paper(0.99, 20.0, 1e9), PARETO_GOAL) == margin


def test_reaching_a_target_that_the_paper_misses_is_enough() -> None:
    # The paper's trial ended after 20 s, 0.006 below the target; its value is all its seconds.
    missed = paper(20.0, missed={"target accuracy": 0.006})
    reached = finished_trial(4, 25.0, missed={"target accuracy": -0.001})
    assert margin_of(reached, missed, TIME_GOAL).is_enough
