"""A trial watched at its scorings: when it is compared, and when it is spared."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest

from mnist_bench.results.run import Evaluation
from mnist_bench.tuning.objective import Goal
from mnist_bench.tuning.pruning_callback import PruningCallback

ACCURACY = Goal(objective="accuracy")


class Study:
    """Remembers what it is told; finds a trial behind at the marks it is given."""

    def __init__(self, *behind_at: int, whole: bool = False) -> None:
        self.behind_at, self.whole = behind_at, whole
        self.compared: dict[int, float] = {}
        self.came_by: dict[int, float] = {}

    def should_end(self, number: int, percent: int, progress: float) -> bool:
        assert number == 7
        self.compared[percent] = progress
        return percent in self.behind_at

    def came(self, number: int, percent: int, progress: float) -> None:
        assert number == 7
        self.came_by[percent] = progress

    def is_whole(self, number: int) -> bool:
        assert number == 7
        return self.whole


def judged(study: Any, goal: Goal, *scorings: Evaluation, steps: int = 1_000) -> list[str | None]:
    """Why the trial should end, after each of its scorings."""
    judge = PruningCallback(study, goal, 7, steps, mock.Mock())
    reasons = []
    for scoring in scorings:
        judge.scored(scoring)
        reasons.append(judge.reason())
    return reasons


def at(step: int, validation: float = 0.9, seconds: float = 1.0) -> Evaluation:
    return Evaluation(
        step=step, test_accuracy=None, validation_accuracy=validation, train_loss=0.1,
        train_seconds=seconds,
    )  # fmt: skip


def test_a_trial_is_compared_at_the_first_scoring_of_each_mark_by_the_marks_number() -> None:
    study = Study()
    every_ninety = [at(step, step / 2_000) for step in range(90, 1_000, 90)]
    assert judged(study, ACCURACY, *every_ninety) == [None] * 11
    assert study.compared == {10: 0.09, 35: 0.18, 60: 0.315, 85: 0.45}
    assert study.came_by[18] == 0.09
    assert sorted(study.came_by) == [9, 18, 27, 36, 45, 54, 63, 72, 81, 90, 99]


def test_a_scoring_at_a_mark_is_told_once() -> None:
    study = Study()
    judged(study, ACCURACY, at(50, 0.6), at(350, 0.7), at(355, 0.8))
    assert (study.compared, study.came_by) == ({35: 0.7}, {5: 0.6})


def test_who_is_behind_there_ends() -> None:
    reasons = judged(Study(60), ACCURACY, at(300), at(420), at(640))
    assert reasons == [None, None, "pruned after 640 steps: others were ahead there"]


def test_the_last_scoring_ends_nothing() -> None:
    study = Study(100)
    slow = ACCURACY.model_copy(update={"max_seconds": 1.0})
    assert judged(study, slow, at(1_000, seconds=9.0)) == [None]
    assert study.compared == {}


def test_who_has_reached_the_target_is_spared_and_compared_for_others() -> None:
    goal = Goal(objective="time-to-accuracy", target_accuracy=0.95)
    study = Study(35, 60)
    assert judged(study, goal, at(300, 0.9), at(520, 0.95), at(760, 0.94)) == [None] * 3
    assert sorted(study.compared) == [10, 35, 60]
    # A target that accuracy is not held against spares nobody.
    other = ACCURACY.model_copy(update={"target_accuracy": 0.95})
    assert judged(Study(60), other, at(520, 0.95), at(760, 0.94))[-1] is not None


def test_where_seconds_end_a_trial_they_tell_how_far_it_is() -> None:
    goal = ACCURACY.model_copy(update={"train_seconds": 8.0})
    study = Study(35)
    reasons = judged(study, goal, at(20, seconds=2.0), at(40, seconds=4.0), at(90, seconds=8.5))
    assert reasons[1] == "pruned after 40 steps: others were ahead there"
    assert sorted(study.compared) == [10, 35]


@pytest.mark.parametrize(("whole", "ends"), [(False, True), (True, False)])
def test_what_trains_for_too_long_ends_unless_it_must_not(*, whole: bool, ends: bool) -> None:
    goal = ACCURACY.model_copy(update={"max_seconds": 3.0})
    reasons = judged(Study(whole=whole), goal, at(100, seconds=3.0), at(110, seconds=3.1))
    told = "ended after 110 steps: it has trained for too long"
    assert reasons == [None, told if ends else None]
