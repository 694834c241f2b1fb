"""The runs of one trajectory, as a worker's messages come in."""

from __future__ import annotations

from pathlib import Path

import pytest
import records
import stand_ins

from mnist_bench.measurement.conditions import Stretch, Surroundings, TrainingStretch
from mnist_bench.results.protocol import Calibrated, Done, Phase, Ready, RowEnd, Sample, Scored
from mnist_bench.results.run import Evaluation, RunResult
from mnist_bench.scenarios import paper
from mnist_bench.scenarios.execution import Execution
from mnist_bench.tracking.run_builder import Recording, planned_run

SCENARIO = paper.PROTOCOL.model_copy(update={"title": "Two rows", "steps": (250, 501)})
NOON_MS = 1_800_000_000_000


def planned(steps: int, **changes: int) -> RunResult:
    return planned_run(
        name="table-1",
        scenario=SCENARIO,
        source=stand_ins.SOURCE,
        machine=records.machine(),
        execution=Execution(threads=2),
        steps=steps,
        seed=3,
        training_seed=changes.get("training_seed", 3),
        trajectory="a-trajectory",
    )


@pytest.fixture
def recorded() -> Recording:
    """Two runs that have not begun."""
    return Recording(tuple(planned(steps) for steps in SCENARIO.steps))


def at(step: int) -> int:
    """Each step is heard of at a second of its own."""
    return NOON_MS + 1_000 * step


def scored(step: int) -> Scored:
    return Scored(
        evaluation=Evaluation(
            step=step,
            test_accuracy=0.97,
            validation_accuracy=0.96,
            train_loss=0.25,
            train_seconds=step * 0.02,
        )
    )


def sample(step: int, steps: int = 100, rss_bytes: int | None = 7_000) -> Sample:
    stretch = TrainingStretch(
        step=step,
        steps=steps,
        train_seconds=steps * 0.02,
        rss_bytes=rss_bytes,
        seen=Stretch(wall_seconds=steps * 0.02, own_cpu_seconds=steps * 0.04),
    )
    return Sample(train_seconds=step * 0.02, stretch=stretch)


def row_end(steps: int) -> RowEnd:
    return RowEnd(
        steps=steps,
        seconds={"import": 4.0, "data": 0.5, "train": steps * 0.02, "other": 1.0},
        peak_rss_bytes=1_000 + steps,
        memory_method="VmHWM",
        phase_peak_rss_bytes={"import": 600, "train": 1_000 + steps},
    )


def take(recorded: Recording, *steps: int) -> None:
    for step in steps:
        recorded.take(scored(step), at(step))


def take_first_row(recorded: Recording) -> None:
    take(recorded, 1, 101, 201, 250)
    recorded.take(row_end(250), at(250))


def steps_of(run: RunResult) -> list[int]:
    return [evaluation.step for evaluation in run.evaluations]


# Before the first step


def test_a_planned_run_says_what_is_asked() -> None:
    run = planned(250, training_seed=17)
    assert (run.scenario, run.model, run.steps) == ("table-1", "paper-cnn", 250)
    assert (run.seed, run.training_seed, run.trajectory) == (3, 17, "a-trajectory")
    assert (run.dataset, run.dataset_digest) == ("mnist", "d" * 64)
    assert (run.precision, run.threads, run.device) == ("float32", 2, "cpu")
    assert (run.eval_first, run.eval_every) == (1, 100)
    assert run.machine_id == records.machine().machine_id
    assert run.target_accuracies == (0.984, 0.9888, 0.9918, 0.9928)
    assert run.hyperparameters == SCENARIO.hyperparameters
    assert run.status is run.failure is run.run_id is run.peak_rss_bytes is None
    assert run.evaluations == run.shared_phases == ()


def test_a_scenarios_own_targets_come_before_table_1s() -> None:
    own = SCENARIO.model_copy(update={"target_accuracies": (0.9,)})
    run = planned_run(
        name="own",
        scenario=own,
        source=stand_ins.SOURCE,
        machine=records.machine(),
        execution=Execution(threads=1),
        steps=250,
        seed=0,
        training_seed=0,
        trajectory="t",
    )
    assert run.target_accuracies == (0.9,)


def test_a_run_is_named_when_it_is_made(recorded: Recording) -> None:
    recorded.name(501, "an-id")
    assert [run.run_id for run in recorded.runs] == [None, "an-id"]


# What is heard of steps


def test_scorings_reach_the_rows_they_belong_to(recorded: Recording) -> None:
    take_first_row(recorded)
    take(recorded, 301, 401, 501)
    recorded.take(row_end(501), at(501))
    # 250 is the short row's last state, and none of the long one's.
    assert [steps_of(run) for run in recorded.runs] == [
        [1, 101, 201, 250],
        [1, 101, 201, 301, 401, 501],
    ]
    points = recorded.points(250)
    assert [(point.step, point.at_ms) for point in points] == [
        (step, at(step)) for step in (1, 101, 201, 250)
    ]


