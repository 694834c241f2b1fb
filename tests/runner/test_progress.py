"""The bar over the steps: what a terminal shows, and that nothing else shows it."""

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
TRAJECTORY = TrainingJob(0, 0, (1_000, 10_000), TWO_THREADS)
OTHER = TrainingJob(1, 1, (1_000, 10_000), TWO_THREADS)
FAILURE = "the training process was ended by SIGKILL (out of memory, perhaps)"
LOG = "Traceback (most recent call last):\nMemoryError: [red]no room[/red]"


class Clock:
    """Seconds that go on only when they are told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def plan(*trajectories: TrainingJob) -> TrainingPlan:
    ways = tuple({trajectory.execution: None for trajectory in trajectories})
    return TrainingPlan("table-1", paper.PROTOCOL, SOURCE, ways, trajectories)


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
    """What was written, line by line, without what only moves the cursor."""
    assert isinstance(screen.file, StringIO)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.file.getvalue())
    return [line.rstrip() for line in re.split(r"[\r\n]+", text) if line.strip()]


def bar_on(screen: Console) -> str:
    """The bar as it was drawn last; leaving the watcher's block draws it once more."""
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
    seen = Stretch(wall_seconds=1.0, own_cpu_seconds=1.0)
    stretch = TrainingStretch(step=step, steps=1, train_seconds=1.0, rss_bytes=None, seen=seen)
    return SampleMessage(train_seconds=train_seconds, stretch=stretch)


# On a terminal


def test_steps_accuracy_and_speed() -> None:
    screen = console()
    with ProgressWatcher(plan(TRAJECTORY), screen) as watcher:
        watcher.begun(TRAJECTORY)
        watcher.sampled(sample(1_000, 20.0))
        watcher.scored(scored(1_000, 0.985))
    bar = bar_on(screen)
    assert bar.startswith("seed 0 ")
    # 1,000 steps of 50 images in 20 s
    for words in ("1,000/10,000 steps", "0.9850", "2,500 img/s"):
        assert words in bar
    assert max(map(len, lines_on(screen))) <= 80


def test_a_narrow_terminal_keeps_what_matters() -> None:
    screen = console(width=40)
    with ProgressWatcher(plan(TRAJECTORY), screen) as watcher:
        watcher.begun(TRAJECTORY)
        watcher.sampled(sample(1_000, 20.0))
        watcher.scored(scored(1_000, 0.985))
    for words in ("1,000/10,000", "0.9850", "2,500"):
        assert words in bar_on(screen)
    assert max(map(len, lines_on(screen))) <= 40


def test_speed_is_that_of_the_last_stretch() -> None:
    screen = console()
    with ProgressWatcher(plan(TRAJECTORY), screen) as watcher:
        watcher.begun(TRAJECTORY)
        watcher.sampled(sample(1_000, 20.0))
        watcher.sampled(sample(1_100, 25.0))
    assert "1,000 img/s" in bar_on(screen)  # 100 steps of 50 images in 5 s
    assert "1,100/10,000 steps" in bar_on(screen)


def test_what_is_not_known_is_not_0() -> None:
    screen = console()
    with ProgressWatcher(plan(TRAJECTORY), screen) as watcher:
        watcher.begun(TRAJECTORY)
        watcher.sampled(sample(100, 0.0))
    assert "–  – img/s" in bar_on(screen)


def test_time_left() -> None:
    clock = Clock()
    screen = console(clock=clock)
    with ProgressWatcher(plan(TRAJECTORY), screen) as watcher:
        watcher.begun(TRAJECTORY)
        for step in (1_000, 2_000):
            clock.now += 10
            watcher.sampled(sample(step, clock.now))
    assert bar_on(screen).endswith("01:20")  # 8,000 steps at 100 a second


