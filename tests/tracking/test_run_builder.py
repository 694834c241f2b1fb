"""The runs of one trajectory, as a worker's messages come in."""

from __future__ import annotations

from pathlib import Path

import factories
import pytest
from factories import (
    HEARD_FROM_MS,
    TWO_ROWS,
    heard_at_ms,
    planned_row,
    row_end_message,
    sample_message,
    scored_message,
)

from mnist_bench.measurement.conditions import Surroundings
from mnist_bench.results.protocol import CalibrationMessage, Done, Phase, Ready
from mnist_bench.results.run import RunResult
from mnist_bench.scenarios.execution import Execution
from mnist_bench.tracking.run_builder import RunBuilder, planned_run


@pytest.fixture
def recorded() -> RunBuilder:
    """Two runs that have not begun."""
    return RunBuilder(tuple(planned_row(steps) for steps in TWO_ROWS.steps))


def take(recorded: RunBuilder, *steps: int) -> None:
    for step in steps:
        recorded.take(scored_message(step), heard_at_ms(step))


def take_first_row(recorded: RunBuilder) -> None:
    take(recorded, 1, 101, 201, 250)
    recorded.take(row_end_message(250), heard_at_ms(250))


def steps_of(run: RunResult) -> list[int]:
    return [evaluation.step for evaluation in run.evaluations]


# Before the first step


def test_a_planned_run_says_what_is_asked() -> None:
    run = planned_row(250, training_seed=17)
    assert (run.scenario, run.model, run.steps) == ("table-1", "paper-cnn", 250)
    assert (run.seed, run.training_seed, run.trajectory) == (3, 17, "a-trajectory")
    assert (run.dataset, run.dataset_digest) == ("mnist", "d" * 64)
    assert (run.precision, run.threads, run.device) == ("float32", 2, "cpu")
    assert (run.eval_first, run.eval_every) == (1, 100)
    assert run.machine_id == factories.machine().machine_id
    assert run.target_accuracies == (0.984, 0.9888, 0.9918, 0.9928)
    assert run.hyperparameters == TWO_ROWS.hyperparameters
    assert run.status is run.failure is run.run_id is run.peak_rss_bytes is None
    assert run.evaluations == run.shared_phases == ()


def test_a_scenarios_own_targets_come_before_table_1s() -> None:
    own = TWO_ROWS.model_copy(update={"target_accuracies": (0.9,)})
    run = planned_run(
        name="own",
        scenario=own,
        source=factories.SOURCE,
        machine=factories.machine(),
        execution=Execution(threads=1),
        steps=250,
        seed=0,
        training_seed=0,
        trajectory="t",
    )
    assert run.target_accuracies == (0.9,)


def test_a_run_is_named_when_it_is_made(recorded: RunBuilder) -> None:
    recorded.name(501, "an-id")
    assert [run.run_id for run in recorded.runs] == [None, "an-id"]


# What is heard of steps


def test_scorings_reach_the_rows_they_belong_to(recorded: RunBuilder) -> None:
    take_first_row(recorded)
    take(recorded, 301, 401, 501)
    recorded.take(row_end_message(501), heard_at_ms(501))
    # 250 is the short row's last state, and none of the long one's.
    assert [steps_of(run) for run in recorded.runs] == [
        [1, 101, 201, 250],
        [1, 101, 201, 301, 401, 501],
    ]
    points = recorded.points(250)
    assert [(point.step, point.at_ms) for point in points] == [
        (step, heard_at_ms(step)) for step in (1, 101, 201, 250)
    ]


def test_memory_reaches_every_row_that_is_long_enough(recorded: RunBuilder) -> None:
    for step in (101, 250, 301):
        recorded.take(sample_message(step, rss_bytes=1_000 + step), heard_at_ms(step))
    recorded.take(sample_message(401, rss_bytes=None), heard_at_ms(401))
    told = {
        steps: [(point.step, point.rss_bytes) for point in recorded.points(steps)]
        for steps in (250, 501)
    }
    assert told == {
        250: [(101, 1_101), (250, 1_250)],
        501: [(101, 1_101), (250, 1_250), (301, 1_301)],
    }


# The end of a row


