"""Building the runs of a training from a worker's messages."""

from __future__ import annotations

from pathlib import Path

import factories
import pytest
from factories import (
    FIRST_MESSAGE_MS,
    TWO_STEP_COUNTS,
    evaluation_message,
    planned_step_count,
    received_at_ms,
    sample_message,
    step_count_done,
)

from mnist_bench.measurement.conditions import Surroundings
from mnist_bench.results.protocol import CalibrationMessage, Done, Phase, Ready
from mnist_bench.results.run import RunResult
from mnist_bench.scenarios.execution import Execution
from mnist_bench.tracking.run_builder import RunBuilder, planned_run


@pytest.fixture
def builder() -> RunBuilder:
    """Two runs before their first step."""
    return RunBuilder(tuple(planned_step_count(steps) for steps in TWO_STEP_COUNTS.steps))


def add_evaluations(builder: RunBuilder, *steps: int) -> None:
    for step in steps:
        builder.add_message(evaluation_message(step), received_at_ms(step))


def add_first_step_count(builder: RunBuilder) -> None:
    add_evaluations(builder, 1, 101, 201, 250)
    builder.add_message(step_count_done(250), received_at_ms(250))


def steps_of(run: RunResult) -> list[int]:
    return [evaluation.step for evaluation in run.evaluations]


# Before the first step


def test_planned_run() -> None:
    run = planned_step_count(250, training_seed=17)
    assert (run.scenario, run.model, run.steps) == ("table-1", "paper-cnn", 250)
    assert (run.seed, run.training_seed, run.trajectory) == (3, 17, "a-trajectory")
    assert (run.dataset, run.dataset_digest) == ("mnist", "d" * 64)
    assert (run.precision, run.threads, run.device) == ("float32", 2, "cpu")
    assert (run.eval_first, run.eval_every) == (1, 100)
    assert run.machine_id == factories.machine().machine_id
    assert run.target_accuracies == (0.984, 0.9888, 0.9918, 0.9928)
    assert run.hyperparameters == TWO_STEP_COUNTS.hyperparameters
    assert run.status is run.failure is run.run_id is run.peak_rss_bytes is None
    assert run.evaluations == run.shared_phases == ()


def test_target_accuracies_of_the_scenario_take_precedence() -> None:
    scenario = TWO_STEP_COUNTS.model_copy(update={"target_accuracies": (0.9,)})
    run = planned_run(
        name="own",
        scenario=scenario,
        source=factories.SOURCE,
        machine=factories.machine(),
        execution=Execution(threads=1),
        steps=250,
        seed=0,
        training_seed=0,
        trajectory="t",
    )
    assert run.target_accuracies == (0.9,)


def test_set_run_id(builder: RunBuilder) -> None:
    builder.set_run_id(501, "an-id")
    assert [run.run_id for run in builder.runs] == [None, "an-id"]


# Measurements by step


def test_evaluations_are_added_to_their_step_counts(builder: RunBuilder) -> None:
    add_first_step_count(builder)
    add_evaluations(builder, 301, 401, 501)
    builder.add_message(step_count_done(501), received_at_ms(501))
    # Step 250 is the last of the short run and not on the grid of the long one.
    assert [steps_of(run) for run in builder.runs] == [
        [1, 101, 201, 250],
        [1, 101, 201, 301, 401, 501],
    ]
    points = builder.points(250)
    assert [(point.step, point.at_ms) for point in points] == [
        (step, received_at_ms(step)) for step in (1, 101, 201, 250)
    ]


def test_memory_is_added_to_every_longer_step_count(builder: RunBuilder) -> None:
    for step in (101, 250, 301):
        builder.add_message(sample_message(step, rss_bytes=1_000 + step), received_at_ms(step))
    builder.add_message(sample_message(401, rss_bytes=None), received_at_ms(401))
    memory = {
        steps: [(point.step, point.rss_bytes) for point in builder.points(steps)]
        for steps in (250, 501)
    }
    assert memory == {
        250: [(101, 1_101), (250, 1_250)],
        501: [(101, 1_101), (250, 1_250), (301, 1_301)],
    }


# The end of a step count


