"""A bar over the steps of each training, on a terminal; silence elsewhere."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from mnist_bench.core import formatting
from mnist_bench.results.protocol import SampleMessage
from mnist_bench.results.run import Evaluation
from mnist_bench.runner.plan import TrainingJob, TrainingPlan


class ProgressWatcher:
    """Shows on a console how a plan goes; failures are told wherever the output goes.

    Args:
        plan: What is trained.
        console: Standard error's.
        open_ended: Whether the plan may end before its last training, so that its number of
            trainings would promise too much.
    """

    def __init__(self, plan: TrainingPlan, console: Console, *, open_ended: bool = False) -> None:
        self._plan = plan
        self._several = len(plan.executions) > 1
        self._counted = len(plan.trajectories) > 1 and not open_ended
        self._console = console
        self._bar = Progress(
            TextColumn("{task.description}"),
            SpinnerColumn("line"),  # TensorFlow takes seconds to start: something must move
            BarColumn(bar_width=None),
            TextColumn("{task.completed:,.0f}/{task.total:,.0f} steps"),
            TextColumn("{task.fields[news]}"),
            TimeRemainingColumn(compact=True),
            console=console,
            disable=not console.is_terminal,
        )
        self._task: TaskID | None = None
        self._begun = 0
        self._last_step, self._last_seconds = 0, 0.0
        self._accuracy: float | None = None
        self._images_per_second: float | None = None

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def begun(self, trajectory: TrainingJob) -> None:
        """A worker was started."""
        self._begun += 1
        of = f" ({self._begun} of {len(self._plan.trajectories)})" if self._counted else ""
        self._last_step, self._last_seconds = 0, 0.0
        self._accuracy = self._images_per_second = None
        self._task = self._bar.add_task(
            f"{self._name(trajectory)}{of}",
            total=trajectory.rows[-1],
            news="starting",
        )

    def sampled(self, sample: SampleMessage) -> None:
        """A stretch of training has ended."""
        asked = self._plan.scenario.hyperparameters
        images = (sample.step - self._last_step) * asked.images_per_step
        seconds = sample.train_seconds - self._last_seconds
        self._images_per_second = images / seconds if seconds > 0 else None
        self._last_step, self._last_seconds = sample.step, sample.train_seconds
        self._show()

    def scored(self, evaluation: Evaluation) -> None:
        """The network was scored."""
        known = evaluation.test_accuracy
        self._accuracy = evaluation.validation_accuracy if known is None else known
        self._show()

    def warned(self, line: str) -> None:
        """Something is wrong, and the plan goes on."""
        self._tell(line, "yellow")

    def ended(self, trajectory: TrainingJob, failure: str | None, log_tail: str) -> None:
        """The trajectory has ended."""
        if self._task is not None:
            self._bar.remove_task(self._task)
            self._bar.refresh()  # or the bar of before would be drawn once more, amid the words
            self._task = None
        if failure:
            self._tell(f"{self._name(trajectory)} did not finish: {failure}", "red")
        if log_tail:
            self._tell("The end of its log:", "dim")
            for line in log_tail.splitlines():
                self._tell(line, "dim")

    def _name(self, trajectory: TrainingJob) -> str:
        if self._plan.trial:
            return f"trial {self._plan.trial.number}"
        threads = f", threads: {trajectory.execution.threads}" if self._several else ""
        return f"seed {trajectory.seed}{threads}"

    def _tell(self, line: str, style: str) -> None:
        # What a library wrote may hold signs that steer a terminal.
        printable = "".join(sign if sign.isprintable() else " " for sign in line)
        self._console.print(Text(printable, style=style), soft_wrap=True)

    def _show(self) -> None:
        if self._task is None:
            return
        news = [
            f"{formatting.accuracy(self._accuracy)}",
            f"{formatting.rate(self._images_per_second)} img/s",
        ]
        self._bar.update(self._task, completed=self._last_step, news="  ".join(news))