def test_a_finished_row(recorded: RunBuilder) -> None:
    recorded.take(Phase(name="import", seconds=3.75), heard_at_ms(0))
    take_first_row(recorded)
    finished, other = recorded.runs
    assert (finished.status, finished.failure) == ("finished", None)
    assert finished.seconds == {"import": 4.0, "data": 0.5, "train": 5.0, "other": 1.0}
    assert (finished.peak_rss_bytes, finished.memory_method) == (1_250, "VmHWM")
    assert finished.phase_peak_rss_bytes == {"import": 600, "train": 1_250}
    assert finished.final_test_accuracy == 0.97
    assert recorded.ended_at_ms(250) == heard_at_ms(250)
    assert other.status is None


def test_a_row_is_judged_by_what_was_seen_up_to_its_end(recorded: RunBuilder) -> None:
    first, second = Surroundings(on_battery=False), Surroundings(on_battery=True)
    recorded.take(CalibrationMessage(step=0, seconds=0.125, surroundings=first), heard_at_ms(0))
    recorded.take(sample_message(101), heard_at_ms(101))
    take_first_row(recorded)
    recorded.take(sample_message(301).model_copy(update={"surroundings": second}), heard_at_ms(301))
    recorded.take(CalibrationMessage(step=501, seconds=0.25, surroundings=second), heard_at_ms(501))
    recorded.take(row_end_message(501), heard_at_ms(501))
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
    recorded = RunBuilder((planned_row(250),), exclusive=False)
    recorded.take(row_end_message(250), heard_at_ms(250))
    (run,) = recorded.runs
    assert run.conditions is not None
    assert run.conditions.exclusive is False
    assert run.verdict == "suspect"


def test_messages_without_figures_change_nothing(recorded: RunBuilder) -> None:
    runs = recorded.runs
    for message in (Ready(), Done()):
        recorded.take(message, HEARD_FROM_MS)
    assert recorded.runs == runs
    assert list(recorded.points(501)) == []


# An early end


def test_closing_ends_what_goes_on_and_leaves_the_rest(recorded: RunBuilder) -> None:
    recorded.take(Phase(name="import", seconds=4.0), heard_at_ms(0))
    recorded.take(Phase(name="data", seconds=0.5), heard_at_ms(0))
    take_first_row(recorded)
    take(recorded, 301)
    recorded.close("failed", "ValueError: no images", heard_at_ms(400))
    short, long = recorded.runs
    assert (short.status, short.failure) == ("finished", None)
    assert (long.status, long.failure) == ("failed", "ValueError: no images")
    assert steps_of(long) == [1, 101, 201, 301]
    assert long.seconds == pytest.approx({"import": 4, "data": 0.5, "train": 301 * 0.02})
    assert long.peak_rss_bytes is long.memory_method is None
    assert (recorded.ended_at_ms(250), recorded.ended_at_ms(501)) == (
        heard_at_ms(250),
        heard_at_ms(400),
    )


def test_closing_twice_ends_nothing_twice(recorded: RunBuilder) -> None:
    recorded.close("killed", "interrupted", heard_at_ms(1))
    recorded.close("failed", "another reason", heard_at_ms(2))
    assert [run.status for run in recorded.runs] == ["killed", "killed"]
    assert [run.failure for run in recorded.runs] == ["interrupted", "interrupted"]
    assert recorded.ended_at_ms(250) == heard_at_ms(1)


def test_closing_before_the_first_scoring(recorded: RunBuilder) -> None:
    recorded.take(Phase(name="import", seconds=4.0), heard_at_ms(0))
    recorded.close("killed", "interrupted", heard_at_ms(1))
    for run in recorded.runs:
        assert run.seconds == {"import": 4.0}
        assert run.train_seconds_total is run.max_test_accuracy is None


@pytest.mark.parametrize("spelling", ["{}", "[Errno 28] No space left on device: '{}/a/file'"])
def test_a_reason_names_no_home_folder(recorded: RunBuilder, home: Path, spelling: str) -> None:
    recorded.close("failed", spelling.format(home), heard_at_ms(1))
    assert [run.failure for run in recorded.runs] == [spelling.format("~")] * 2
