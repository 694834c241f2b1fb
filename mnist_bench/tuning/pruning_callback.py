"""Pruning callback: decides at each evaluation whether a trial should end early."""

from __future__ import annotations

from mnist_bench.results.protocol import SampleMessage
from mnist_bench.results.run import Evaluation
from mnist_bench.runner.executor import Watcher
from mnist_bench.runner.plan import TrainingJob
from mnist_bench.tuning.objective import Goal
from mnist_bench.tuning.pruning import compared_at
from mnist_bench.tuning.study import Study


class PruningCallback:
    """Watcher of a trial that asks the study at each evaluation whether to prune it.

    Args:
        number: Of the trial.
        steps: Of the trial.
        watcher: Gets every event too.
    """

    def __init__(self, study: Study, goal: Goal, number: int, steps: int, watcher: Watcher) -> None:
        self._study, self._goal, self._number, self._steps = study, goal, number, steps
        self._watcher = watcher
        self._reason: str | None = None
        self._compared = 0
        self._is_answer = False

    def reason(self) -> str | None:
        """Why the trial should end now; None if it should continue."""
        return self._reason

    def begun(self, job: TrainingJob) -> None:
        """The training process has started."""
        self._watcher.begun(job)

    def sampled(self, sample: SampleMessage) -> None:
        """A stretch of training has ended."""
        self._watcher.sampled(sample)

    def scored(self, evaluation: Evaluation) -> None:
        """The network was evaluated."""
        self._watcher.scored(evaluation)
        percent = self._goal.percent(evaluation, self._steps)
        if percent >= 100:
            return  # the trial ends anyway
        if self._goal.is_too_late(evaluation) and not self._study.is_exempt(self._number):
            self._reason = f"ended after {evaluation.step} steps: it has trained for too long"
        if self._should_prune(evaluation, percent):
            self._reason = f"pruned after {evaluation.step} steps: others were ahead there"

    def _should_prune(self, evaluation: Evaluation, percent: int) -> bool:
        """Whether the pruner prunes the trial, at its first evaluation at or after a checkpoint."""
        progress = self._goal.progress(evaluation)
        checkpoint = compared_at(percent)
        is_first = checkpoint > self._compared
        self._compared = checkpoint
        behind = is_first and self._study.should_end(self._number, checkpoint, progress)
        if percent > checkpoint:
            self._study.report_progress(self._number, percent, progress)
        # A trial that has reached the target has its value: it must not be pruned.
        self._is_answer = self._is_answer or self._goal.is_reached(evaluation)
        return behind and not self._is_answer

    def warned(self, line: str) -> None:
        """Something is wrong, but the trial continues."""
        self._watcher.warned(line)

    def ended(self, job: TrainingJob, failure: str | None, log_tail: str) -> None:
        """The trial has ended."""
        self._watcher.ended(job, failure, log_tail)
