"""The runs of a training: built from a worker's messages, and uploaded in batches with retries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import factories
import pytest
from factories import (
    TWO_STEP_COUNTS,
    evaluation_message,
    planned_step_count,
    received_at_ms,
    sample_message,
    spool_header,
    step_count_done,
)
from fakes import Store
from program import RUN_ARTIFACTS

from mnist_bench.core import locks
from mnist_bench.core.errors import EXIT_FAILURE, BenchError
from mnist_bench.measurement.conditions import Stretch, Surroundings
from mnist_bench.measurement.machine import Machine
from mnist_bench.results.protocol import CalibrationMessage, Done, Message, Phase, Ready
from mnist_bench.results.run import RunResult, Status
from mnist_bench.scenarios import scenario
from mnist_bench.tracking import recorder, spool
from mnist_bench.tracking.recorder import Recorder, TrainingRuns, WarnOnce
from mnist_bench.tracking.run_notes import run_description
from mnist_bench.tracking.schema import Point

SHORT, LONG = "id-3-250", "id-3-501"


@dataclass
class Clock:
    """A clock that the test sets."""

    seconds: float = 100.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    fake_time = SimpleNamespace(monotonic=lambda: clock.seconds, time=lambda: clock.seconds)
    monkeypatch.setattr(recorder, "time", fake_time)
    return clock


@pytest.fixture
def mlflow() -> Store:
    return Store()


@pytest.fixture
def runs(clock: Clock, tmp_path: Path) -> TrainingRuns:
    """Two runs before their first step."""
    return TrainingRuns(spool_header(), tmp_path)


ON_BATTERY = Surroundings(on_battery=True)


def add(runs: TrainingRuns, step: int, *messages: Message) -> None:
    """Add messages, or an evaluation, that were received after a step."""
    for message in messages or [evaluation_message(step)]:
        runs.add_message(message, received_at_ms(step))


def add_first_step_count(runs: TrainingRuns) -> None:
    for step in (1, 101, 201, 250):
        add(runs, step)
    add(runs, 250, step_count_done(250))


def points_of(runs: TrainingRuns, steps: int) -> list[Point]:
    return runs._runs[steps].points


def steps_of(run: RunResult) -> list[int]:
    return [evaluation.step for evaluation in run.evaluations]


# The runs


def test_evaluations_are_added_to_their_step_counts(runs: TrainingRuns) -> None:
    add_first_step_count(runs)
    for step in (301, 401, 501):
        add(runs, step)
    add(runs, 501, step_count_done(501))
    # Step 250 is the last of the short run and not on the grid of the long one.
    assert [steps_of(run) for run in runs.results] == [
        [1, 101, 201, 250],
        [1, 101, 201, 301, 401, 501],
    ]
    assert [(point.step, point.at_ms) for point in points_of(runs, 250)] == [
        (step, received_at_ms(step)) for step in (1, 101, 201, 250)
    ]


def test_memory_is_added_to_every_longer_step_count(runs: TrainingRuns) -> None:
    for step in (101, 250, 301):
        add(runs, step, sample_message(step, rss_bytes=1_000 + step))
    add(runs, 401, sample_message(401, rss_bytes=None))
    memory = [(step, 1_000 + step) for step in (101, 250, 301)]
    for steps, expected in ((250, memory[:2]), (501, memory)):
        found = [(p.step, p.rss_bytes) for p in points_of(runs, steps) if p.rss_bytes is not None]
        assert found == expected


def test_samples_tell_which_processors_were_busy(runs: TrainingRuns) -> None:
    add(runs, 101, sample_message(101))
    seen = Stretch(wall_seconds=2.0, own_cpu_seconds=3.0, other_cpu_seconds=-0.5)
    busy, idle = (
        sample_message(step).model_copy(
            update={"stretch": sample_message(step).stretch.model_copy(update={"seen": stretch})}
        )
        for step, stretch in ((201, seen), (301, Stretch(wall_seconds=0.0, own_cpu_seconds=0.0)))
    )
    add(runs, 201, busy)
    add(runs, 301, idle)
    found = [(point.worker_cores, point.other_cores) for point in points_of(runs, 501)]
    assert found == [(2.0, None), (1.5, 0.0), (None, None)]


def test_finished_step_count_is_built(runs: TrainingRuns) -> None:
    add(runs, 0, Phase(name="import", seconds=3.75))
    add_first_step_count(runs)
    finished, other = runs.results
    assert (finished.status, finished.failure) == ("finished", None)
    assert finished.seconds == {"import": 4.0, "data": 0.5, "train": 5.0, "other": 1.0}
    assert (finished.peak_rss_bytes, finished.memory_method) == (1_250, "VmHWM")
    assert finished.phase_peak_rss_bytes == {"import": 600, "train": 1_250}
    assert finished.final_test_accuracy == 0.97
    assert other.status is None


def test_verdict_uses_conditions_up_to_the_end_of_the_run(runs: TrainingRuns) -> None:
    first, second = Surroundings(on_battery=False), Surroundings(on_battery=True)
    add(runs, 0, CalibrationMessage(step=0, seconds=0.125, surroundings=first))
    add(runs, 101, sample_message(101))
    add_first_step_count(runs)
    add(runs, 301, sample_message(301).model_copy(update={"surroundings": second}))
    add(runs, 501, CalibrationMessage(step=501, seconds=0.25, surroundings=second))
    add(runs, 501, step_count_done(501))
    short, long = (run.conditions for run in runs.results)
    assert short is not None
    assert long is not None
    assert (short.surroundings, short.calibration_seconds) == ((first,), (0.125,))
    assert [stretch.step for stretch in short.stretches] == [101]
    assert (long.surroundings, long.calibration_seconds) == ((first, second, second), (0.125, 0.25))
    assert [stretch.step for stretch in long.stretches] == [101, 301]
    assert [run.verdict for run in runs.results] == ["clean", "suspect"]
    assert runs.results[0].reasons == ()
    assert runs.results[1].reasons != ()


def test_concurrent_benchmarks_make_a_run_suspect(tmp_path: Path) -> None:
    runs = TrainingRuns(spool_header(exclusive=False), tmp_path)
    add_first_step_count(runs)
    run = runs.results[0]
    assert run.conditions is not None
    assert (run.conditions.exclusive, run.verdict) == (False, "suspect")


@pytest.mark.parametrize("status", ["failed", "killed"])
def test_what_was_not_measured_to_its_end_is_never_clean(tmp_path: Path, status: Status) -> None:
    unmeasured, quiet, disturbed = (TrainingRuns(spool_header(), tmp_path) for _ in range(3))
    add(unmeasured, 0, CalibrationMessage(step=0, seconds=0.1, surroundings=ON_BATTERY))
    add(quiet, 101, sample_message(101))
    add(disturbed, 101, sample_message(101).model_copy(update={"surroundings": ON_BATTERY}))
    for each in (unmeasured, quiet, disturbed):
        each.close(status, "no memory", received_at_ms(250))
    found = [(each.results[0].verdict, each.results[0].reasons) for each in (unmeasured, quiet)]
    assert found == [(None, ()), (None, ())]
    assert disturbed.results[0].verdict == "suspect"
    assert disturbed.results[0].reasons == ("on battery",)


def test_messages_without_measurements_change_nothing(runs: TrainingRuns) -> None:
    before = runs.results
    add(runs, 0, Ready(), Done())
    assert runs.results == before
    assert points_of(runs, 501) == []


# An early end


def test_close_ends_only_running_runs(runs: TrainingRuns, mlflow: Store) -> None:
    add(runs, 0, Phase(name="import", seconds=4.0), Phase(name="data", seconds=0.5))
    add_first_step_count(runs)
    add(runs, 301)
    runs.close("failed", "ValueError: no images", received_at_ms(400))
    runs.close("killed", "interrupted", received_at_ms(401))  # changes nothing
    short, long = runs.results
    assert (short.status, short.failure) == ("finished", None)
    assert (long.status, long.failure) == ("failed", "ValueError: no images")
    assert steps_of(long) == [1, 101, 201, 301]
    assert long.seconds == pytest.approx({"import": 4, "data": 0.5, "train": 301 * 0.02})
    assert long.peak_rss_bytes is long.memory_method is None
    runs.upload(mlflow)
    assert [each.at_ms for each in mlflow.finished] == [received_at_ms(250), received_at_ms(400)]


def test_close_before_the_first_evaluation(runs: TrainingRuns) -> None:
    add(runs, 0, Phase(name="import", seconds=4.0))
    runs.close("killed", "interrupted", received_at_ms(1))
    for run in runs.results:
        assert run.seconds == {"import": 4.0}
        assert run.train_seconds_total is run.max_test_accuracy is None


@pytest.mark.parametrize("spelling", ["{}", "[Errno 28] No space left on device: '{}/a/file'"])
def test_failure_contains_no_home_folder(runs: TrainingRuns, home: Path, spelling: str) -> None:
    runs.close("failed", spelling.format(home), received_at_ms(1))
    assert [run.failure for run in runs.results] == [spelling.format("~")] * 2


# Uploads


def fail_on(*calls: str) -> Callable[[str, str], None]:
    """A fault of the fake store: these calls fail."""

    def fault(call: str, run_id: str) -> None:
        if call in calls or f"{call} {run_id}" in calls:
            raise BenchError(f"{call} {run_id}: the disk is full", exit_status=EXIT_FAILURE)

    return fault


def test_finished_step_count_is_uploaded(runs: TrainingRuns, mlflow: Store, tmp_path: Path) -> None:
    (tmp_path / "worker.log").write_bytes(b"a log")
    (tmp_path / "250").mkdir()
    (tmp_path / "250" / "predictions.npz").write_bytes(b"predictions")
    runs.upload(mlflow)
    assert mlflow.calls == [("start", SHORT, None), ("start", LONG, None)]
    assert [run.run_id for run in runs.results] == [SHORT, LONG]
    assert mlflow.notes[SHORT] == run_description(planned_step_count(250), "Two rows")
    add_first_step_count(runs)
    runs.upload(mlflow)
    (finished,) = mlflow.finished
    assert (finished.run, finished.at_ms) == (runs.results[0], received_at_ms(250))
    assert runs.uploaded == [finished.run]
    assert finished.note == run_description(finished.run, "Two rows")
    assert set(finished.files) == RUN_ARTIFACTS
    assert finished.files["predictions.npz"] == b"predictions"
    assert finished.files["worker.log"] == b"a log"
    assert RunResult.model_validate_json(finished.files["result.json"]) == finished.run
    assert Machine.model_validate_json(finished.files["machine.json"]) == factories.machine()
    toml = finished.files["scenario.toml"].decode()
    assert scenario.from_text(toml, "scenario.toml") == TWO_STEP_COUNTS
    assert not runs.is_complete


def test_evaluations_and_memory_are_uploaded_once(runs: TrainingRuns, mlflow: Store) -> None:
    runs.upload(mlflow)
    add_first_step_count(runs)
    add(runs, 301, sample_message(301))
    runs.upload(mlflow)
    add(runs, 301, evaluation_message(301), step_count_done(501))
    runs.upload(mlflow)
    runs.upload(mlflow)
    assert mlflow.calls[2:] == [
        ("log", SHORT, [1, 101, 201, 250]),
        ("finish", SHORT, "finished"),
        ("log", LONG, [1, 101, 201]),
        ("log", LONG, [301]),
        ("finish", LONG, "finished"),
    ]
    assert mlflow.received_at_ms == [
        received_at_ms(step) for step in (1, 101, 201, 250, 1, 101, 201, 301)
    ]
    assert mlflow.rss_bytes == {301: 7_000}
    assert runs.is_complete


def test_uploads_at_most_every_five_seconds_unless_a_step_count_is_done(
    clock: Clock, runs: TrainingRuns, mlflow: Store
) -> None:
    runs.upload(mlflow)
    for seconds, step in ((104.9, 1), (105, 101), (109.9, 201), (110, 301)):
        clock.seconds = seconds
        add(runs, step)
        runs.upload_if_due(mlflow)
    logged = [call for call in mlflow.calls if call[:2] == ("log", LONG)]
    assert logged == [("log", LONG, [1, 101]), ("log", LONG, [201, 301])]
    add(runs, 301, step_count_done(250))
    runs.upload_if_due(mlflow)
    assert mlflow.finished == []
    runs.upload_if_due(mlflow, immediately=True)
    assert [finished.run.steps for finished in mlflow.finished] == [250]


# A failing store


def test_back_off_after_a_failed_upload(clock: Clock, runs: TrainingRuns, mlflow: Store) -> None:
    attempts: list[float] = []

    def count(call: str, run_id: str) -> None:
        attempts.append(clock.seconds)
        fail_on(call)(call, run_id)

    runs.upload(mlflow)
    mlflow.fault = count
    add_first_step_count(runs)
    for seconds in (105, 120, 134.9, 135, 164.9):
        clock.seconds = seconds
        runs.upload_if_due(mlflow, immediately=True)
    assert attempts == [105, 135]  # one call per attempt
    assert runs.error is not None
    assert "the disk is full" in runs.error.message
    mlflow.fault = fail_on()
    clock.seconds = 165
    runs.upload_if_due(mlflow)
    assert runs.error is None
    assert [finished.run.steps for finished in mlflow.finished] == [250]


@pytest.mark.parametrize("call", ["start", "log", "finish"])
def test_failed_calls_are_retried_and_others_are_not_repeated(
    runs: TrainingRuns, mlflow: Store, call: str
) -> None:
    mlflow.fault = fail_on(f"{call} {LONG}")
    add_first_step_count(runs)
    runs.close("failed", "no images", received_at_ms(300))
    runs.upload(mlflow)
    assert not runs.is_complete
    mlflow.fault = fail_on()
    runs.upload(mlflow)
    assert runs.is_complete
    calls = [each[:2] for each in mlflow.calls]
    assert len(calls) == len(set(calls)) == 6
    # A creation that failed may have created the run.
    assert (("find", LONG) in calls) == (call == "start")
    assert mlflow.finished[0].run.failure is None
    assert [finished.run for finished in mlflow.finished] == list(runs.results)


@pytest.mark.usefixtures("folder", "home")
@pytest.mark.parametrize("call", ["log", "finish"])
def test_a_run_that_the_user_deleted_meanwhile_stays_deleted(mlflow: Store, call: str) -> None:
    warnings: list[str] = []
    recording = Recorder(spool_header(), WarnOnce(warnings.append))
    recording.start(mlflow)
    mlflow.gone, mlflow.fault = {LONG}, fail_on(f"{call} {LONG}")
    for step in (1, 101, 201, 250):
        recording.add_message(evaluation_message(step))
    recording.add_message(step_count_done(250))
    recording.close("killed", "interrupted")
    recording.upload_pending()
    assert recording.upload_error is None
    assert warnings == [f"deleted in MLflow, so no longer recorded there: run {LONG}"]
    assert [finished.run.run_id for finished in mlflow.finished] == [SHORT]
    assert spool.paths() == []


# The recorder: spool, folder and locks


@pytest.mark.usefixtures("folder", "home")
def test_training_whose_store_never_opened_leaves_nothing() -> None:
    recording = Recorder(spool_header(), WarnOnce(pytest.fail))
    assert recording.folder.is_dir()
    assert locks.is_alive(locks.process_name(), [spool.FOLDER])
    recording.add_message(evaluation_message(1))
    recording.close("failed", "no store")
    assert spool.paths() == []
    assert recording.is_uploaded
    recording.upload_pending()
    assert not recording.folder.exists()
    assert [run.failure for run in recording.runs] == ["no store"] * 2
    locks.release_all()
    assert not Path("mlruns").exists()


@pytest.mark.usefixtures("folder", "home")
def test_spool_replays_to_the_same_runs(mlflow: Store) -> None:
    warnings: list[str] = []
    recording = Recorder(spool_header(), WarnOnce(warnings.append))
    recording.start(mlflow)
    mlflow.fault = fail_on("finish")
    for step in (1, 101, 201, 250):
        recording.add_message(evaluation_message(step))
    assert warnings == []
    recording.add_message(step_count_done(250))
    recording.close("killed", "interrupted")
    recording.upload_pending()
    assert len(warnings) == 1
    assert recording.upload_error is not None
    (path,) = spool.paths()
    contents = spool.read(path)
    assert contents is not None
    replayed = TrainingRuns.replay(contents)
    assert replayed.results == tuple(
        run.model_copy(update={"run_id": None}) for run in recording.runs
    )
    mlflow.fault = fail_on()
    recording.upload_pending()
    assert recording.upload_error is None
    assert spool.paths() == []


@pytest.mark.usefixtures("home")
def test_owner_holds_lock_files_in_both_folders_if_it_can(folder: Path) -> None:
    assert recorder.process_owner() == locks.process_name()
    for each in (spool.FOLDER, *locks.live_folders()):
        assert locks.is_alive(locks.process_name(), [each])
    locks.release_all()
    (folder / "mlruns").write_bytes(b"in the way")
    assert recorder.process_owner() == locks.process_name()
    assert not locks.is_alive(locks.process_name(), [spool.FOLDER])
