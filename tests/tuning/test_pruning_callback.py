"""Pruning callback: when a trial is compared, and when it is not pruned."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest

from mnist_bench.results.run import Evaluation
from mnist_bench.tuning.objective import Goal
from mnist_bench.tuning.pruning_callback import PruningCallback

ACCURACY = Goal(objective="accuracy")


class Study:
    """Fake study that records reports and prunes at given checkpoints."""

    def __init__(self, *behind_at: int, exempt: bool = False) -> None:
        self.behind_at, self.exempt = behind_at, exempt
        self.compared: dict[int, float] = {}
        self.reported: dict[int, float] = {}

    def should_end(self, number: int, percent: int, progress: float) -> bool:
        assert number == 7
        self.compared[percent] = progress
        return percent in self.behind_at

    def report_progress(self, number: int, percent: int, progress: float) -> None:
        assert number == 7
        self.reported[percent] = progress

    def is_exempt(self, number: int) -> bool:
        assert number == 7
        return self.exempt


def reasons_after(
    study: Any, goal: Goal, *evaluations: Evaluation, steps: int = 1_000
) -> list[str | None]:
    """Reason to end the trial, after each evaluation."""
    callback = PruningCallback(study, goal, 7, steps, mock.Mock())
    reasons = []
    for evaluation in evaluations:
        callback.scored(evaluation)
        reasons.append(callback.reason())
    return reasons


def at(step: int, validation: float = 0.9, seconds: float = 1.0) -> Evaluation:
    return Evaluation(
        step=step, test_accuracy=None, validation_accuracy=validation, train_loss=0.1,
        train_seconds=seconds,
    )  # fmt: skip


def test_trial_is_compared_at_its_first_evaluation_after_each_checkpoint() -> None:
    study = Study()
    every_ninety = [at(step, step / 2_000) for step in range(90, 1_000, 90)]
    assert reasons_after(study, ACCURACY, *every_ninety) == [None] * 11
    assert study.compared == {10: 0.09, 35: 0.18, 60: 0.315, 85: 0.45}
    assert study.reported[18] == 0.09
    assert sorted(study.reported) == [9, 18, 27, 36, 45, 54, 63, 72, 81, 90, 99]


def test_evaluation_at_a_checkpoint_is_reported_once() -> None:
    study = Study()
    reasons_after(study, ACCURACY, at(50, 0.6), at(350, 0.7), at(355, 0.8))
    assert (study.compared, study.reported) == ({35: 0.7}, {5: 0.6})


def test_trial_behind_at_a_checkpoint_is_pruned() -> None:
    reasons = reasons_after(Study(60), ACCURACY, at(300), at(420), at(640))
    assert reasons == [None, None, "pruned after 640 steps: others were ahead there"]


def test_last_evaluation_prunes_nothing() -> None:
    study = Study(100)
    slow = ACCURACY.model_copy(update={"max_seconds": 1.0})
    assert reasons_after(study, slow, at(1_000, seconds=9.0)) == [None]
    assert study.compared == {}


def test_trial_that_reached_the_target_is_not_pruned() -> None:
    goal = Goal(objective="time-to-accuracy", target_accuracy=0.95)
    study = Study(35, 60)
    assert reasons_after(study, goal, at(300, 0.9), at(520, 0.95), at(760, 0.94)) == [None] * 3
    assert sorted(study.compared) == [10, 35, 60]
    # The target of a space has no effect on the objective `accuracy`.
    other = ACCURACY.model_copy(update={"target_accuracy": 0.95})
    assert reasons_after(Study(60), other, at(520, 0.95), at(760, 0.94))[-1] is not None


def test_progress_by_budget() -> None:
    goal = ACCURACY.model_copy(update={"train_seconds": 8.0})
    study = Study(35)
    reasons = reasons_after(
        study, goal, at(20, seconds=2.0), at(40, seconds=4.0), at(90, seconds=8.5)
    )
    assert reasons[1] == "pruned after 40 steps: others were ahead there"
    assert sorted(study.compared) == [10, 35]


@pytest.mark.parametrize(("exempt", "ends"), [(False, True), (True, False)])
def test_trial_past_max_seconds_ends_unless_exempt(*, exempt: bool, ends: bool) -> None:
    goal = ACCURACY.model_copy(update={"max_seconds": 3.0})
    reasons = reasons_after(Study(exempt=exempt), goal, at(100, seconds=3.0), at(110, seconds=3.1))
    reason_text = "ended after 110 steps: it has trained for too long"
    assert reasons == [None, reason_text if ends else None]
