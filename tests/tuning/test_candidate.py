"""Candidate of a study and its margin over the paper's configuration."""

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


def trial(number: int, *values: float, **changes: Any) -> StudyTrial:
    """A finished trial with these values."""
    return StudyTrial(
        **({"number": number, "state": "finished", "chosen": {}, "values": values} | changes)
    )


def paper(*values: float, **changes: Any) -> StudyTrial:
    return trial(0, *values, is_papers=True, **changes)


# The candidate


@pytest.mark.parametrize("goal", [ACCURACY, TIME])
def test_the_best_trial_is_the_candidate(goal: Goal) -> None:
    # Only `pareto` compares the accuracy with the paper's.
    best = trial(7, 0.5)
    assert candidate_of([best], paper(0.99), goal) is best
    assert candidate_of([best], None, goal) is best


@pytest.mark.parametrize("goal", [ACCURACY, TIME, PARETO])
def test_no_candidate_without_a_feasible_trial(goal: Goal) -> None:
    assert candidate_of([], paper(0.99, 20.0, 1e9), goal) is None
    assert candidate_of([], None, goal) is None


FRONT = [
    trial(1, 0.995, 40.0, 1e9),
    trial(2, 0.992, 30.0, 1e9),
    trial(3, 0.990, 15.0, 1e9),
    trial(4, 0.980, 5.0, 1e9),
    trial(5, 0.970, 6.0, 5e8),
]


@pytest.mark.parametrize(
    ("paper_accuracy", "number"),
    [
        (0.9950001, 1),  # none is as accurate: the most accurate
        (0.995, 1),
        (0.991, 2),
        (0.990, 3),  # as accurate is enough
        (0.98, 4),
        (0.5, 4),  # the fastest, and not the smallest
    ],
)
def test_pareto_candidate_is_the_fastest_as_accurate_as_the_paper(
    paper_accuracy: float, number: int
) -> None:
    for front in (FRONT, FRONT[::-1]):
        found = candidate_of(front, paper(paper_accuracy, 20.0, 1e9), PARETO)
        assert found is not None
        assert found.number == number


def test_pareto_candidate_without_a_paper_trial_is_the_most_accurate() -> None:
    for front in (FRONT, FRONT[::-1]):
        found = candidate_of(front, None, PARETO)
        assert found is not None
        assert found.number == 1


def test_pareto_candidate_may_be_the_paper_trial() -> None:
    own = paper(0.994, 20.0, 1e9)
    assert candidate_of([*FRONT[1:], own], own, PARETO) is own


VALUES = st.tuples(
    st.integers(0, IMAGES).map(lambda right: right / IMAGES),
    st.floats(0.1, 1_000),
    st.floats(1e6, 1e10),
)


@given(st.lists(VALUES, min_size=1, max_size=8), VALUES)
def test_no_other_pareto_trial_is_a_better_candidate(
    front: list[tuple[float, float, float]], own: tuple[float, float, float]
) -> None:
    trials = [trial(number, *values) for number, values in enumerate(front, 1)]
    found = candidate_of(trials, paper(*own), PARETO)
    assert found in trials
    assert found is not None
    accuracy, seconds, _ = found.values
    if accuracy >= own[0]:
        candidates = [each.values[1] for each in trials if each.values[0] >= own[0]]
        assert seconds == min(candidates)
    else:
        assert accuracy == max(each.values[0] for each in trials)


# The paper's own trial


def test_paper_trial_has_finished() -> None:
    failed = paper(state="failed")
    again = trial(3, 0.98, is_papers=True, retry_of=0)
    other = trial(1, 0.99)
    assert paper_trial((failed, other, again)) is again
    assert paper_trial((failed, other)) is None
    assert paper_trial(()) is None


# The margin


