"""Progress of a plan on a cluster: a line per ended training, and a bar for each in work."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.text import Text

from mnist_bench.core import formatting
from mnist_bench.results.protocol import EvaluationMessage, Message, SampleMessage

if TYPE_CHECKING:
    from mnist_bench.cluster.tasks import Attempt
    from mnist_bench.results.run import RunResult
    from mnist_bench.runner.plan import TrainingJob, TrainingPlan


class ClusterProgress:
    """Shows the progress of a plan on a console on standard error.

    Args:
        plan: What is trained.
    """

    def __init__(self, plan: TrainingPlan, console: Console) -> None:
        self._plan, self._console = plan, console
        self._ended = 0
        self._several_step_counts = len({job.step_counts for job in plan.jobs}) > 1
        self._several_executions = len(plan.executions) > 1
        self._bars: dict[str, TaskID] = {}
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.completed:,.0f}/{task.total:,.0f} steps"),
            TextColumn("{task.fields[accuracy]}"),
            console=console,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def begun(self, job: TrainingJob, attempt: Attempt) -> None:
        """Show a bar for a training that a machine began."""
        self._remove(job)
        self._bars[job.id] = self._progress.add_task(
            f"{self._name(job)} on {attempt.host}", total=job.step_counts[-1], accuracy="starting"
        )

    def received(self, job: TrainingJob, message: Message) -> None:
        """Update the bar of a training."""
        if job.id not in self._bars:
            return
        if isinstance(message, SampleMessage):
            self._progress.update(self._bars[job.id], completed=message.step)
        elif isinstance(message, EvaluationMessage):
            evaluation = message.evaluation
            test = evaluation.test_accuracy
            accuracy = evaluation.validation_accuracy if test is None else test
            self._progress.update(self._bars[job.id], accuracy=formatting.accuracy(accuracy))

    def ended(
        self, job: TrainingJob, host: str, runs: tuple[RunResult, ...], failure: str, log_tail: str
    ) -> None:
        """Print how a training ended.

        Args:
            host: Name of the machine that trained it.
            runs: Its recorded runs.
            failure: Why it failed; empty if it did not.
            log_tail: The end of its log, if it failed.
        """
        self._remove(job)
        self._ended += 1
        where = f"{self._name(job)} on {host}" if host else self._name(job)
        position = f"{self._ended} of {len(self._plan.jobs)}: {where}"
        if failure:
            self._print(f"{position} did not finish: {failure}", "red")
            for line in ["The end of its log:", *log_tail.splitlines()] if log_tail else ():
                self._print(line, "dim")
            return
        longest = runs[-1]
        seconds = formatting.duration(sum(longest.seconds.values()))
        accuracy = formatting.accuracy(longest.max_test_accuracy)
        self._print(f"{position}: max test accuracy {accuracy}, {seconds}", "")

    def vanished(self, job: TrainingJob, attempt: Attempt) -> None:
        """Print that the machine of a training is gone."""
        self._remove(job)
        self.warned(f"{attempt.host} is gone: {self._name(job)} is trained by another machine")

    def warned(self, line: str) -> None:
        """Print a warning."""
        self._print(line, "yellow")

    def _name(self, job: TrainingJob) -> str:
        steps = f", {formatting.count(job.step_counts[-1])} steps"
        threads = f", threads: {job.execution.threads}"
        return (
            f"seed {job.seed}{steps if self._several_step_counts else ''}"
            f"{threads if self._several_executions else ''}"
        )

    def _remove(self, job: TrainingJob) -> None:
        if job.id in self._bars:
            self._progress.remove_task(self._bars.pop(job.id))

    def _print(self, line: str, style: str) -> None:
        # Names and logs of other machines may contain control characters.
        printable = "".join(char if char.isprintable() else " " for char in line)
        self._console.print(Text(printable, style=style), soft_wrap=True)
