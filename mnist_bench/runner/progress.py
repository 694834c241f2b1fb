"""Progress bar of each training on a terminal; elsewhere only warnings and failures."""

from __future__ import annotations

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
    """Shows the progress of a plan; prints warnings and failures on any console.

    Args:
        console: Console on standard error.
        open_ended: Whether the plan may end before its last job, so that their number is not shown.
        show_bar: Whether to show a bar on a terminal.
    """

    def __init__(
        self,
        plan: TrainingPlan,
        console: Console,
        *,
        open_ended: bool = False,
        show_bar: bool = True,
    ) -> None:
        self._plan = plan
        self._several = len(plan.executions) > 1
        self._counted = len(plan.jobs) > 1 and not open_ended
        self._console = console
        self._bar = Progress(
            TextColumn("{task.description}"),
            SpinnerColumn("line"),  # TensorFlow takes seconds to start: show activity
            BarColumn(bar_width=None),
            TextColumn("{task.completed:,.0f}/{task.total:,.0f} steps"),
            TextColumn("{task.fields[status]}"),
            TimeRemainingColumn(compact=True),
            console=console,
            disable=not (show_bar and console.is_terminal),
        )
        self._task: TaskID | None = None
        self._started = 0
        self._last_step, self._last_seconds = 0, 0.0
        self._accuracy: float | None = None
        self._images_per_second: float | None = None

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def begun(self, job: TrainingJob) -> None:
        """Show a new bar for the job."""
        self._started += 1
        position = f" ({self._started} of {len(self._plan.jobs)})" if self._counted else ""
        self._last_step, self._last_seconds = 0, 0.0
        self._accuracy = self._images_per_second = None
        self._task = self._bar.add_task(
            f"{self._name(job)}{position}", total=job.step_counts[-1], status="starting"
        )

    def sampled(self, sample: SampleMessage) -> None:
        """Update the step and the speed."""
        hyperparameters = self._plan.scenario.hyperparameters
        images = (sample.step - self._last_step) * hyperparameters.images_per_step
        seconds = sample.train_seconds - self._last_seconds
        self._images_per_second = images / seconds if seconds > 0 else None
        self._last_step, self._last_seconds = sample.step, sample.train_seconds
        self._show()

    def scored(self, evaluation: Evaluation) -> None:
        """Update the accuracy."""
        test = evaluation.test_accuracy
        self._accuracy = evaluation.validation_accuracy if test is None else test
        self._show()

    def warned(self, line: str) -> None:
        """Print a warning."""
        self._print(line, "yellow")

    def ended(self, job: TrainingJob, failure: str | None, log_tail: str) -> None:
        """Remove the bar; print why the job failed, if it did."""
        if self._task is not None:
            self._bar.remove_task(self._task)
            self._bar.refresh()  # or the old bar would be drawn once more between the lines
            self._task = None
        if failure:
            self._print(f"{self._name(job)} did not finish: {failure}", "red")
        if log_tail:
            self._print("The end of its log:", "dim")
            for line in log_tail.splitlines():
                self._print(line, "dim")

    def _name(self, job: TrainingJob) -> str:
        if self._plan.trial:
            return f"trial {self._plan.trial.number}"
        threads = f", threads: {job.execution.threads}" if self._several else ""
        return f"seed {job.seed}{threads}"

    def _print(self, line: str, style: str) -> None:
        # A library's output may contain control characters.
        printable = "".join(char if char.isprintable() else " " for char in line)
        self._console.print(Text(printable, style=style), soft_wrap=True)

    def _show(self) -> None:
        if self._task is None:
            return
        accuracy = formatting.accuracy(self._accuracy)
        status = f"{accuracy}  {formatting.rate(self._images_per_second)} img/s"
        self._bar.update(self._task, completed=self._last_step, status=status)
