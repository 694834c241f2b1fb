"""A trial watched at its scorings: whether it should end early."""

from __future__ import annotations

from mnist_bench.harness import Watcher
from mnist_bench.layout import Trajectory
from mnist_bench.objective import Goal
from mnist_bench.protocol import Sample
from mnist_bench.result import Evaluation
from mnist_bench.study import Study


class Judge:
    """Watches a trial, and asks the study at each scoring whether it should end.

    Args:
        study: Whose trial it is.
        goal: Of the study.
        number: Of the trial.
        steps: Of the trial.
        watcher: Who is told what happens as well.
    """

    def __init__(self, study: Study, goal: Goal, number: int, steps: int, watcher: Watcher) -> None:
        self._study, self._goal, self._number, self._steps = study, goal, number, steps
        self._watcher = watcher
        self._reason: str | None = None

    def reason(self) -> str | None:
        """Why the trial should end right now; None where it should not."""
        return self._reason

    def begun(self, trajectory: Trajectory) -> None:
        """A worker was started."""
        self._watcher.begun(trajectory)

    def sampled(self, sample: Sample) -> None:
        """A stretch of training has ended."""
        self._watcher.sampled(sample)

    def scored(self, evaluation: Evaluation) -> None:
        """The network was scored."""
        self._watcher.scored(evaluation)
        if evaluation.step >= self._steps:
            return  # it is at its end as it is
        if self._goal.is_too_late(evaluation) and not self._study.is_whole(self._number):
            self._reason = f"ended after {evaluation.step} steps: it has trained for too long"
        percent = 100 * evaluation.step // self._steps
        progress = self._goal.progress(evaluation)
        if self._study.should_end(self._number, percent, progress):
            self._reason = f"pruned after {evaluation.step} steps: others were ahead there"

    def warned(self, line: str) -> None:
        """Something is wrong, and the trial goes on."""
        self._watcher.warned(line)

    def ended(self, trajectory: Trajectory, failure: str | None, log_tail: str) -> None:
        """The trial has ended."""
        self._watcher.ended(trajectory, failure, log_tail)
