"""A trial watched at its scorings: whether it should end early."""

from __future__ import annotations

from mnist_bench.results.protocol import SampleMessage
from mnist_bench.results.run import Evaluation
from mnist_bench.runner.executor import Watcher
from mnist_bench.runner.plan import TrainingJob
from mnist_bench.tuning.objective import Goal
from mnist_bench.tuning.pruning import compared_at
from mnist_bench.tuning.study import Study


class PruningCallback:
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
        self._compared = 0
        self._is_answer = False

    def reason(self) -> str | None:
        """Why the trial should end right now; None where it should not."""
        return self._reason

    def begun(self, trajectory: TrainingJob) -> None:
        """A worker was started."""
        self._watcher.begun(trajectory)

    def sampled(self, sample: SampleMessage) -> None:
        """A stretch of training has ended."""
        self._watcher.sampled(sample)

    def scored(self, evaluation: Evaluation) -> None:
        """The network was scored."""
        self._watcher.scored(evaluation)
        percent = self._goal.percent(evaluation, self._steps)
        if percent >= 100:
            return  # it is at its end as it is
        if self._goal.is_too_late(evaluation) and not self._study.is_whole(self._number):
            self._reason = f"ended after {evaluation.step} steps: it has trained for too long"
        if self._is_behind(evaluation, percent):
            self._reason = f"pruned after {evaluation.step} steps: others were ahead there"

    def _is_behind(self, evaluation: Evaluation, percent: int) -> bool:
        """Whether others were ahead; asked at the first scoring at or after each mark."""
        progress = self._goal.progress(evaluation)
        mark = compared_at(percent)
        is_first = mark > self._compared
        self._compared = mark
        behind = is_first and self._study.should_end(self._number, mark, progress)
        if percent > mark:
            self._study.came(self._number, percent, progress)
        # What has reached the target has its value, however others go on from here.
        self._is_answer = self._is_answer or self._goal.is_reached(evaluation)
        return behind and not self._is_answer

    def warned(self, line: str) -> None:
        """Something is wrong, and the trial goes on."""
        self._watcher.warned(line)

    def ended(self, trajectory: TrainingJob, failure: str | None, log_tail: str) -> None:
        """The trial has ended."""
        self._watcher.ended(trajectory, failure, log_tail)