def test_before_the_first_step_it_says_why_nothing_moves() -> None:
    screen = console()
    with ProgressWatcher(plan(TRAJECTORY), screen) as watcher:
        watcher.begun(TRAJECTORY)
    assert "0/10,000 steps" in bar_on(screen)
    assert "starting" in bar_on(screen)


def test_several_trainings_are_counted_and_each_begins_anew() -> None:
    screen = console()
    with ProgressWatcher(plan(TRAJECTORY, OTHER), screen) as watcher:
        watcher.begun(TRAJECTORY)
        watcher.sampled(sample(10_000, 20.0))
        watcher.scored(scored(10_000, 0.985))
        watcher.ended(TRAJECTORY, None, "")
        watcher.begun(OTHER)
        watcher.sampled(sample(100, 2.0))
    bar = bar_on(screen)
    assert bar.startswith("seed 1 (2 of 2) ")
    for words in ("100/10,000 steps", "2,500 img/s"):
        assert words in bar
    assert "0.9850" not in bar


def test_trainings_without_a_number_are_not_counted() -> None:
    screen = console()
    with ProgressWatcher(plan(TRAJECTORY, OTHER), screen, open_ended=True) as watcher:
        watcher.begun(TRAJECTORY)
        watcher.ended(TRAJECTORY, None, "")
        watcher.begun(OTHER)
    assert bar_on(screen).startswith("seed 1 ")
    assert " of " not in bar_on(screen)


def test_a_training_that_has_ended_leaves_no_bar() -> None:
    screen = console()
    with ProgressWatcher(plan(TRAJECTORY), screen) as watcher:
        watcher.begun(TRAJECTORY)
        watcher.ended(TRAJECTORY, None, "")
        watcher.sampled(sample(100, 2.0))  # too late to show
        watcher._bar.refresh()  # waits for one that is under way
        assert isinstance(screen.file, StringIO)
        screen.file.truncate(0)
        screen.file.seek(0)
    assert lines_on(screen) == []


# Elsewhere


def test_silence_where_nobody_watches() -> None:
    screen = console(terminal=False)
    with ProgressWatcher(plan(TRAJECTORY), screen) as watcher:
        watcher.begun(TRAJECTORY)
        watcher.sampled(sample(1_000, 20.0))
        watcher.scored(scored(1_000, 0.985))
        watcher.ended(TRAJECTORY, None, "")
    assert isinstance(screen.file, StringIO)
    assert screen.file.getvalue() == ""


@pytest.mark.parametrize("terminal", [True, False], ids=["terminal", "file"])
def test_a_failure_and_the_end_of_its_log_are_told_anywhere(*, terminal: bool) -> None:
    screen = console(width=200, terminal=terminal)
    with ProgressWatcher(plan(TRAJECTORY), screen) as watcher:
        watcher.begun(TRAJECTORY)
        watcher.ended(TRAJECTORY, FAILURE, LOG)
    lines = lines_on(screen)
    start = lines.index(f"seed 0 did not finish: {FAILURE}")
    # What a library wrote is no markup of ours.
    assert lines[start + 1 :][:3] == ["The end of its log:", *LOG.splitlines()]


def test_a_failure_without_a_log() -> None:
    screen = console(terminal=False)
    with ProgressWatcher(plan(TRAJECTORY), screen) as watcher:
        watcher.begun(TRAJECTORY)
        watcher.ended(TRAJECTORY, "interrupted", "")
    assert lines_on(screen) == ["seed 0 did not finish: interrupted"]


def test_of_several_thread_counts_each_training_is_named() -> None:
    alone = dataclasses.replace(TRAJECTORY, execution=Execution(threads=1))
    screen = console(width=200)
    with ProgressWatcher(plan(alone, TRAJECTORY), screen) as watcher:
        watcher.begun(alone)
        assert "seed 0, threads: 1 (1 of 2)" in bar_on(screen)
        watcher.ended(alone, "interrupted", "")
    assert "seed 0, threads: 1 did not finish: interrupted" in lines_on(screen)
