"""The training loop with a fake trainer, clock and memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import factories
import numpy as np
import pytest
from factories import SOURCE

from mnist_bench.measurement.conditions import Counters, Surroundings
from mnist_bench.measurement.memory import PeakRss
from mnist_bench.results import protocol
from mnist_bench.results.protocol import (
    CalibrationMessage,
    EvaluationMessage,
    Message,
    Request,
    SampleMessage,
    StepCountDone,
)
from mnist_bench.scenarios.execution import Execution
from mnist_bench.scenarios.hyperparameters import PaperCnnHyperparameters
from mnist_bench.scenarios.scenario import Grid
from mnist_bench.worker import loop
from mnist_bench.worker.loop import Instruments, PhaseMeter, StepCountFiles, TrainingLoop


@dataclass
class Clock:
    """A manually advanced clock."""

    seconds: float = 1_000.0

    def perf_counter(self) -> float:
        return self.seconds


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of a process that was started at 900 s, 2.5 s ago."""
    clock = Clock()
    fake = SimpleNamespace(perf_counter=clock.perf_counter, time=lambda: 902.5)
    monkeypatch.setattr(loop, "time", fake)
    return clock


# Phases


def test_phases_add_up_to_the_life_of_the_process(now: Clock) -> None:
    meter = PhaseMeter(900.0)
    with meter.phase("import"):
        now.seconds += 4
    now.seconds += 1
    for _ in range(2):
        with meter.phase("train"):
            now.seconds += 10
        with meter.phase("evaluate"):
            now.seconds += 3
    phases = {"import": 4, "train": 20, "evaluate": 6}
    assert meter.seconds_by_phase() == pytest.approx({**phases, "other": 2.5 + 1})
    assert sum(meter.seconds_by_phase().values()) == pytest.approx(2.5 + 4 + 1 + 26)
    assert {name: meter.seconds(name) for name in phases} == pytest.approx(phases)
    assert meter.seconds("trace") == 0


def test_a_failing_phase_is_counted(now: Clock) -> None:
    meter = PhaseMeter(900.0)
    with pytest.raises(ValueError, match="no image"), meter.phase("data"):
        now.seconds += 2
        raise ValueError("no image")
    assert meter.seconds("data") == 2


def test_other_is_never_negative(now: Clock) -> None:
    meter = PhaseMeter(900.0)
    with meter.phase("import"):
        now.seconds += 1
    now.seconds -= 5  # the reported start was too late
    assert meter.seconds_by_phase()["other"] == 0


# Memory by phase


@dataclass
class Memory:
    """Fake memory of a process.

    Attributes:
        resident_bytes: Resident memory.
        peak_bytes: Peak since the last reset.
        resettable: Whether the system allows resets.
        resets: Number of resets.
    """

    resident_bytes: int = 100
    peak_bytes: int = 130
    resettable: bool = True
    resets: int = 0

    def allocate(self, size_bytes: int) -> None:
        self.resident_bytes += size_bytes
        self.peak_bytes = max(self.peak_bytes, self.resident_bytes)

    def free(self, size_bytes: int) -> None:
        self.resident_bytes -= size_bytes

    def peak(self) -> PeakRss:
        return PeakRss(self.peak_bytes, "VmHWM")

    def reset(self) -> bool:
        self.resets += 1
        if self.resettable:
            self.peak_bytes = self.resident_bytes
        return self.resettable


@pytest.fixture
def memory(now: Clock, monkeypatch: pytest.MonkeyPatch) -> Memory:
    """100 bytes are resident; the peak was 130 while the interpreter started."""
    fake = Memory()
    monkeypatch.setattr(loop, "peak_rss", fake.peak)
    monkeypatch.setattr(loop, "reset_peak_rss", fake.reset)
    monkeypatch.setattr(loop, "rss_bytes", lambda: fake.resident_bytes)
    return fake


def two_phases(meter: PhaseMeter, memory: Memory) -> None:
    """`data` allocates 500 and keeps 50, `train` allocates 200 and keeps nothing."""
    with meter.phase("data"):
        memory.allocate(500)
        memory.free(450)
    memory.allocate(5)
    with meter.phase("train"):
        memory.allocate(200)
        memory.free(200)


def test_peaks_by_phase(memory: Memory) -> None:
    meter = PhaseMeter(900.0)
    two_phases(meter, memory)
    assert meter.phase_peaks() == {"other": 155, "data": 600, "train": 355}
    assert meter.peak() == PeakRss(600, "VmHWM")


def test_a_repeated_phase_keeps_its_highest_peak(memory: Memory) -> None:
    meter = PhaseMeter(900.0)
    for size_bytes in (300, 700, 200):
        with meter.phase("train"):
            memory.allocate(size_bytes)
            memory.free(size_bytes)
    assert meter.phase_peaks()["train"] == 800


