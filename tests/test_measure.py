"""Clock and memory, around a trainer that trains nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest
from stand_ins import SOURCE

from mnist_bench import measure, protocol
from mnist_bench.measure import PeakRss, PhaseClock, RowFiles, Trajectory, peak_rss
from mnist_bench.protocol import Message, Request, RowEnd, Sample, Scored
from mnist_bench.scenario import Grid, PaperCnnHyperparameters

MIB = 2**20
METHODS = {"linux": "VmHWM", "darwin": "ru_maxrss", "win32": "peak_wset"}


@dataclass
class Time:
    """A clock that is moved by hand."""

    seconds: float = 1_000.0

    def perf_counter(self) -> float:
        return self.seconds


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Time:
    """A clock in a process that was started at 900 s and is two and a half seconds old."""
    clock = Time()
    fake = SimpleNamespace(perf_counter=clock.perf_counter, time=lambda: 902.5)
    monkeypatch.setattr(measure, "time", fake)
    return clock


# Phases


def test_phases_add_up_to_the_life_of_the_process(now: Time) -> None:
    clock = PhaseClock(900.0)
    with clock.phase("import"):
        now.seconds += 4
    now.seconds += 1
    for _ in range(2):
        with clock.phase("train"):
            now.seconds += 10
        with clock.phase("evaluate"):
            now.seconds += 3
    phases = {"import": 4, "train": 20, "evaluate": 6}
    assert clock.so_far() == pytest.approx({**phases, "other": 2.5 + 1})
    assert sum(clock.so_far().values()) == pytest.approx(2.5 + 4 + 1 + 26)
    assert {name: clock.seconds(name) for name in phases} == pytest.approx(phases)
    assert clock.seconds("trace") == 0


def test_a_phase_that_fails_is_counted(now: Time) -> None:
    clock = PhaseClock(900.0)
    with pytest.raises(ValueError, match="no image"), clock.phase("data"):
        now.seconds += 2
        raise ValueError("no image")
    assert clock.seconds("data") == 2


def test_other_is_never_negative(now: Time) -> None:
    clock = PhaseClock(900.0)
    with clock.phase("import"):
        now.seconds += 1
    now.seconds -= 5  # a start that was told too late
    assert clock.so_far()["other"] == 0


# Memory


def test_peak_memory_and_its_method() -> None:
    resident_bytes = psutil.Process().memory_info().rss
    peak = peak_rss()
    assert peak.method == METHODS.get(sys.platform)
    if peak.method is None:
        assert peak.bytes is None
    else:
        assert peak.bytes is not None
        assert peak.bytes > 0.9 * resident_bytes


@pytest.mark.skipif(sys.platform != "linux", reason="reads VmHWM")
def test_peak_memory_is_the_processes_own_and_keeps_its_mark() -> None:
    code = """
