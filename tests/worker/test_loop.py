"""Clock and memory, around a trainer that trains nothing."""

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
    monkeypatch.setattr(loop, "time", fake)
    return clock


# Phases


def test_phases_add_up_to_the_life_of_the_process(now: Time) -> None:
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
    assert meter.so_far() == pytest.approx({**phases, "other": 2.5 + 1})
    assert sum(meter.so_far().values()) == pytest.approx(2.5 + 4 + 1 + 26)
    assert {name: meter.seconds(name) for name in phases} == pytest.approx(phases)
    assert meter.seconds("trace") == 0


def test_a_phase_that_fails_is_counted(now: Time) -> None:
    meter = PhaseMeter(900.0)
    with pytest.raises(ValueError, match="no image"), meter.phase("data"):
        now.seconds += 2
        raise ValueError("no image")
    assert meter.seconds("data") == 2


def test_other_is_never_negative(now: Time) -> None:
    meter = PhaseMeter(900.0)
    with meter.phase("import"):
        now.seconds += 1
    now.seconds -= 5  # a start that was told too late
    assert meter.so_far()["other"] == 0


# Memory by phase


@dataclass
class Memory:
    """A process's memory, as a system tells it.

    Attributes:
        resident_bytes: Held now.
        mark_bytes: The most that was held since the mark was last reset.
        resettable: Whether the system allows that.
        resets: How often it was done.
    """

    resident_bytes: int = 100
    mark_bytes: int = 130
    resettable: bool = True
    resets: int = 0

    def hold(self, size_bytes: int) -> None:
        self.resident_bytes += size_bytes
        self.mark_bytes = max(self.mark_bytes, self.resident_bytes)

    def drop(self, size_bytes: int) -> None:
        self.resident_bytes -= size_bytes

    def peak(self) -> PeakRss:
        return PeakRss(self.mark_bytes, "VmHWM")

    def reset(self) -> bool:
        self.resets += 1
        if self.resettable:
            self.mark_bytes = self.resident_bytes
        return self.resettable


@pytest.fixture
def memory(now: Time, monkeypatch: pytest.MonkeyPatch) -> Memory:
    """100 bytes are held; 130 were while the interpreter started."""
    fake = Memory()
    monkeypatch.setattr(loop, "peak_rss", fake.peak)
    monkeypatch.setattr(loop, "reset_peak_rss", fake.reset)
    monkeypatch.setattr(loop, "rss_bytes", lambda: fake.resident_bytes)
    return fake


def two_phases(meter: PhaseMeter, memory: Memory) -> None:
    """`data` holds 500 more for a while and keeps 50, `train` 200 more and keeps nothing."""
    with meter.phase("data"):
        memory.hold(500)
        memory.drop(450)
    memory.hold(5)
    with meter.phase("train"):
        memory.hold(200)
        memory.drop(200)


def test_peaks_by_phase(memory: Memory) -> None:
    meter = PhaseMeter(900.0)
    two_phases(meter, memory)
    assert meter.phase_peaks() == {"other": 155, "data": 600, "train": 355}
    assert meter.peak() == PeakRss(600, "VmHWM")


def test_a_phase_that_comes_again_keeps_its_higher_mark(memory: Memory) -> None:
    meter = PhaseMeter(900.0)
    for size_bytes in (300, 700, 200):
        with meter.phase("train"):
            memory.hold(size_bytes)
            memory.drop(size_bytes)
    assert meter.phase_peaks()["train"] == 800


def test_between_phases_is_other(memory: Memory) -> None:
    meter = PhaseMeter(900.0)
    two_phases(meter, memory)
    memory.hold(1_000)
    memory.drop(1_000)
    assert meter.peak().bytes == 1_155
    assert meter.phase_peaks() == {"other": 1_155, "data": 600, "train": 355}


def test_where_the_mark_cannot_be_reset_the_whole_is_still_known(memory: Memory) -> None:
    memory.resettable = False
    meter = PhaseMeter(900.0)
    two_phases(meter, memory)
    assert meter.phase_peaks() == {}
    assert meter.peak() == PeakRss(600, "VmHWM")
    assert memory.resets == 1  # it does not ask again