def test_memory_between_phases_counts_as_other(memory: Memory) -> None:
    meter = PhaseMeter(900.0)
    two_phases(meter, memory)
    memory.allocate(1_000)
    memory.free(1_000)
    assert meter.peak().bytes == 1_155
    assert meter.phase_peaks() == {"other": 1_155, "data": 600, "train": 355}


def test_without_resets_only_the_total_peak_is_known(memory: Memory) -> None:
    memory.resettable = False
    meter = PhaseMeter(900.0)
    two_phases(meter, memory)
    assert meter.phase_peaks() == {}
    assert meter.peak() == PeakRss(600, "VmHWM")
    assert memory.resets == 1  # only one attempt


def test_phase_peaks_can_be_disabled(memory: Memory) -> None:
    meter = PhaseMeter(900.0, phase_peaks=False)
    two_phases(meter, memory)
    assert (meter.phase_peaks(), memory.resets) == ({}, 0)
    assert meter.peak() == PeakRss(600, "VmHWM")


def test_a_system_without_peak_memory(now: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "peak_rss", lambda: PeakRss(None, None))
    monkeypatch.setattr(loop, "reset_peak_rss", lambda: pytest.fail("there is no peak to reset"))
    meter = PhaseMeter(900.0)
    with meter.phase("data"):
        now.seconds += 1
    assert meter.phase_peaks() == {}
    assert meter.peak() == PeakRss(None, None)


