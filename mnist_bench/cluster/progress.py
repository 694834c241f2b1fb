"""Progress of a plan on a cluster: a line per ended training, and a bar for each in work.

Without bars, a line every `LINE_SECONDS` says what is in work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from mnist_bench.core import formatting
from mnist_bench.results.protocol import EvaluationMessage, Message, SampleMessage
from mnist_bench.runner.progress import LOADING, Lines, has_bars, opening_line, print_line

if TYPE_CHECKING:
    from mnist_bench.cluster.leader import Training
    from mnist_bench.results.run import RunResult
    from mnist_bench.runner.plan import TrainingPlan


class ClusterProgress:
    """Shows the progress of a plan on a console on standard error.

    Args:
        plan: What is trained.
        quiet: Whether to print only warnings and failures.
    """

    def __init__(self, plan: TrainingPlan, console: Console, *, quiet: bool = False) -> None:
        self._plan, self._console, self._quiet = plan, console, quiet
        self._ended = 0
        self._several_step_counts = len({job.step_counts for job in plan.jobs}) > 1
        self._several_executions = len(plan.executions) > 1
        self._bars: dict[str, TaskID] = {}
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.completed:,.0f}/{task.total:,.0f} steps"),
            TextColumn("{task.fields[status]}"),
            console=console,
            disable=quiet or not has_bars(console),
        )
        prints_lines = not quiet and not has_bars(console) and bool(plan.jobs)
        self._lines = Lines(self.show_line) if prints_lines else None

    def __enter__(self) -> Self:
        if self._lines:
            self._print(opening_line(self._plan, here=False))
            self._lines.__enter__()
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
        if self._lines:
            self._lines.__exit__()

    def begun(self, training: Training) -> None:
        """Show a bar for a training that a machine began."""
        self._remove(training)
        self._bars[training.job.id] = self._progress.add_task(
            f"{self._name(training)} on {training.host}",
            total=training.job.step_counts[-1],
            status=LOADING,
        )

    def received(self, training: Training, message: Message) -> None:
        """Update the bar of a training, unless its machine is gone since it sent the message."""
        bar = self._bars.get(training.job.id)
        if bar is None:
            return
        if isinstance(message, SampleMessage):
            self._progress.update(bar, completed=message.step)
        elif isinstance(message, EvaluationMessage):
            evaluation = message.evaluation
            test = evaluation.test_accuracy
            accuracy = evaluation.validation_accuracy if test is None else test
            split = "validation" if test is None else "test"
            self._progress.update(bar, status=f"{split} {formatting.accuracy(accuracy)}")

    def ended(self, training: Training, runs: tuple[RunResult, ...]) -> None:
        """Print how a training ended, with its recorded runs."""
        self._remove(training)
        self._ended += 1
        where = f" on {training.host}" if training.host else ""
        position = f"{self._ended} of {len(self._plan.jobs)}: {self._name(training)}{where}"
        if training.failure:
            self._print(f"{position} did not finish: {training.failure}", "red")
            log = training.log_tail.splitlines()
            for line in ["The end of its log:", *log] if log else ():
                self._print(line, "dim")
            return
        if self._quiet:
            return
        seconds = formatting.duration(sum(runs[-1].seconds.values()))
        accuracy = formatting.accuracy(runs[-1].max_test_accuracy)
        self._print(f"{position}: max test accuracy {accuracy}, {seconds}")

    def show_line(self) -> None:
        """Print what is in work, by the bars that a terminal would show."""
        in_work = ", ".join(
            f"{task.description} ({task.completed:,.0f} of {task.total:,.0f} steps, "
            f"{task.fields['status']})"
            for task in self._progress.tasks
        )
        done = f"{self._ended} of {len(self._plan.jobs)} trained"
        self._print(f"{done}; in work: {in_work or 'none yet'}")

    def vanished(self, training: Training) -> None:
        """Print that the machine of a training is gone."""
        self._remove(training)
        self.warned(
            f"{training.host} is gone: {self._name(training)} is trained by another machine"
        )

    def warned(self, line: str) -> None:
        """Print a warning."""
        self._print(line, "yellow")

    def _name(self, training: Training) -> str:
        job = training.job
        steps = f", {formatting.count(job.step_counts[-1])} steps"
        threads = f", threads: {job.execution.threads}"
        return (
            f"seed {job.seed}{steps if self._several_step_counts else ''}"
            f"{threads if self._several_executions else ''}"
        )

    def _remove(self, training: Training) -> None:
        if training.job.id in self._bars:
            self._progress.remove_task(self._bars.pop(training.job.id))

    def _print(self, line: str, style: str = "") -> None:
        print_line(self._console, line, style)