def test_resets_that_are_not_wished(memory: Memory) -> None:
    meter = PhaseMeter(900.0, phase_peaks=False)
    two_phases(meter, memory)
    assert (meter.phase_peaks(), memory.resets) == ({}, 0)
    assert meter.peak() == PeakRss(600, "VmHWM")


def test_a_system_that_tells_no_memory(now: Time, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "peak_rss", lambda: PeakRss(None, None))
    monkeypatch.setattr(loop, "reset_peak_rss", lambda: pytest.fail("there is no mark"))
    meter = PhaseMeter(900.0)
    with meter.phase("data"):
        now.seconds += 1
    assert meter.phase_peaks() == {}
    assert meter.peak() == PeakRss(None, None)


def test_a_phase_that_fails_leaves_its_mark(memory: Memory) -> None:
    meter = PhaseMeter(900.0)
    with pytest.raises(MemoryError), meter.phase("data"):
        memory.hold(500)
        raise MemoryError
    assert meter.phase_peaks()["data"] == 600


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


@dataclass
class Machine:
    """Sensors of a machine on which every second somebody else works for half a second.

    Attributes:
        now: Its clock.
        looks: At which seconds its surroundings were looked at.
    """

    now: Time
    looks: list[float] = field(default_factory=list)

    def counters(self) -> Counters:
        seconds = self.now.seconds
        return Counters(
            clock_seconds=seconds,
            own_cpu_seconds=2 * seconds,
            family_cpu_seconds=0.0,
            busy_cpu_seconds=2.5 * seconds,
        )

    def surroundings(self) -> Surroundings:
        self.looks.append(self.now.seconds)
        return factories.surroundings(clock_mhz=1_000.0 + len(self.looks))

    def calibrate(self) -> float:
        self.now.seconds += 0.5
        return 0.02


