"""The training loop with a fake trainer, process and machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import factories
import numpy as np
import pytest
from factories import worker_request

from mnist_bench.measurement.conditions import Counters, Surroundings
from mnist_bench.measurement.memory import PeakRss
from mnist_bench.results.protocol import (
    CalibrationMessage,
    EvaluationMessage,
    Message,
    SampleMessage,
    StepCountDone,
)
from mnist_bench.results.run import Evaluation
from mnist_bench.scenarios.scenario import Grid
from mnist_bench.worker import loop
from mnist_bench.worker.loop import Instruments, PhaseMeter, StepCountFiles, TrainingLoop

Entry = TypeVar("Entry")


@dataclass
class Process:
    """A fake process, started at 900 s, 2.5 s ago, on a machine where others use half a core.

    Attributes:
        seconds: Reading of its clock.
        resident_bytes: Resident memory.
        peak_bytes: Peak since the last reset, first while the interpreter started.
        is_resettable: Whether the system allows resets.
        resets: Number of resets.
        readings: Times at which the surroundings were read.
    """

    seconds: float = 1_000.0
    resident_bytes: int = 100
    peak_bytes: int | None = 130
    is_resettable: bool = True
    resets: int = 0
    readings: list[float] = field(default_factory=list)

    def perf_counter(self) -> float:
        return self.seconds

    def time(self) -> float:
        return 902.5

    def allocate(self, size_bytes: int, *, kept: int = 0) -> None:
        """Allocate memory, and free all but the kept bytes."""
        if self.peak_bytes is not None:
            self.peak_bytes = max(self.peak_bytes, self.resident_bytes + size_bytes)
        self.resident_bytes += kept

    def peak(self) -> PeakRss:
        return PeakRss(self.peak_bytes, "VmHWM" if self.peak_bytes else None)

    def reset(self) -> bool:
        self.resets += 1
        if self.is_resettable:
            self.peak_bytes = self.resident_bytes
        return self.is_resettable

    def counters(self) -> Counters:
        return Counters(
            clock_seconds=self.seconds,
            own_cpu_seconds=2 * self.seconds,
            family_cpu_seconds=0.0,
            busy_cpu_seconds=2.5 * self.seconds,
        )

    def surroundings(self) -> Surroundings:
        self.readings.append(self.seconds)
        return factories.surroundings(clock_mhz=1_000.0 + len(self.readings))

    def calibrate(self) -> float:
        self.allocate(5_000)  # counts to no phase
        self.seconds += 0.5
        return 0.02


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Process:
    fake = Process()
    monkeypatch.setattr(loop, "time", fake)
    monkeypatch.setattr(loop, "peak_rss", fake.peak)
    monkeypatch.setattr(loop, "reset_peak_rss", fake.reset)
    monkeypatch.setattr(loop, "rss_bytes", lambda: fake.resident_bytes)
    return fake


# Phases


def test_phases_add_up_to_the_life_of_the_process(process: Process) -> None:
    meter = PhaseMeter(900.0)
    with meter.phase("import"):
        process.seconds += 4
    process.seconds += 1
    for _ in range(2):
        with meter.phase("train"):
            process.seconds += 10
        with meter.phase("evaluate"):
            process.seconds += 3
    phases = {"import": 4, "train": 20, "evaluate": 6}
    assert meter.seconds_by_phase() == pytest.approx({**phases, "other": 2.5 + 1})
    assert {name: meter.seconds(name) for name in phases} == pytest.approx(phases)
    assert meter.seconds("trace") == 0


def test_a_failing_phase_is_counted(process: Process) -> None:
    meter = PhaseMeter(900.0)
    with pytest.raises(MemoryError), meter.phase("data"):
        process.seconds += 2
        process.allocate(500)
        raise MemoryError
    assert (meter.seconds("data"), meter.phase_peaks()["data"]) == (2, 600)


def test_other_is_never_negative(process: Process) -> None:
    meter = PhaseMeter(900.0)
    with meter.phase("import"):
        process.seconds += 1
    process.seconds -= 5  # the reported start was too late
    assert meter.seconds_by_phase()["other"] == 0


PEAKS = {"other": 155, "data": 600, "train": 355}


@pytest.mark.parametrize(
    ("process_fields", "is_enabled", "peaks", "resets"),
    [
        ({}, True, PEAKS, 5),
        ({"is_resettable": False}, True, {}, 1),  # only one attempt
        ({}, False, {}, 0),
    ],
)
def test_peaks_by_phase(
    process: Process,
    process_fields: dict[str, Any],
    peaks: dict[str, int],
    resets: int,
    *,
    is_enabled: bool,
) -> None:
    vars(process).update(process_fields)
    meter = PhaseMeter(900.0, phase_peaks=is_enabled)
    with meter.phase("data"):
        process.allocate(500, kept=50)
    process.allocate(5, kept=5)
    with meter.phase("train"):
        process.allocate(200)
    assert (meter.phase_peaks(), process.resets) == (peaks, resets)
    assert meter.peak() == PeakRss(600, "VmHWM")
    process.allocate(1_000)
    assert meter.peak().bytes == 1_155  # between phases
    assert meter.phase_peaks() == (peaks and PEAKS | {"other": 1_155})


def test_a_repeated_phase_keeps_its_highest_peak(process: Process) -> None:
    meter = PhaseMeter(900.0)
    for size_bytes in (300, 700, 200):
        with meter.phase("train"):
            process.allocate(size_bytes)
    assert meter.phase_peaks()["train"] == 800


def test_the_peak_is_that_of_a_phase_even_if_memory_grows_meanwhile(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    meter = PhaseMeter(900.0)

    def reset() -> bool:
        process.reset()
        process.allocate(700)
        return True

    monkeypatch.setattr(loop, "reset_peak_rss", reset)
    assert meter.peak().bytes == 800 == max(meter.phase_peaks().values())


def test_a_system_without_peak_memory(process: Process) -> None:
    process.peak_bytes = None
    meter = PhaseMeter(900.0)
    with meter.phase("data"):
        process.seconds += 1
    assert (meter.phase_peaks(), process.resets) == ({}, 0)
    assert meter.peak() == PeakRss(None, None)


# Training jobs


@dataclass(frozen=True)
class Score:
    """Scores that identify their split and step."""

    split: str
    step: int
    accuracy: float


@dataclass
class Trainer:
    """Fake trainer: 0.25 s per step, 1 s per validation evaluation, 2 s per test evaluation.

    Attributes:
        process: The process whose clock it advances.
        loss: Loss by step.
        validation: Accuracy by step; 0.5 by default.
        step: Updates done.
    """

    process: Process
    loss: Callable[[int], float] = float
    validation: Mapping[int, float] = field(default_factory=dict)
    step: int = 0

    def advance(self, steps: int) -> Any:
        self.process.seconds += steps * 0.25
        first, self.step = self.step + 1, self.step + steps
        return np.array([self.loss(step) for step in range(first, self.step + 1)], np.float32)

    def evaluate(self, split: str) -> Score:
        is_test = split == "test"
        self.process.seconds += 2 if is_test else 1
        accuracy = self.step / 1_000 if is_test else self.validation.get(self.step, 0.5)
        return Score(split, self.step, accuracy)


def run_loop(
    trainer: Trainer, step_counts: tuple[int, ...] = (250, 501), *, every: int = 100, **changes: Any
) -> list[Message | StepCountFiles]:
    """All messages and files of a training job, in order."""
    grid = Grid(first=1, every=every)
    request = worker_request(step_counts=step_counts, grid=grid, **changes)
    found: list[Message | StepCountFiles] = []
    instruments = Instruments(PhaseMeter(900.0), trainer.process, trainer.process.calibrate)
    TrainingLoop(trainer, request, instruments, found.append, found.append).run()
    return found


def those(kind: type[Entry], entries: list[Message | StepCountFiles]) -> list[Entry]:
    return [entry for entry in entries if isinstance(entry, kind)]


def evaluations(entries: list[Message | StepCountFiles]) -> list[Evaluation]:
    return [message.evaluation for message in those(EvaluationMessage, entries)]


def describe(entry: Message | StepCountFiles) -> tuple[str, int]:
    if isinstance(entry, EvaluationMessage):
        return "evaluation", entry.evaluation.step
    if isinstance(entry, StepCountFiles):
        return "files", entry.steps
    return entry.kind, entry.steps if isinstance(entry, StepCountDone) else entry.step


def test_message_order_with_two_step_counts(process: Process) -> None:
    assert [describe(entry) for entry in run_loop(Trainer(process))] == [
        ("sample", 1), ("evaluation", 1),
        ("sample", 51), ("sample", 101), ("evaluation", 101),
        ("sample", 151), ("sample", 201), ("evaluation", 201),
        ("sample", 250), ("evaluation", 250), ("files", 250), ("calibration", 250), ("row", 250),
        ("sample", 300), ("sample", 301), ("evaluation", 301),
        ("sample", 351), ("sample", 401), ("evaluation", 401),
        ("sample", 451), ("sample", 501), ("evaluation", 501),
        ("files", 501), ("calibration", 501), ("row", 501),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("limit", "end"),
    [
        (30.0, 201),  # reached at step 120; the next evaluation is at 201
        (25.25, 101),  # reached exactly
        (1_000.0, 501),  # above its duration
    ],
)
def test_the_time_limit_ends_training_at_the_next_evaluation(
    process: Process, limit: float, end: int
) -> None:
    entries = run_loop(Trainer(process), (501,), train_seconds_limit=limit)
    last = evaluations(entries)[-1]
    assert (last.step, last.train_seconds) == (end, end * 0.25)
    ending = [("evaluation", end), ("files", 501), ("calibration", 501), ("row", 501)]
    assert [describe(entry) for entry in entries][-4:] == ending


def test_stretches(process: Process) -> None:
    """At most 50 steps each. Evaluation and calibration are between them and count to none."""
    samples = those(SampleMessage, run_loop(Trainer(process), (260,), every=120))
    assert [sample.step for sample in samples] == [1, 51, 101, 121, 171, 221, 241, 260]
    assert [sample.stretch.steps for sample in samples] == [1, 50, 50, 20, 50, 50, 20, 19]
    for sample in samples:
        stretch, seconds = sample.stretch, sample.stretch.steps * 0.25
        assert sample.train_seconds == pytest.approx(sample.step * 0.25)
        assert stretch.train_seconds == pytest.approx(seconds)
        assert stretch.seen.wall_seconds == pytest.approx(seconds)
        assert stretch.seen.own_cpu_seconds == pytest.approx(2 * seconds)
        assert stretch.seen.other_cpu_seconds == pytest.approx(seconds / 2)
        assert stretch.seen.steal_seconds is None


def test_surroundings_are_read_only_every_few_seconds(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "_SURROUNDINGS_SECONDS", 30.0)
    # 50 steps take 12.5 s, an evaluation 3 s.
    samples = those(SampleMessage, run_loop(Trainer(process), (401,)))
    clocks_mhz = {each.step: each.surroundings and each.surroundings.clock_mhz for each in samples}
    assert clocks_mhz == {
        1: None,  # after 0.25 s
        51: None,  # 15.75 s
        101: None,  # 28.25 s
        151: 1_001.0,  # 43.75 s: the interval restarts
        201: None,  # 12.5 s
        251: None,  # 28 s
        301: 1_002.0,  # 40.5 s
        351: None,  # 15.5 s
        401: None,  # 28 s
    }


def test_calibrations(process: Process) -> None:
    instruments = Instruments(PhaseMeter(900.0), process, process.calibrate)
    before = instruments.calibration_message(0)
    # Read after the computation, which affects the processor's clock.
    assert process.readings == [1_000.5]
    found = [before, *those(CalibrationMessage, run_loop(Trainer(process), (20, 40)))]
    assert [(entry.step, entry.seconds) for entry in found] == [(0, 0.02), (20, 0.02), (40, 0.02)]
    # Each step count's one sample reads them too, since 5 s have passed.
    assert [each.surroundings.clock_mhz for each in found] == [1_001.0, 1_003.0, 1_005.0]


def test_train_loss_is_the_mean_since_the_last_grid_step(process: Process) -> None:
    # The loss of step n is n, and the mean of a to b is (a + b) / 2. The evaluation at 250 is off
    # the grid: it includes the steps since 201, and the next grid step includes them too.
    losses = {each.step: each.train_loss for each in evaluations(run_loop(Trainer(process)))}
    assert losses == pytest.approx(
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
def test_a_non_finite_loss_is_recorded_as_unknown(process: Process, bad: float) -> None:
    entries = run_loop(Trainer(process, loss=lambda step: bad if step == 150 else 1.0), (301,))
    losses = {each.step: each.train_loss for each in evaluations(entries)}
    assert losses == {1: 1.0, 101: 1.0, 201: None, 301: 1.0}


def test_evaluations_and_phases(process: Process) -> None:
    entries = run_loop(Trainer(process, validation={101: 0.25}))
    scored = {each.step: each for each in evaluations(entries)}
    assert (scored[101].test_accuracy, scored[101].validation_accuracy) == (0.101, 0.25)
    assert (scored[250].test_accuracy, scored[250].validation_accuracy) == (0.25, 0.5)
    assert all(each.train_seconds == pytest.approx(each.step * 0.25) for each in scored.values())
    first, second = (entry.seconds for entry in those(StepCountDone, entries))
    # Evaluations at 1, 101, 201 and 250; then at 301, 401 and 501. Each step count calibrates.
    assert first == pytest.approx({"train": 250 * 0.25, "evaluate": 4 * 3, "other": 2.5 + 0.5})
    assert second == pytest.approx({"train": 501 * 0.25, "evaluate": 7 * 3, "other": 2.5 + 1.0})


def test_memory(process: Process) -> None:
    def loss(step: int) -> float:
        process.allocate(step, kept=1)
        return 0.5

    entries = run_loop(Trainer(process, loss=loss), (101, 201))
    resident = {each.step: each.stretch.rss_bytes for each in those(SampleMessage, entries)}
    assert resident == {1: 101, 51: 151, 101: 201, 151: 251, 201: 301}
    ends = those(StepCountDone, entries)
    assert [end.phase_peak_rss_bytes for end in ends] == [
        {"other": 201, "train": 301, "evaluate": 201},
        {"other": 301, "train": 501, "evaluate": 301},
    ]
    assert [(end.peak_rss_bytes, end.memory_method) for end in ends] == [
        (301, "VmHWM"), (501, "VmHWM"),
    ]  # fmt: skip


def test_without_the_test_split_and_a_known_peak(process: Process) -> None:
    process.peak_bytes = None
    entries = run_loop(Trainer(process), (101,), with_test=False)
    assert [each.test_accuracy for each in evaluations(entries)] == [None, None]
    assert those(StepCountFiles, entries) == []
    (end,) = those(StepCountDone, entries)
    unknown = (end.peak_rss_bytes, end.memory_method, end.phase_peak_rss_bytes)
    assert unknown == (None, None, {})


@pytest.mark.parametrize(
    ("validation", "selected"),
    [
        # 101 and 201 are equal; 250 is better, but no candidate because it is off the grid.
        ({101: 0.9, 201: 0.9, 250: 0.95, 401: 0.97, 501: 0.97}, (101, 401)),
        ({501: 0.9}, (1, 501)),  # the final state, on the grid
        (dict.fromkeys((1, 101, 201, 301, 401, 501), 0.0), (1, 1)),  # nothing was learned
    ],
)
def test_files_contain_final_and_selected_scores(
    process: Process, validation: dict[int, float], selected: tuple[int, int]
) -> None:
    written = those(StepCountFiles, run_loop(Trainer(process, validation=validation)))
    assert [(each.steps, each.final, each.selected) for each in written] == [
        (steps, Score("test", steps, steps / 1_000), Score("test", chosen, chosen / 1_000))
        for steps, chosen in zip((250, 501), selected, strict=True)
    ]