@pytest.mark.parametrize("goal", [ACCURACY, TIME, PARETO])
def test_paper_trial_has_no_margin_over_itself(goal: Goal) -> None:
    own = paper(0.99, 20.0, 1e9)
    words = (
        "of those as accurate as the paper's own none is faster"
        if goal is PARETO
        else "nothing that was tried beats the paper's own"
    )
    assert margin_of(own, own, goal) == Margin(is_enough=False, in_words=words)


@pytest.mark.parametrize("goal", [ACCURACY, TIME, PARETO])
def test_no_margin_without_a_paper_trial(goal: Goal) -> None:
    assert margin_of(trial(4, 0.99, 20.0, 1e9), None, goal) == Margin(
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
def test_sufficient_accuracy_margin(accuracy: float, words: str) -> None:
    assert margin_of(trial(4, accuracy), paper(0.986), ACCURACY) == Margin(
        is_enough=True, in_words=f"against the paper's own: {words}"
    )


@pytest.mark.parametrize(
    ("accuracy", "words"),
    [
        (0.9868, "+0.0008 in validation accuracy, less than 0.0010: within noise"),
        (0.9860, "+0.0000 in validation accuracy, less than 0.0010: within noise"),
        # A study whose constraints the paper's configuration violates.
        (0.9760, "-0.0100 in validation accuracy, less than 0.0010: within noise"),
    ],
)
def test_accuracy_margin_within_noise(accuracy: float, words: str) -> None:
    assert margin_of(trial(4, accuracy), paper(0.986), ACCURACY) == Margin(
        is_enough=False, in_words=f"against the paper's own: {words}"
    )


@given(st.integers(0, IMAGES), st.integers(-IMAGES, IMAGES).filter(lambda more: more != 5))
def test_a_lead_of_more_than_5_images_is_enough(right: int, more: int) -> None:
    # Exactly 5: see below.
    candidate = trial(1, (right + more) / IMAGES)
    margin = margin_of(candidate, paper(right / IMAGES), ACCURACY)
    assert margin.is_enough == (more > 5)
    assert margin.in_words.endswith("within noise") == (more < 5)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (10.0, "50.0% of its train seconds saved"),
        (18.9, "5.5% of its train seconds saved"),
        (19.0, "5.0% of its train seconds saved"),
    ],
)
def test_sufficient_seconds_margin(seconds: float, words: str) -> None:
    margin = Margin(is_enough=True, in_words=f"against the paper's own: {words}")
    assert margin_of(trial(4, seconds), paper(20.0), TIME) == margin
    # For `pareto` the seconds count too, not accuracy or memory.
    candidate, reference = trial(4, 0.5, seconds, 2e9), paper(0.99, 20.0, 1e9)
    assert margin_of(candidate, reference, PARETO) == margin


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (19.02, "4.9% of its train seconds saved, less than 5%: within noise"),
        (20.0, "0.0% of its train seconds saved, less than 5%: within noise"),
        (30.0, "-50.0% of its train seconds saved, less than 5%: within noise"),
    ],
)
def test_seconds_margin_within_noise(seconds: float, words: str) -> None:
    margin = Margin(is_enough=False, in_words=f"against the paper's own: {words}")
    assert margin_of(trial(4, seconds), paper(20.0), TIME) == margin
    candidate, reference = trial(4, 0.999, seconds, 1.0), paper(0.99, 20.0, 1e9)
    assert margin_of(candidate, reference, PARETO) == margin


def test_a_lead_of_5_images_is_enough() -> None:
    too_few = [
        right
        for right in range(IMAGES - 4)
        if not margin_of(trial(1, (right + 5) / IMAGES), paper(right / IMAGES), ACCURACY).is_enough
    ]
    assert too_few == []


def test_reaching_a_target_that_the_paper_misses_is_enough() -> None:
    # The paper's trial ended after 20 s, 0.006 below the target; its value is all its seconds.
    missed = paper(20.0, missed={"target accuracy": 0.006})
    reached = trial(4, 25.0, missed={"target accuracy": -0.001})
    assert margin_of(reached, missed, TIME).is_enough