def told(
    trainer: Trainer,
    rows: tuple[int, ...] = (250, 501),
    *,
    first: int = 1,
    every: int = 100,
    limit: float | None = None,
) -> list[Message | StepCountFiles]:
    """Everything that a trajectory says and keeps, in order."""
    request = Request(
        model="paper-cnn",
        hyperparameters=PaperCnnHyperparameters(),
        training_seed=0,
        rows=rows,
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


def in_words(entry: Message | StepCountFiles) -> str:
    match entry:
        case SampleMessage():
            return f"trained to {entry.step}"
        case EvaluationMessage():
            return f"scored at {entry.evaluation.step}"
        case StepCountFiles():
            return f"kept {entry.steps}"
        case CalibrationMessage():
            return f"calibrated at {entry.step}"
        case StepCountDone():
            return f"ended {entry.steps}"
    return "something else"


def losses(entries: list[Message | StepCountFiles]) -> dict[int, float | None]:
    scored = [entry.evaluation for entry in entries if isinstance(entry, EvaluationMessage)]
    return {evaluation.step: evaluation.train_loss for evaluation in scored}


def test_what_a_trajectory_of_two_rows_says(now: Time) -> None:
    assert [in_words(entry) for entry in told(Trainer(now))] == [
        "trained to 1",
        "scored at 1",
        "trained to 51",
        "trained to 101",
        "scored at 101",
        "trained to 151",
        "trained to 201",
        "scored at 201",
        "trained to 250",
        "scored at 250",
        "kept 250",
        "calibrated at 250",
        "ended 250",
        "trained to 300",
        "trained to 301",
        "scored at 301",
        "trained to 351",
        "trained to 401",
        "scored at 401",
        "trained to 451",
        "trained to 501",
        "scored at 501",
        "kept 501",
        "calibrated at 501",
        "ended 501",
    ]


def test_training_seconds_end_the_last_row_at_the_next_scoring(now: Time) -> None:
    """A quarter of a second a step: 30 s are over at step 120, and 201 is scored next."""
    entries = told(Trainer(now), (501,), limit=30.0)
    scored = [entry.evaluation for entry in entries if isinstance(entry, EvaluationMessage)]
    assert [(each.step, each.train_seconds) for each in scored] == [
        (1, 0.25), (101, 25.25), (201, 50.25),
    ]  # fmt: skip
    assert [in_words(entry) for entry in entries][-3:] == [
        "kept 501", "calibrated at 501", "ended 501",
    ]  # fmt: skip
    # Seconds that are just used up end it as well; more than it takes end nothing.
    for limit, end in ((25.25, 101), (1_000.0, 501)):
        assert samples(told(Trainer(now), (501,), limit=limit))[-1].step == end


def test_it_is_never_silent_for_long(now: Time) -> None:
    entries = told(Trainer(now), (260,), first=1, every=120)
    assert [entry.step for entry in samples(entries)] == [1, 51, 101, 121, 171, 221, 241, 260]


def test_stretches_add_up_to_the_row(now: Time) -> None:
    found = [sample.stretch for sample in samples(told(Trainer(now), (260,), first=1, every=120))]
    assert [stretch.steps for stretch in found] == [1, 50, 50, 20, 50, 50, 20, 19]
    assert sum(stretch.steps for stretch in found) == 260
    assert sum(stretch.train_seconds for stretch in found) == pytest.approx(260 * 0.25)
    assert [stretch.train_seconds for stretch in found] == pytest.approx(
        [stretch.steps * 0.25 for stretch in found]
    )


def test_what_the_machine_did_in_a_stretch(now: Time) -> None:
    """Scoring and calibration lie between stretches and count to none."""
    for sample in samples(told(Trainer(now))):
        stretch = sample.stretch
        assert stretch.seen.wall_seconds == pytest.approx(stretch.train_seconds)
        assert stretch.seen.own_cpu_seconds == pytest.approx(2 * stretch.train_seconds)
        assert stretch.seen.other_cpu_seconds == pytest.approx(stretch.train_seconds / 2)
        assert stretch.seen.steal_seconds is None


def test_resident_memory_by_step(memory: Memory, now: Time) -> None:
    def grown(step: int) -> float:
        memory.hold(1)
        return 0.5

    found = {s.step: s.stretch.rss_bytes for s in samples(told(Trainer(now, loss=grown), (201,)))}
    assert found == {1: 101, 51: 151, 101: 201, 151: 251, 201: 301}


def test_resident_memory_that_is_not_told(now: Time, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "rss_bytes", lambda: None)
    assert {sample.stretch.rss_bytes for sample in samples(told(Trainer(now)))} == {None}


def test_surroundings_are_looked_at_every_few_seconds_only(
    now: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "_SURROUNDINGS_SECONDS", 30.0)
    # 50 steps take 12.5 s, a scoring 3 s.
    entries = samples(told(Trainer(now), (401,), first=1, every=100))
    looked = {entry.step: entry.surroundings is not None for entry in entries}
    assert looked == {
        1: False,  # after 0.25 s
        51: False,  # 15.75 s
        101: False,  # 28.25 s
        151: True,  # 43.75 s: it begins to count anew
        201: False,  # 12.5 s
        251: False,  # 28 s
        301: True,  # 40.5 s
        351: False,  # 15.5 s
        401: False,  # 28 s
    }
    told_mhz = [entry.surroundings.clock_mhz for entry in entries if entry.surroundings]
    assert told_mhz == [1_001.0, 1_002.0]


def test_calibrations_tell_of_the_machine(now: Time) -> None:
    found = [
        entry for entry in told(Trainer(now), (20, 40)) if isinstance(entry, CalibrationMessage)
    ]
    assert [(entry.step, entry.seconds) for entry in found] == [(20, 0.02), (40, 0.02)]
    assert all(entry.surroundings.logical_cores == factories.CORES for entry in found)


def test_before_the_first_step_it_can_be_calibrated_too(now: Time) -> None:
    machine = Machine(now)
    instruments = Instruments(PhaseMeter(900.0), machine, machine.calibrate)
    before = instruments.calibrated(0)
    assert (before.step, before.seconds) == (0, 0.02)
    # Looked at after the work, when its clock is what the work made it.
    assert machine.looks == [1_000.5]
    assert before.surroundings.clock_mhz == 1_001.0


def test_what_it_says_can_be_sent(now: Time) -> None:
    messages = [entry for entry in told(Trainer(now)) if not isinstance(entry, StepCountFiles)]
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
    evaluations = [entry.evaluation for entry in entries if isinstance(entry, EvaluationMessage)]
    scored = {evaluation.step: evaluation for evaluation in evaluations}
    assert (scored[101].test_accuracy, scored[101].validation_accuracy) == (0.101, 0.25)
    assert (scored[250].test_accuracy, scored[250].validation_accuracy) == (0.25, 0.5)


def test_time_in_training_and_in_scoring(now: Time) -> None:
    entries = told(Trainer(now))
    for entry in entries:
        if isinstance(entry, SampleMessage):
            assert entry.train_seconds == pytest.approx(entry.step * 0.25)
        if isinstance(entry, EvaluationMessage):
            assert entry.evaluation.train_seconds == pytest.approx(entry.evaluation.step * 0.25)
    first, second = (entry.seconds for entry in entries if isinstance(entry, StepCountDone))
    # Scored at 1, 101, 201 and 250; then at 301, 401 and 501. Each row's end is calibrated.
    assert first == pytest.approx({"train": 250 * 0.25, "evaluate": 4 * 3, "other": 2.5 + 0.5})
    assert second == pytest.approx({"train": 501 * 0.25, "evaluate": 7 * 3, "other": 2.5 + 1.0})


@pytest.mark.parametrize("peak", [PeakRss(123, "VmHWM"), PeakRss(None, None)])
def test_memory_of_a_row(now: Time, monkeypatch: pytest.MonkeyPatch, peak: PeakRss) -> None:
    monkeypatch.setattr(loop, "peak_rss", lambda: peak)
    for entry in told(Trainer(now)):
        if isinstance(entry, StepCountDone):
            assert (entry.peak_rss_bytes, entry.memory_method) == (peak.bytes, peak.method)


def test_memory_of_a_row_by_phase(memory: Memory, now: Time) -> None:
    def held(step: int) -> float:
        memory.hold(step)
        memory.drop(step)
        return 0.5

    ends = [e for e in told(Trainer(now, loss=held)) if isinstance(e, StepCountDone)]
    assert [end.phase_peak_rss_bytes for end in ends] == [
        {"other": 130, "train": 350, "evaluate": 100},
        {"other": 130, "train": 601, "evaluate": 100},
    ]
    assert [end.peak_rss_bytes for end in ends] == [350, 601]


def test_kept_are_the_last_scores_and_those_that_validation_chose(now: Time) -> None:
    # 101 and 201 are as good; 250 is better, and no candidate: it lies off the grid.
    validation = {101: 0.9, 201: 0.9, 250: 0.95, 401: 0.97, 501: 0.97}
    kept = [e for e in told(Trainer(now, validation=validation)) if isinstance(e, StepCountFiles)]
    assert [(row.steps, row.final, row.selected) for row in kept] == [
        (250, Score("test", 250, 0.25), Score("test", 101, 0.101)),
        (501, Score("test", 501, 0.501), Score("test", 401, 0.401)),
    ]


def test_a_last_state_on_the_grid_can_be_chosen(now: Time) -> None:
    (row,) = [
        entry
        for entry in told(Trainer(now, validation={201: 0.9}), (201,))
        if isinstance(entry, StepCountFiles)
    ]
    assert row.final == row.selected == Score("test", 201, 0.201)


def test_something_is_chosen_where_nothing_is_learned(now: Time) -> None:
    nothing = dict.fromkeys((1, 101, 201), 0.0)
    entries = told(Trainer(now, validation=nothing), (201,))
    (row,) = [entry for entry in entries if isinstance(entry, StepCountFiles)]
    assert row.selected == Score("test", 1, 0.001)