def test_memory_reaches_every_row_that_is_long_enough(recorded: Recording) -> None:
    for step in (101, 250, 301):
        recorded.take(sample(step, rss_bytes=1_000 + step), at(step))
    recorded.take(sample(401, rss_bytes=None), at(401))
    told = {
        steps: [(point.step, point.rss_bytes) for point in recorded.points(steps)]
        for steps in (250, 501)
    }
    assert told == {
        250: [(101, 1_101), (250, 1_250)],
        501: [(101, 1_101), (250, 1_250), (301, 1_301)],
    }


# The end of a row


def test_a_finished_row(recorded: Recording) -> None:
    recorded.take(Phase(name="import", seconds=3.75), at(0))
    take_first_row(recorded)
    finished, other = recorded.runs
    assert (finished.status, finished.failure) == ("finished", None)
    assert finished.seconds == {"import": 4.0, "data": 0.5, "train": 5.0, "other": 1.0}
    assert (finished.peak_rss_bytes, finished.memory_method) == (1_250, "VmHWM")
    assert finished.phase_peak_rss_bytes == {"import": 600, "train": 1_250}
    assert finished.final_test_accuracy == 0.97
    assert recorded.ended_at_ms(250) == at(250)
    assert other.status is None


def test_a_row_is_judged_by_what_was_seen_up_to_its_end(recorded: Recording) -> None:
    first, second = Surroundings(on_battery=False), Surroundings(on_battery=True)
    recorded.take(Calibrated(step=0, seconds=0.125, surroundings=first), at(0))
    recorded.take(sample(101), at(101))
    take_first_row(recorded)
    recorded.take(sample(301).model_copy(update={"surroundings": second}), at(301))
    recorded.take(Calibrated(step=501, seconds=0.25, surroundings=second), at(501))
    recorded.take(row_end(501), at(501))
    short, long = (run.conditions for run in recorded.runs)
    assert short is not None
    assert long is not None
    assert (short.surroundings, short.calibration_seconds) == ((first,), (0.125,))
    assert [stretch.step for stretch in short.stretches] == [101]
    assert (long.surroundings, long.calibration_seconds) == ((first, second, second), (0.125, 0.25))
    assert [stretch.step for stretch in long.stretches] == [101, 301]
    assert [run.verdict for run in recorded.runs] == ["clean", "suspect"]
    assert recorded.runs[0].reasons == ()
    assert recorded.runs[1].reasons != ()


def test_benchmarks_beside_it_are_told_to_the_judge() -> None:
    recorded = Recording((planned(250),), exclusive=False)
    recorded.take(row_end(250), at(250))
    (run,) = recorded.runs
    assert run.conditions is not None
    assert run.conditions.exclusive is False
    assert run.verdict == "suspect"


def test_messages_without_figures_change_nothing(recorded: Recording) -> None:
    runs = recorded.runs
    for message in (Ready(), Done()):
        recorded.take(message, NOON_MS)
    assert recorded.runs == runs
    assert list(recorded.points(501)) == []


# An early end


def test_closing_ends_what_goes_on_and_leaves_the_rest(recorded: Recording) -> None:
    recorded.take(Phase(name="import", seconds=4.0), at(0))
    recorded.take(Phase(name="data", seconds=0.5), at(0))
    take_first_row(recorded)
    take(recorded, 301)
    recorded.close("failed", "ValueError: no images", at(400))
    short, long = recorded.runs
    assert (short.status, short.failure) == ("finished", None)
    assert (long.status, long.failure) == ("failed", "ValueError: no images")
    assert steps_of(long) == [1, 101, 201, 301]
    assert long.seconds == pytest.approx({"import": 4, "data": 0.5, "train": 301 * 0.02})
    assert long.peak_rss_bytes is long.memory_method is None
    assert (recorded.ended_at_ms(250), recorded.ended_at_ms(501)) == (at(250), at(400))


def test_closing_twice_ends_nothing_twice(recorded: Recording) -> None:
    recorded.close("killed", "interrupted", at(1))
    recorded.close("failed", "another reason", at(2))
    assert [run.status for run in recorded.runs] == ["killed", "killed"]
    assert [run.failure for run in recorded.runs] == ["interrupted", "interrupted"]
    assert recorded.ended_at_ms(250) == at(1)


def test_closing_before_the_first_scoring(recorded: Recording) -> None:
    recorded.take(Phase(name="import", seconds=4.0), at(0))
    recorded.close("killed", "interrupted", at(1))
    for run in recorded.runs:
        assert run.seconds == {"import": 4.0}
        assert run.train_seconds_total is run.max_test_accuracy is None


@pytest.mark.parametrize("spelling", ["{}", "[Errno 28] No space left on device: '{}/a/file'"])
def test_a_reason_names_no_home_folder(recorded: Recording, home: Path, spelling: str) -> None:
    recorded.close("failed", spelling.format(home), at(1))
    assert [run.failure for run in recorded.runs] == [spelling.format("~")] * 2
