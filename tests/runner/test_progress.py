"""The progress bar on a terminal; only failures elsewhere."""

from __future__ import annotations

import dataclasses
import re
from io import StringIO

import pytest
from factories import SOURCE
from rich.console import Console

from mnist_bench.measurement.conditions import Stretch, TrainingStretch
from mnist_bench.results.protocol import SampleMessage
from mnist_bench.results.run import Evaluation
from mnist_bench.runner.plan import TrainingJob, TrainingPlan
from mnist_bench.runner.progress import ProgressWatcher
from mnist_bench.scenarios import paper
from mnist_bench.scenarios.execution import Execution

TWO_THREADS = Execution(threads=2)
JOB = TrainingJob(0, 0, (1_000, 10_000), TWO_THREADS)
OTHER_JOB = TrainingJob(1, 1, (1_000, 10_000), TWO_THREADS)
FAILURE = "the training process was ended by SIGKILL (out of memory, perhaps)"
LOG = "Traceback (most recent call last):\nMemoryError: [red]no room[/red]"


class Clock:
    """A clock that the test advances."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def plan(*jobs: TrainingJob) -> TrainingPlan:
    executions = tuple({job.execution: None for job in jobs})
    return TrainingPlan("table-1", paper.PROTOCOL, SOURCE, executions, jobs)


def console(width: int = 80, *, terminal: bool = True, clock: Clock | None = None) -> Console:
    return Console(
        file=StringIO(),
        width=width,
        height=25,
        force_terminal=terminal,
        color_system=None,
        legacy_windows=False,
        get_time=clock,
        _environ={"TERM": "xterm"},
    )


def lines_on(screen: Console) -> list[str]:
    """The written lines without control sequences."""
    assert isinstance(screen.file, StringIO)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.file.getvalue())
    return [line.rstrip() for line in re.split(r"[\r\n]+", text) if line.strip()]


def bar_on(screen: Console) -> str:
    """The bar as drawn last; leaving the watcher's `with` block draws it once more."""
    return lines_on(screen)[-1]


def scored(step: int, accuracy: float) -> Evaluation:
    return Evaluation(
        step=step,
        test_accuracy=accuracy,
        validation_accuracy=0.5,
        train_loss=0.25,
        train_seconds=0.0,
    )


def sample(step: int, train_seconds: float) -> SampleMessage:
    state = Stretch(wall_seconds=1.0, own_cpu_seconds=1.0)
    stretch = TrainingStretch(step=step, steps=1, train_seconds=1.0, rss_bytes=None, seen=state)
    return SampleMessage(train_seconds=train_seconds, stretch=stretch)


# On a terminal


def test_steps_accuracy_and_speed() -> None:
    screen = console()
    with ProgressWatcher(plan(JOB), screen) as watcher:
        watcher.begun(JOB)
        watcher.sampled(sample(1_000, 20.0))
        watcher.scored(scored(1_000, 0.985))
    bar = bar_on(screen)
    assert bar.startswith("seed 0 ")
    # 1,000 steps of 50 images in 20 s
    for words in ("1,000/10,000 steps", "0.9850", "2,500 img/s"):
        assert words in bar
    assert max(map(len, lines_on(screen))) <= 80


def test_a_narrow_terminal_shows_the_main_values() -> None:
    screen = console(width=40)
    with ProgressWatcher(plan(JOB), screen) as watcher:
        watcher.begun(JOB)
        watcher.sampled(sample(1_000, 20.0))
        watcher.scored(scored(1_000, 0.985))
    for words in ("1,000/10,000", "0.9850", "2,500"):
        assert words in bar_on(screen)
    assert max(map(len, lines_on(screen))) <= 40


def test_speed_is_that_of_the_last_stretch() -> None:
    screen = console()
    with ProgressWatcher(plan(JOB), screen) as watcher:
        watcher.begun(JOB)
        watcher.sampled(sample(1_000, 20.0))
        watcher.sampled(sample(1_100, 25.0))
    assert "1,000 img/s" in bar_on(screen)  # 100 steps of 50 images in 5 s
    assert "1,100/10,000 steps" in bar_on(screen)


def test_unknown_values_are_shown_as_dashes() -> None:
    screen = console()
    with ProgressWatcher(plan(JOB), screen) as watcher:
        watcher.begun(JOB)
        watcher.sampled(sample(100, 0.0))
    assert "–  – img/s" in bar_on(screen)