import numpy as np
from mnist_bench.measure import peak_rss
marks = [peak_rss().bytes]
held = np.ones(200 * 2**20, np.uint8)
marks.append(peak_rss().bytes)
del held
marks.append(peak_rss().bytes)
print(*marks)
"""
    inherited = np.ones(400 * MIB, np.uint8)  # a child has nothing of its parent's peak
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, full, after = (int(mark) for mark in done.stdout.split())
    assert inherited[-1] == 1
    assert 10 * MIB < before < 300 * MIB
    assert 190 * MIB < full - before < 230 * MIB
    assert after >= full - MIB  # the kernel counts pages in batches


# A trajectory


@dataclass(frozen=True)
class Score:
    """Scores that tell where they come from."""

    split: str
    step: int
    accuracy: float


@dataclass
class Trainer:
    """A quarter of a second a step; a second to score validation, two for test.

    Attributes:
        now: Moved by what it does.
        loss: Of the step with this number.
        validation: Accuracies by step; 0.5 elsewhere.
        step: Updates done.
    """

    now: Time
    loss: Callable[[int], float] = float
    validation: Mapping[int, float] = field(default_factory=dict)
    step: int = 0

    def advance(self, steps: int) -> Any:
        self.now.seconds += steps * 0.25
        first, self.step = self.step + 1, self.step + steps
        return np.array([self.loss(step) for step in range(first, self.step + 1)], np.float32)

    def evaluate(self, split: str) -> Score:
        if split == "validation":
            self.now.seconds += 1
            return Score(split, self.step, self.validation.get(self.step, 0.5))
        self.now.seconds += 2
        return Score(split, self.step, self.step / 1_000)


def told(
    trainer: Trainer, rows: tuple[int, ...] = (250, 501), *, first: int = 1, every: int = 100
) -> list[Message | RowFiles]:
    """Everything that a trajectory says and keeps, in order."""
    request = Request(
        model="paper-cnn",
        hyperparameters=PaperCnnHyperparameters(),
        training_seed=0,
        rows=rows,
        grid=Grid(first=first, every=every),
        source=SOURCE,
        threads=1,
        folder="nowhere",
        started_at=900.0,
    )
    found: list[Message | RowFiles] = []
    Trajectory(trainer, request, PhaseClock(900.0), found.append, found.append).run()
    return found


def in_words(entry: Message | RowFiles) -> str:
    match entry:
        case Sample():
            return f"trained to {entry.step}"
        case Scored():
            return f"scored at {entry.evaluation.step}"
        case RowFiles():
            return f"kept {entry.steps}"
        case RowEnd():
            return f"ended {entry.steps}"
    return "something else"


def losses(entries: list[Message | RowFiles]) -> dict[int, float | None]:
    scored = [entry.evaluation for entry in entries if isinstance(entry, Scored)]
    return {evaluation.step: evaluation.train_loss for evaluation in scored}


def test_what_a_trajectory_of_two_rows_says(now: Time) -> None:
    assert [in_words(entry) for entry in told(Trainer(now))] == [
        "trained to 1",
        "scored at 1",
        "trained to 101",
        "scored at 101",
        "trained to 201",
        "scored at 201",
        "trained to 250",
        "scored at 250",
        "kept 250",
        "ended 250",
        "trained to 301",
        "scored at 301",
        "trained to 401",
        "scored at 401",
        "trained to 501",
        "scored at 501",
        "kept 501",
        "ended 501",
    ]


def test_it_is_never_silent_for_more_than_100_steps(now: Time) -> None:
    entries = told(Trainer(now), (600,), first=1, every=250)
    steps = [entry.step for entry in entries if isinstance(entry, Sample)]
    assert steps == [1, 101, 201, 251, 351, 451, 501, 600]


def test_what_it_says_can_be_sent(now: Time) -> None:
    messages = [entry for entry in told(Trainer(now)) if not isinstance(entry, RowFiles)]
    assert [protocol.parse(message.model_dump_json()) for message in messages] == messages


def test_train_loss_is_the_mean_since_the_grid_step_before(now: Time) -> None:
    # The loss of step n is n, and the mean of a to b is (a + b) / 2. The scoring at 250 lies off
    # the grid: it takes the steps since 201, and takes them from nobody.
    assert losses(told(Trainer(now))) == pytest.approx(
        {
            1: 1,
            101: (2 + 101) / 2,
            201: (102 + 201) / 2,
            250: (202 + 250) / 2,
            301: (202 + 301) / 2,
            401: (302 + 401) / 2,
            501: (402 + 501) / 2,
        }
    )


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_loss_that_is_no_number_is_unknown(now: Time, bad: float) -> None:
    found = losses(told(Trainer(now, loss=lambda step: bad if step == 150 else 1.0)))
    assert found.pop(201) is None
    assert set(found.values()) == {1.0}


def test_accuracies_of_a_scoring(now: Time) -> None:
    entries = told(Trainer(now, validation={101: 0.25}))
    evaluations = [entry.evaluation for entry in entries if isinstance(entry, Scored)]
    scored = {evaluation.step: evaluation for evaluation in evaluations}
    assert (scored[101].test_accuracy, scored[101].validation_accuracy) == (0.101, 0.25)
    assert (scored[250].test_accuracy, scored[250].validation_accuracy) == (0.25, 0.5)


def test_time_in_training_and_in_scoring(now: Time) -> None:
    entries = told(Trainer(now))
    for entry in entries:
        if isinstance(entry, Sample):
            assert entry.train_seconds == pytest.approx(entry.step * 0.25)
        if isinstance(entry, Scored):
            assert entry.evaluation.train_seconds == pytest.approx(entry.evaluation.step * 0.25)
    first, second = (entry.seconds for entry in entries if isinstance(entry, RowEnd))
    # Scored at 1, 101, 201 and 250; then at 301, 401 and 501.
    assert first == pytest.approx({"train": 250 * 0.25, "evaluate": 4 * 3, "other": 2.5})
    assert second == pytest.approx({"train": 501 * 0.25, "evaluate": 7 * 3, "other": 2.5})


@pytest.mark.parametrize("peak", [PeakRss(123, "VmHWM"), PeakRss(None, None)])
def test_memory_of_a_row(now: Time, monkeypatch: pytest.MonkeyPatch, peak: PeakRss) -> None:
    monkeypatch.setattr(measure, "peak_rss", lambda: peak)
    for entry in told(Trainer(now)):
        if isinstance(entry, RowEnd):
            assert (entry.peak_rss_bytes, entry.memory_method) == (peak.bytes, peak.method)


def test_kept_are_the_last_scores_and_those_that_validation_chose(now: Time) -> None:
    # 101 and 201 are as good; 250 is better, and no candidate: it lies off the grid.
    validation = {101: 0.9, 201: 0.9, 250: 0.95, 401: 0.97, 501: 0.97}
    kept = [e for e in told(Trainer(now, validation=validation)) if isinstance(e, RowFiles)]
    assert [(row.steps, row.final, row.selected) for row in kept] == [
        (250, Score("test", 250, 0.25), Score("test", 101, 0.101)),
        (501, Score("test", 501, 0.501), Score("test", 401, 0.401)),
    ]


def test_a_last_state_on_the_grid_can_be_chosen(now: Time) -> None:
    (row,) = [
        entry
        for entry in told(Trainer(now, validation={201: 0.9}), (201,))
        if isinstance(entry, RowFiles)
    ]
    assert row.final == row.selected == Score("test", 201, 0.201)


def test_something_is_chosen_where_nothing_is_learned(now: Time) -> None:
    nothing = dict.fromkeys((1, 101, 201), 0.0)
    entries = told(Trainer(now, validation=nothing), (201,))
    (row,) = [entry for entry in entries if isinstance(entry, RowFiles)]
    assert row.selected == Score("test", 1, 0.001)