def test_finished_step_count(builder: RunBuilder) -> None:
    builder.add_message(Phase(name="import", seconds=3.75), received_at_ms(0))
    add_first_step_count(builder)
    finished, other = builder.runs
    assert (finished.status, finished.failure) == ("finished", None)
    assert finished.seconds == {"import": 4.0, "data": 0.5, "train": 5.0, "other": 1.0}
    assert (finished.peak_rss_bytes, finished.memory_method) == (1_250, "VmHWM")
    assert finished.phase_peak_rss_bytes == {"import": 600, "train": 1_250}
    assert finished.final_test_accuracy == 0.97
    assert builder.ended_at_ms(250) == received_at_ms(250)
    assert other.status is None


def test_verdict_uses_conditions_up_to_the_end_of_the_run(builder: RunBuilder) -> None:
    first, second = Surroundings(on_battery=False), Surroundings(on_battery=True)
    builder.add_message(
        CalibrationMessage(step=0, seconds=0.125, surroundings=first), received_at_ms(0)
    )
    builder.add_message(sample_message(101), received_at_ms(101))
    add_first_step_count(builder)
    builder.add_message(
        sample_message(301).model_copy(update={"surroundings": second}), received_at_ms(301)
    )
    builder.add_message(
        CalibrationMessage(step=501, seconds=0.25, surroundings=second), received_at_ms(501)
    )
    builder.add_message(step_count_done(501), received_at_ms(501))
    short, long = (run.conditions for run in builder.runs)
    assert short is not None
    assert long is not None
    assert (short.surroundings, short.calibration_seconds) == ((first,), (0.125,))
    assert [stretch.step for stretch in short.stretches] == [101]
    assert (long.surroundings, long.calibration_seconds) == ((first, second, second), (0.125, 0.25))
    assert [stretch.step for stretch in long.stretches] == [101, 301]
    assert [run.verdict for run in builder.runs] == ["clean", "suspect"]
    assert builder.runs[0].reasons == ()
    assert builder.runs[1].reasons != ()


def test_concurrent_benchmarks_make_a_run_suspect() -> None:
    builder = RunBuilder((planned_step_count(250),), exclusive=False)
    builder.add_message(step_count_done(250), received_at_ms(250))
    (run,) = builder.runs
    assert run.conditions is not None
    assert run.conditions.exclusive is False
    assert run.verdict == "suspect"


def test_messages_without_measurements_change_nothing(builder: RunBuilder) -> None:
    runs = builder.runs
    for message in (Ready(), Done()):
        builder.add_message(message, FIRST_MESSAGE_MS)
    assert builder.runs == runs
    assert list(builder.points(501)) == []


# An early end


def test_close_ends_only_running_runs(builder: RunBuilder) -> None:
    builder.add_message(Phase(name="import", seconds=4.0), received_at_ms(0))
    builder.add_message(Phase(name="data", seconds=0.5), received_at_ms(0))
    add_first_step_count(builder)
    add_evaluations(builder, 301)
    builder.close("failed", "ValueError: no images", received_at_ms(400))
    short, long = builder.runs
    assert (short.status, short.failure) == ("finished", None)
    assert (long.status, long.failure) == ("failed", "ValueError: no images")
    assert steps_of(long) == [1, 101, 201, 301]
    assert long.seconds == pytest.approx({"import": 4, "data": 0.5, "train": 301 * 0.02})
    assert long.peak_rss_bytes is long.memory_method is None
    assert (builder.ended_at_ms(250), builder.ended_at_ms(501)) == (
        received_at_ms(250),
        received_at_ms(400),
    )


def test_second_close_changes_nothing(builder: RunBuilder) -> None:
    builder.close("killed", "interrupted", received_at_ms(1))
    builder.close("failed", "another reason", received_at_ms(2))
    assert [run.status for run in builder.runs] == ["killed", "killed"]
    assert [run.failure for run in builder.runs] == ["interrupted", "interrupted"]
    assert builder.ended_at_ms(250) == received_at_ms(1)


def test_close_before_the_first_evaluation(builder: RunBuilder) -> None:
    builder.add_message(Phase(name="import", seconds=4.0), received_at_ms(0))
    builder.close("killed", "interrupted", received_at_ms(1))
    for run in builder.runs:
        assert run.seconds == {"import": 4.0}
        assert run.train_seconds_total is run.max_test_accuracy is None


@pytest.mark.parametrize("spelling", ["{}", "[Errno 28] No space left on device: '{}/a/file'"])
def test_failure_contains_no_home_folder(builder: RunBuilder, home: Path, spelling: str) -> None:
    builder.close("failed", spelling.format(home), received_at_ms(1))
    assert [run.failure for run in builder.runs] == [spelling.format("~")] * 2
