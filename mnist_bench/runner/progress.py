"""Progress of a plan: a bar for each training on a terminal, lines elsewhere."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn
from rich.text import Text

from mnist_bench.core import formatting
from mnist_bench.core.formatting import count, counted
from mnist_bench.results.protocol import SampleMessage
from mnist_bench.results.run import Evaluation
from mnist_bench.runner import time_estimates
from mnist_bench.runner.plan import TrainingJob, TrainingPlan

LINE_SECONDS = 15.0
"""Interval of the lines about running trainings, where there is no terminal."""
LOADING = "loading TensorFlow"
_SCORE_SHARE = 0.3
"""Time to score an image by that to train on it, until it is known: one pass of three."""


def has_bars(console: Console) -> bool:
    """Whether bars can be drawn on the console."""
    return console.is_terminal and not console.is_dumb_terminal


def opening_line(plan: TrainingPlan, *, open_ended: bool = False, here: bool = True) -> str:
    """What a plan trains, on which images, and how long it is expected to take.

    Args:
        open_ended: Whether the plan may end before its last job.
        here: Whether this machine trains, so that its earlier runs tell how long.
    """
    trainings = counted(len(plan.jobs), "training")
    steps = counted(max(job.step_counts[-1] for job in plan.jobs), "step")
    images = f"{plan.source.name} ({count(plan.source.train_images)} images)"
    seconds = time_estimates.expected_seconds(plan, plan.jobs) if here else None
    time = "" if seconds is None else f", about {formatting.duration(seconds)}"
    at_most = "at most " if open_ended else ""
    return f"{plan.name}: {at_most}{trainings} of {steps} on {images}{time}"


def print_line(console: Console, line: str, style: str = "") -> None:
    """Print a line of a plan's progress; a library's output may contain control characters."""
    printable = "".join(char if char.isprintable() else " " for char in line)
    console.print(Text(printable, style=style), soft_wrap=True)


class Lines:
    """Calls a function at fixed intervals in a thread, while the context is open."""

    def __init__(self, show: Callable[[], None]) -> None:
        self._show = show
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(LINE_SECONDS):
            self._show()


@dataclass
class _Seen:
    """What was seen of the running training; times are by the console's clock.

    Attributes:
        begun_at: Start of the process.
        first_at: The first evaluation, after `first_step`.
        last_at: The latest evaluation, after `last_step`.
        step: Of the latest message.
    """

    job: TrainingJob
    begun_at: float
    first_at: float | None = None
    first_step: int = 0
    last_at: float = 0.0
    last_step: int = 0
    step: int = 0
    train_seconds: float = 0.0
    accuracy: float | None = None
    images_per_second: float | None = None


class ProgressWatcher:
    """Shows the progress of a plan; prints warnings and failures on any console.

    On a terminal each training has a bar. Elsewhere there is a line at the start, one for each
    training that has ended, and one every `LINE_SECONDS`; none for trials of a study.

    Args:
        console: Console on standard error.
        open_ended: Whether the plan may end before its last job, so that their number is not shown.
        quiet: Whether to print only warnings and failures.
    """

    def __init__(
        self,
        plan: TrainingPlan,
        console: Console,
        *,
        open_ended: bool = False,
        quiet: bool = False,
    ) -> None:
        self._plan = plan
        self._open_ended = open_ended
        self._console = console
        is_terminal = has_bars(console)
        prints_lines = not (quiet or is_terminal or plan.trial) and bool(plan.jobs)
        self._bar = Progress(
            TextColumn("{task.description}"),
            SpinnerColumn("line"),  # TensorFlow takes seconds to start: show activity
            BarColumn(bar_width=None),
            TextColumn("{task.completed:,.0f}/{task.total:,.0f} steps"),
            TextColumn("{task.fields[status]}"),
            console=console,
            disable=quiet or not is_terminal,
        )
        self._lines = Lines(self.show_line) if prints_lines else None
        self._costs = time_estimates.costs_of(plan)
        self._task: TaskID | None = None
        self._started = 0
        self._seen: _Seen | None = None

    def __enter__(self) -> Self:
        if self._lines:
            self._print(opening_line(self._plan, open_ended=self._open_ended))
            self._lines.__enter__()
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
        if self._lines:
            self._lines.__exit__()

    def begun(self, job: TrainingJob) -> None:
        """Show a new bar for the job."""
        self._started += 1
        self._seen = _Seen(job, self._console.get_time())
        self._task = self._bar.add_task(
            self._position(job), total=job.step_counts[-1], status=LOADING
        )

    def sampled(self, sample: SampleMessage) -> None:
        """Update the step and the speed."""
        seen = self._seen
        if seen is None:
            return
        images = (sample.step - seen.step) * self._plan.scenario.hyperparameters.images_per_step
        seconds = sample.train_seconds - seen.train_seconds
        seen.images_per_second = images / seconds if seconds > 0 else None
        seen.step, seen.train_seconds = sample.step, sample.train_seconds
        self._show()

    def scored(self, evaluation: Evaluation) -> None:
        """Update the accuracy."""
        seen = self._seen
        if seen is None:
            return
        test = evaluation.test_accuracy
        seen.accuracy = evaluation.validation_accuracy if test is None else test
        seen.last_at, seen.last_step = self._console.get_time(), evaluation.step
        if seen.first_at is None:
            seen.first_at, seen.first_step = seen.last_at, seen.last_step
        self._show()

    def warned(self, line: str) -> None:
        """Print a warning."""
        self._print(line, "yellow")

    def ended(self, job: TrainingJob, failure: str | None, log_tail: str) -> None:
        """Remove the bar; print how the job ended: on a terminal, only if it failed."""
        if self._task is not None:
            self._bar.remove_task(self._task)
            self._bar.refresh()  # or the old bar would be drawn once more between the lines
            self._task = None
        seen, self._seen = self._seen, None
        if failure:
            self._print(f"{self._name(job)} did not finish: {failure}", "red")
        elif self._lines and seen:
            took = formatting.duration(self._console.get_time() - seen.begun_at)
            self._print(f"{self._position(job)}: {self._accuracy(seen)}, took {took}")
        if log_tail:
            self._print("The end of its log:", "dim")
            for line in log_tail.splitlines():
                self._print(line, "dim")

    def show_line(self) -> None:
        """Print the state of the running training, if there is one."""
        seen = self._seen
        if seen is None:
            return
        state = LOADING
        if seen.step == seen.job.step_counts[-1]:
            state = f"{counted(seen.step, 'step')} done, {self._accuracy(seen)}, recording"
        elif seen.step:
            steps = f"{count(seen.step)} of {counted(seen.job.step_counts[-1], 'step')}"
            state = f"{steps}, {', '.join(self._figures(seen))}"
        self._print(f"{self._position(seen.job)}: {state}")

    def _name(self, job: TrainingJob) -> str:
        if self._plan.trial:
            return f"trial {self._plan.trial.number}"
        threads = f", threads: {job.execution.threads}" if len(self._plan.executions) > 1 else ""
        return f"seed {job.seed}{threads}"

    def _position(self, job: TrainingJob) -> str:
        jobs = len(self._plan.jobs)
        position = f" ({self._started} of {jobs})" if jobs > 1 and not self._open_ended else ""
        return f"{self._name(job)}{position}"

    def _accuracy(self, seen: _Seen) -> str:
        split = "validation" if self._plan.trial else "test"
        return f"{split} {formatting.accuracy(seen.accuracy)}"

    def _figures(self, seen: _Seen) -> list[str]:
        """Accuracy, speed and time left, each with its label."""
        speed = f"{formatting.rate(seen.images_per_second)} images/s"
        left = self._seconds_left(seen)
        return [self._accuracy(seen), speed] + (
            [] if left is None else [f"{formatting.clock(left)} left"]
        )

    def _seconds_left(self, seen: _Seen) -> float | None:
        """Expected seconds to the end of the plan, or of the job if the plan is open-ended.

        By the pace between the first evaluation and the latest; before, by earlier runs here.
        """
        following = () if self._open_ended else self._plan.jobs[self._started :]
        done = self._work(seen.job, seen.last_step) - self._work(seen.job, seen.first_step)
        whole = self._work(seen.job, seen.job.step_counts[-1])
        if seen.first_at is None or done <= 0 or seen.last_at <= seen.first_at:
            return self._expected((seen.job, *following))
        pace = (seen.last_at - seen.first_at) / done
        loading = seen.first_at - seen.begun_at
        seconds = pace * (whole - self._work(seen.job, seen.step))
        for job in following:
            known = None
            if job.execution != seen.job.execution:
                known = self._expected((job,))
            work = self._work(job, job.step_counts[-1])
            seconds += loading + pace * work if known is None else known
        return seconds

    def _expected(self, jobs: Sequence[TrainingJob]) -> float | None:
        return time_estimates.expected_seconds(self._plan, jobs, self._costs)

    def _work(self, job: TrainingJob, step: int) -> float:
        """Training and scoring up to a step, as a number of images trained."""
        scenario, scored = self._plan.scenario, self._plan.source.scored_images
        reached = tuple(steps for steps in job.step_counts if steps < step)
        work = time_estimates.work_of(scenario, (*reached, step), scored)
        cost = self._costs[job.execution]
        share = (
            cost.train_images_per_second / cost.score_images_per_second if cost else _SCORE_SHARE
        )
        return work.train_images + share * work.score_images

    def _print(self, line: str, style: str = "") -> None:
        print_line(self._console, line, style)

    def _show(self) -> None:
        if self._task is None or self._seen is None or self._bar.disable:
            return
        status = "  ".join(self._figures(self._seen))
        self._bar.update(self._task, completed=self._seen.step, status=status)