def test_a_failing_phase_records_its_peak(memory: Memory) -> None:
    meter = PhaseMeter(900.0)
    with pytest.raises(MemoryError), meter.phase("data"):
        memory.allocate(500)
        raise MemoryError
    assert meter.phase_peaks()["data"] == 600


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
        now: The clock that it advances.
        loss: Loss by step.
        validation: Accuracy by step; 0.5 by default.
        step: Updates done.
    """

    now: Clock
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


@dataclass
class Machine:
    """Fake sensors of a machine where other programs use half a core.

    Attributes:
        now: Its clock.
        readings: Times at which the surroundings were read.
    """

    now: Clock
    readings: list[float] = field(default_factory=list)

    def counters(self) -> Counters:
        seconds = self.now.seconds
        return Counters(
            clock_seconds=seconds,
            own_cpu_seconds=2 * seconds,
            family_cpu_seconds=0.0,
            busy_cpu_seconds=2.5 * seconds,
        )

    def surroundings(self) -> Surroundings:
        self.readings.append(self.now.seconds)
        return factories.surroundings(clock_mhz=1_000.0 + len(self.readings))

    def calibrate(self) -> float:
        self.now.seconds += 0.5
        return 0.02


def run_loop(
    trainer: Trainer,
    step_counts: tuple[int, ...] = (250, 501),
    *,
    first: int = 1,
    every: int = 100,
    limit: float | None = None,
) -> list[Message | StepCountFiles]:
    """All messages and files of a training job, in order."""
    request = Request(
        model="paper-cnn",
        hyperparameters=PaperCnnHyperparameters(),
        training_seed=0,
        step_counts=step_counts,
        grid=Grid(first=first, every=every),
        source=SOURCE,
        execution=Execution(threads=1),
        folder="nowhere",
        started_at=900.0,
        train_seconds_limit=limit,
    )
    found: list[Message | StepCountFiles] = []
    machine = Machine(trainer.now)
    instruments = Instruments(PhaseMeter(900.0), machine, machine.calibrate)
    TrainingLoop(trainer, request, instruments, found.append, found.append).run()
    return found


def samples(entries: list[Message | StepCountFiles]) -> list[SampleMessage]:
    return [entry for entry in entries if isinstance(entry, SampleMessage)]


def describe(entry: Message | StepCountFiles) -> str:
    match entry:
        case SampleMessage():
            return f"trained to {entry.step}"
        case EvaluationMessage():
            return f"evaluated at {entry.evaluation.step}"
        case StepCountFiles():
            return f"wrote files of {entry.steps}"
        case CalibrationMessage():
            return f"calibrated at {entry.step}"
        case StepCountDone():
            return f"ended {entry.steps}"
    return "something else"


def losses(entries: list[Message | StepCountFiles]) -> dict[int, float | None]:
    scored = [entry.evaluation for entry in entries if isinstance(entry, EvaluationMessage)]
    return {evaluation.step: evaluation.train_loss for evaluation in scored}


def test_message_order_with_two_step_counts(now: Clock) -> None:
    assert [describe(entry) for entry in run_loop(Trainer(now))] == [
        "trained to 1",
        "evaluated at 1",
        "trained to 51",
        "trained to 101",
        "evaluated at 101",
        "trained to 151",
        "trained to 201",
        "evaluated at 201",
        "trained to 250",
        "evaluated at 250",
        "wrote files of 250",
        "calibrated at 250",
        "ended 250",
        "trained to 300",
        "trained to 301",
        "evaluated at 301",
        "trained to 351",
        "trained to 401",
        "evaluated at 401",
        "trained to 451",
        "trained to 501",
        "evaluated at 501",
        "wrote files of 501",
        "calibrated at 501",
        "ended 501",
    ]


def test_the_time_limit_ends_training_at_the_next_evaluation(now: Clock) -> None:
    """With 0.25 s per step, 30 s end at step 120; the next evaluation is at 201."""
    entries = run_loop(Trainer(now), (501,), limit=30.0)
    scored = [entry.evaluation for entry in entries if isinstance(entry, EvaluationMessage)]
    assert [(each.step, each.train_seconds) for each in scored] == [
        (1, 0.25), (101, 25.25), (201, 50.25),
    ]  # fmt: skip
    assert [describe(entry) for entry in entries][-3:] == [
        "wrote files of 501", "calibrated at 501", "ended 501",
    ]  # fmt: skip
    # A limit that is reached exactly ends it too; a limit above its duration has no effect.
    for limit, end in ((25.25, 101), (1_000.0, 501)):
        assert samples(run_loop(Trainer(now), (501,), limit=limit))[-1].step == end


def test_messages_are_at_most_50_steps_apart(now: Clock) -> None:
    entries = run_loop(Trainer(now), (260,), first=1, every=120)
    assert [entry.step for entry in samples(entries)] == [1, 51, 101, 121, 171, 221, 241, 260]


def test_stretches_add_up_to_the_step_count(now: Clock) -> None:
    found = [
        sample.stretch for sample in samples(run_loop(Trainer(now), (260,), first=1, every=120))
    ]
    assert [stretch.steps for stretch in found] == [1, 50, 50, 20, 50, 50, 20, 19]
    assert sum(stretch.steps for stretch in found) == 260
    assert sum(stretch.train_seconds for stretch in found) == pytest.approx(260 * 0.25)
    assert [stretch.train_seconds for stretch in found] == pytest.approx(
        [stretch.steps * 0.25 for stretch in found]
    )


def test_counters_of_a_stretch(now: Clock) -> None:
    """Evaluation and calibration are between stretches and count to none."""
    for sample in samples(run_loop(Trainer(now))):
        stretch = sample.stretch
        assert stretch.seen.wall_seconds == pytest.approx(stretch.train_seconds)
        assert stretch.seen.own_cpu_seconds == pytest.approx(2 * stretch.train_seconds)
        assert stretch.seen.other_cpu_seconds == pytest.approx(stretch.train_seconds / 2)
        assert stretch.seen.steal_seconds is None


def test_resident_memory_by_step(memory: Memory, now: Clock) -> None:
    def loss(step: int) -> float:
        memory.allocate(1)
        return 0.5

    found = {
        s.step: s.stretch.rss_bytes for s in samples(run_loop(Trainer(now, loss=loss), (201,)))
    }
    assert found == {1: 101, 51: 151, 101: 201, 151: 251, 201: 301}


def test_unknown_resident_memory(now: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "rss_bytes", lambda: None)
    assert {sample.stretch.rss_bytes for sample in samples(run_loop(Trainer(now)))} == {None}


def test_surroundings_are_read_only_every_few_seconds(
    now: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "_SURROUNDINGS_SECONDS", 30.0)
    # 50 steps take 12.5 s, an evaluation 3 s.
    entries = samples(run_loop(Trainer(now), (401,), first=1, every=100))
    was_read = {entry.step: entry.surroundings is not None for entry in entries}
    assert was_read == {
        1: False,  # after 0.25 s
        51: False,  # 15.75 s
        101: False,  # 28.25 s
        151: True,  # 43.75 s: the interval restarts
        201: False,  # 12.5 s
        251: False,  # 28 s
        301: True,  # 40.5 s
        351: False,  # 15.5 s
        401: False,  # 28 s
    }
    clocks_mhz = [entry.surroundings.clock_mhz for entry in entries if entry.surroundings]
    assert clocks_mhz == [1_001.0, 1_002.0]


def test_calibration_messages_contain_the_surroundings(now: Clock) -> None:
    found = [
        entry for entry in run_loop(Trainer(now), (20, 40)) if isinstance(entry, CalibrationMessage)
    ]
    assert [(entry.step, entry.seconds) for entry in found] == [(20, 0.02), (40, 0.02)]
    assert all(entry.surroundings.logical_cores == factories.CORES for entry in found)


def test_calibration_before_the_first_step(now: Clock) -> None:
    machine = Machine(now)
    instruments = Instruments(PhaseMeter(900.0), machine, machine.calibrate)
    before = instruments.calibration_message(0)
    assert (before.step, before.seconds) == (0, 0.02)
    # Read after the computation, which affects the processor's clock.
    assert machine.readings == [1_000.5]
    assert before.surroundings.clock_mhz == 1_001.0


def test_messages_can_be_serialized(now: Clock) -> None:
    messages = [entry for entry in run_loop(Trainer(now)) if not isinstance(entry, StepCountFiles)]
    assert [protocol.parse(message.model_dump_json()) for message in messages] == messages


def test_train_loss_is_the_mean_since_the_last_grid_step(now: Clock) -> None:
    # The loss of step n is n, and the mean of a to b is (a + b) / 2. The evaluation at 250 is off
    # the grid: it includes the steps since 201, and the next grid step includes them too.
    assert losses(run_loop(Trainer(now))) == pytest.approx(
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
def test_a_non_finite_loss_is_recorded_as_unknown(now: Clock, bad: float) -> None:
    found = losses(run_loop(Trainer(now, loss=lambda step: bad if step == 150 else 1.0)))
    assert found.pop(201) is None
    assert set(found.values()) == {1.0}


def test_accuracies_of_an_evaluation(now: Clock) -> None:
    entries = run_loop(Trainer(now, validation={101: 0.25}))
    evaluations = [entry.evaluation for entry in entries if isinstance(entry, EvaluationMessage)]
    scored = {evaluation.step: evaluation for evaluation in evaluations}
    assert (scored[101].test_accuracy, scored[101].validation_accuracy) == (0.101, 0.25)
    assert (scored[250].test_accuracy, scored[250].validation_accuracy) == (0.25, 0.5)


def test_train_and_evaluate_seconds(now: Clock) -> None:
    entries = run_loop(Trainer(now))
    for entry in entries:
        if isinstance(entry, SampleMessage):
            assert entry.train_seconds == pytest.approx(entry.step * 0.25)
        if isinstance(entry, EvaluationMessage):
            assert entry.evaluation.train_seconds == pytest.approx(entry.evaluation.step * 0.25)
    first, second = (entry.seconds for entry in entries if isinstance(entry, StepCountDone))
    # Evaluations at 1, 101, 201 and 250; then at 301, 401 and 501. Each step count calibrates.
    assert first == pytest.approx({"train": 250 * 0.25, "evaluate": 4 * 3, "other": 2.5 + 0.5})
    assert second == pytest.approx({"train": 501 * 0.25, "evaluate": 7 * 3, "other": 2.5 + 1.0})


@pytest.mark.parametrize("peak", [PeakRss(123, "VmHWM"), PeakRss(None, None)])
def test_memory_of_a_step_count(now: Clock, monkeypatch: pytest.MonkeyPatch, peak: PeakRss) -> None:
    monkeypatch.setattr(loop, "peak_rss", lambda: peak)
    for entry in run_loop(Trainer(now)):
        if isinstance(entry, StepCountDone):
            assert (entry.peak_rss_bytes, entry.memory_method) == (peak.bytes, peak.method)


def test_memory_of_a_step_count_by_phase(memory: Memory, now: Clock) -> None:
    def loss(step: int) -> float:
        memory.allocate(step)
        memory.free(step)
        return 0.5

    ends = [e for e in run_loop(Trainer(now, loss=loss)) if isinstance(e, StepCountDone)]
    assert [end.phase_peak_rss_bytes for end in ends] == [
        {"other": 130, "train": 350, "evaluate": 100},
        {"other": 130, "train": 601, "evaluate": 100},
    ]
    assert [end.peak_rss_bytes for end in ends] == [350, 601]


def test_files_contain_final_and_selected_scores(now: Clock) -> None:
    # 101 and 201 are equal; 250 is better, but no candidate because it is off the grid.
    validation = {101: 0.9, 201: 0.9, 250: 0.95, 401: 0.97, 501: 0.97}
    written = [
        e for e in run_loop(Trainer(now, validation=validation)) if isinstance(e, StepCountFiles)
    ]
    assert [(each.steps, each.final, each.selected) for each in written] == [
        (250, Score("test", 250, 0.25), Score("test", 101, 0.101)),
        (501, Score("test", 501, 0.501), Score("test", 401, 0.401)),
    ]


def test_the_final_state_can_be_selected_if_on_the_grid(now: Clock) -> None:
    (written,) = [
        entry
        for entry in run_loop(Trainer(now, validation={201: 0.9}), (201,))
        if isinstance(entry, StepCountFiles)
    ]
    assert written.final == written.selected == Score("test", 201, 0.201)


def test_the_first_grid_step_is_selected_without_learning(now: Clock) -> None:
    zeros = dict.fromkeys((1, 101, 201), 0.0)
    entries = run_loop(Trainer(now, validation=zeros), (201,))
    (written,) = [entry for entry in entries if isinstance(entry, StepCountFiles)]
    assert written.selected == Score("test", 1, 0.001)