def test_time_left() -> None:
    clock = Clock()
    screen = console(clock=clock)
    with ProgressWatcher(plan(JOB), screen) as watcher:
        watcher.begun(JOB)
        for step in (1_000, 2_000):
            clock.now += 10
            watcher.sampled(sample(step, clock.now))
    assert bar_on(screen).endswith("01:20")  # 8,000 steps at 100 a second


def test_the_bar_says_starting_before_the_first_step() -> None:
    screen = console()
    with ProgressWatcher(plan(JOB), screen) as watcher:
        watcher.begun(JOB)
    assert "0/10,000 steps" in bar_on(screen)
    assert "starting" in bar_on(screen)


def test_several_jobs_are_counted_and_each_starts_a_new_bar() -> None:
    screen = console()
    with ProgressWatcher(plan(JOB, OTHER_JOB), screen) as watcher:
        watcher.begun(JOB)
        watcher.sampled(sample(10_000, 20.0))
        watcher.scored(scored(10_000, 0.985))
        watcher.ended(JOB, None, "")
        watcher.begun(OTHER_JOB)
        watcher.sampled(sample(100, 2.0))
    bar = bar_on(screen)
    assert bar.startswith("seed 1 (2 of 2) ")
    for words in ("100/10,000 steps", "2,500 img/s"):
        assert words in bar
    assert "0.9850" not in bar


def test_jobs_of_an_open_ended_plan_are_not_counted() -> None:
    screen = console()
    with ProgressWatcher(plan(JOB, OTHER_JOB), screen, open_ended=True) as watcher:
        watcher.begun(JOB)
        watcher.ended(JOB, None, "")
        watcher.begun(OTHER_JOB)
    assert bar_on(screen).startswith("seed 1 ")
    assert " of " not in bar_on(screen)


def test_the_bar_is_removed_when_a_job_ends() -> None:
    screen = console()
    with ProgressWatcher(plan(JOB), screen) as watcher:
        watcher.begun(JOB)
        watcher.ended(JOB, None, "")
        watcher.sampled(sample(100, 2.0))  # after the end
        watcher._bar.refresh()  # waits for a running refresh
        assert isinstance(screen.file, StringIO)
        screen.file.truncate(0)
        screen.file.seek(0)
    assert lines_on(screen) == []


# Elsewhere


def test_nothing_is_printed_without_a_terminal() -> None:
    screen = console(terminal=False)
    with ProgressWatcher(plan(JOB), screen) as watcher:
        watcher.begun(JOB)
        watcher.sampled(sample(1_000, 20.0))
        watcher.scored(scored(1_000, 0.985))
        watcher.ended(JOB, None, "")
    assert isinstance(screen.file, StringIO)
    assert screen.file.getvalue() == ""


@pytest.mark.parametrize("terminal", [True, False], ids=["terminal", "file"])
def test_a_failure_and_the_end_of_its_log_are_printed_anywhere(*, terminal: bool) -> None:
    screen = console(width=200, terminal=terminal)
    with ProgressWatcher(plan(JOB), screen) as watcher:
        watcher.begun(JOB)
        watcher.ended(JOB, FAILURE, LOG)
    lines = lines_on(screen)
    start = lines.index(f"seed 0 did not finish: {FAILURE}")
    # Brackets in a log are not Rich markup.
    assert lines[start + 1 :][:3] == ["The end of its log:", *LOG.splitlines()]


def test_a_failure_without_a_log() -> None:
    screen = console(terminal=False)
    with ProgressWatcher(plan(JOB), screen) as watcher:
        watcher.begun(JOB)
        watcher.ended(JOB, "interrupted", "")
    assert lines_on(screen) == ["seed 0 did not finish: interrupted"]


def test_jobs_of_several_thread_counts_are_named() -> None:
    one_thread = dataclasses.replace(JOB, execution=Execution(threads=1))
    screen = console(width=200)
    with ProgressWatcher(plan(one_thread, JOB), screen) as watcher:
        watcher.begun(one_thread)
        assert "seed 0, threads: 1 (1 of 2)" in bar_on(screen)
        watcher.ended(one_thread, "interrupted", "")
    assert "seed 0, threads: 1 did not finish: interrupted" in lines_on(screen)
