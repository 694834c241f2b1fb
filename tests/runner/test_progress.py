"""The progress bar on a terminal; lines elsewhere."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from io import StringIO

import pytest
from factories import SOURCE
from rich.console import Console

from mnist_bench.measurement.conditions import Stretch, TrainingStretch
from mnist_bench.results.protocol import SampleMessage
from mnist_bench.results.run import Evaluation, Trial
from mnist_bench.runner.plan import TrainingJob, TrainingPlan
from mnist_bench.runner.progress import LOADING, ProgressWatcher
from mnist_bench.scenarios import paper
from mnist_bench.scenarios.execution import Execution

TWO_THREADS = Execution(threads=2)
JOB = TrainingJob(0, 0, (1_000, 10_000), TWO_THREADS)
OTHER_JOB = TrainingJob(1, 1, (1_000, 10_000), TWO_THREADS)
ONE_THREAD = dataclasses.replace(JOB, execution=Execution(threads=1))
FAILURE = "the training process was ended by SIGKILL (out of memory, perhaps)"
LOG = "Traceback (most recent call last):\nMemoryError: [red]no room[/red]"


def plan(*jobs: TrainingJob, trial: Trial | None = None) -> TrainingPlan:
    executions = tuple({job.execution: None for job in jobs})
    return TrainingPlan("table-1", paper.PROTOCOL, SOURCE, executions, jobs, trial)


def console(
    width: int = 80, *, terminal: bool = True, clock: Callable[[], float] | None = None
) -> Console:
    return Console(
        file=StringIO(), width=width, height=25, force_terminal=terminal, color_system=None,
        legacy_windows=False, get_time=clock, _environ={"TERM": "xterm"},
    )  # fmt: skip


def lines_on(screen: Console) -> list[str]:
    """The written lines without control sequences."""
    assert isinstance(screen.file, StringIO)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.file.getvalue())
    return [line.rstrip() for line in re.split(r"[\r\n]+", text) if line.strip()]


def train(watcher: ProgressWatcher, step: int, seconds: float, accuracy: float = 0) -> None:
    """A stretch of training to a step, and an evaluation if it has an accuracy."""
    seen = Stretch(wall_seconds=1.0, own_cpu_seconds=1.0)
    stretch = TrainingStretch(step=step, steps=1, train_seconds=1.0, rss_bytes=None, seen=seen)
    watcher.sampled(SampleMessage(train_seconds=seconds, stretch=stretch))
    if accuracy:
        watcher.scored(
            Evaluation(step=step, test_accuracy=accuracy, validation_accuracy=0.5, train_loss=0.25,
                       train_seconds=0.0)
        )  # fmt: skip


def two_jobs(watcher: ProgressWatcher) -> None:
    train(watcher, 10_000, 20.0, 0.985)
    watcher.ended(JOB, None, "")
    watcher.begun(OTHER_JOB)
    train(watcher, 100, 2.0)


@pytest.mark.parametrize(
    ("width", "jobs", "events", "start", "words"),
    [
        # 1,000 steps of 50 images in 20 s
        (
            80,
            (JOB,),
            lambda watcher: train(watcher, 1_000, 20.0, 0.985),
            "seed 0 ",
            ("1,000/10,000 steps", "test 0.9850", "2,500 images/s"),
        ),
        (
            40,
            (JOB,),
            lambda watcher: train(watcher, 1_000, 20.0, 0.985),
            "",
            ("1,000/10,000",),
        ),
        # The speed is that of the last stretch: 100 steps of 50 images in 5 s.
        (
            80,
            (JOB,),
            lambda watcher: (train(watcher, 1_000, 20.0), train(watcher, 1_100, 25.0)),
            "seed 0 ",
            ("1,000 images/s", "1,100/10,000 steps"),
        ),
        (80, (JOB,), lambda watcher: train(watcher, 100, 0.0), "seed 0 ", ("test –  – images/s",)),
        (80, (JOB,), lambda _: None, "seed 0 ", ("0/10,000 steps", LOADING)),
        # Each job starts a new bar, without the accuracy of the one before.
        (
            80,
            (JOB, OTHER_JOB),
            two_jobs,
            "seed 1 (2 of 2) ",
            ("100/10,000 steps", "–", "2,500 images/s"),
        ),
        (200, (JOB, ONE_THREAD), lambda _: None, "seed 0, threads: 2 (1 of 2)", ()),
    ],
)
def test_bar(
    width: int, jobs: tuple[TrainingJob, ...], events: Callable[[ProgressWatcher], object],
    start: str, words: tuple[str, ...],
) -> None:  # fmt: skip
    screen = console(width)
    with ProgressWatcher(plan(*jobs), screen) as watcher:
        watcher.begun(jobs[0])
        events(watcher)
    # As drawn last; leaving the watcher's `with` block draws it once more.
    bar = lines_on(screen)[-1]
    assert bar.startswith(start)
    for each in words:
        assert each in bar
    assert max(map(len, lines_on(screen))) <= width


@pytest.mark.parametrize(
    ("jobs", "left"),
    [
        # 8,000 steps at 100 a second; scoring keeps its share of the time.
        ((JOB,), "1:20 left"),
        # The next seed loads TensorFlow for as long, 10 s, and scores twice more.
        ((JOB, OTHER_JOB), "3:11 left"),
    ],
)
def test_time_left(jobs: tuple[TrainingJob, ...], left: str) -> None:
    seconds = [0.0]
    screen = console(width=120, clock=lambda: seconds[0])
    with ProgressWatcher(plan(*jobs), screen) as watcher:
        watcher.begun(JOB)
        for step in (1_001, 2_001):
            seconds[0] += 10
            train(watcher, step, seconds[0], 0.98)
    assert lines_on(screen)[-1].endswith(left)


def test_lines_without_a_terminal() -> None:
    seconds = [0.0]
    screen = console(width=200, terminal=False, clock=lambda: seconds[0])
    with ProgressWatcher(plan(JOB, OTHER_JOB), screen) as watcher:
        watcher.begun(JOB)
        watcher.show_line()
        for step, accuracy in ((1_001, 0.98), (2_001, 0.985)):
            seconds[0] += 10
            train(watcher, step, seconds[0], accuracy)
        watcher.show_line()
        watcher.ended(JOB, None, "")
        watcher.show_line()
    assert lines_on(screen) == [
        "table-1: 2 trainings of 10,000 steps on mnist (55,000 images)",
        "seed 0 (1 of 2): loading TensorFlow",
        "seed 0 (1 of 2): 2,001 of 10,000 steps, test 0.9850, 5,000 images/s, 3:11 left",
        "seed 0 (1 of 2): test 0.9850, took 20.0 s",
    ]


def test_jobs_of_an_open_ended_plan_are_not_counted() -> None:
    screen = console()
    with ProgressWatcher(plan(JOB, OTHER_JOB), screen, open_ended=True) as watcher:
        watcher.begun(JOB)
        watcher.ended(JOB, None, "")
        watcher.begun(OTHER_JOB)
    assert lines_on(screen)[-1].startswith("seed 1 ")
    assert " of " not in lines_on(screen)[-1]


def test_the_bar_is_removed_when_a_job_ends() -> None:
    screen = console()
    with ProgressWatcher(plan(JOB), screen) as watcher:
        watcher.begun(JOB)
        watcher.ended(JOB, None, "")
        train(watcher, 100, 2.0)  # after the end
        watcher._bar.refresh()  # waits for a running refresh
        assert isinstance(screen.file, StringIO)
        screen.file.truncate(0)
        screen.file.seek(0)
    assert lines_on(screen) == []


@pytest.mark.parametrize(
    ("jobs", "trial", "failure", "log", "lines"),
    [
        ((JOB,), None, None, "", []),
        ((JOB,), None, "interrupted", "", ["seed 0 did not finish: interrupted"]),
        (
            (ONE_THREAD, JOB),
            None,
            "interrupted",
            "",
            ["seed 0, threads: 1 did not finish: interrupted"],
        ),
        (
            (JOB,),
            Trial(study="s", number=3, parent_run_id="p"),
            "interrupted",
            "",
            ["trial 3 did not finish: interrupted"],
        ),
        # Brackets in a log are not Rich markup.
        (
            (JOB,),
            None,
            FAILURE,
            LOG,
            [f"seed 0 did not finish: {FAILURE}", "The end of its log:", *LOG.splitlines()],
        ),
    ],
)
@pytest.mark.parametrize("terminal", [True, False], ids=["terminal", "file"])
def test_failures_are_printed_anywhere(
    jobs: tuple[TrainingJob, ...], trial: Trial | None, failure: str | None, log: str,
    lines: list[str], *, terminal: bool,
) -> None:  # fmt: skip
    screen = console(width=200, terminal=terminal)
    with ProgressWatcher(plan(*jobs, trial=trial), screen, quiet=not terminal) as watcher:
        watcher.begun(jobs[0])
        train(watcher, 1_000, 20.0, 0.985)
        watcher.ended(jobs[0], failure, log)
    printed = lines_on(screen)
    if terminal:
        printed = [line for line in printed if " images/s" not in line and LOADING not in line]
    assert printed == lines
