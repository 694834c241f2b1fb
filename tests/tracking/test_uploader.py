"""Uploads of runs to MLflow: batches, retries, duplicates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import factories
import fakes
import pytest
from factories import (
    TWO_STEP_COUNTS,
    evaluation_message,
    planned_step_count,
    received_at_ms,
    sample_message,
    step_count_done,
)

from mnist_bench.core import process_identity
from mnist_bench.core.errors import EXIT_FAILURE, BenchError
from mnist_bench.measurement.machine import Machine
from mnist_bench.results.run import RunResult
from mnist_bench.scenarios import scenario
from mnist_bench.tracking.run_builder import RunBuilder
from mnist_bench.tracking.run_notes import run_description
from mnist_bench.tracking.uploader import RecordingContext, Uploader

SHORT, LONG = "id-3-250", "id-3-501"


@dataclass
class Clock:
    """A clock that the test sets."""

    seconds: float = 100.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    fake_time = SimpleNamespace(monotonic=lambda: clock.seconds)
    monkeypatch.setattr("mnist_bench.tracking.uploader.time", fake_time)
    return clock


@pytest.fixture
def mlflow() -> fakes.Store:
    return fakes.Store()


@pytest.fixture
def builder() -> RunBuilder:
    return RunBuilder(tuple(planned_step_count(steps) for steps in TWO_STEP_COUNTS.steps))


@pytest.fixture
def created() -> list[tuple[int, str]]:
    return []


@pytest.fixture
def uploader(
    clock: Clock,
    mlflow: fakes.Store,
    builder: RunBuilder,
    created: list[tuple[int, str]],
    tmp_path: Path,
) -> Uploader:
    context = RecordingContext(
        TWO_STEP_COUNTS,
        factories.machine(),
        process_identity.current_process("a-machine"),
        tmp_path,
        begun_at_ms=received_at_ms(0),
    )
    return Uploader(builder, context, mlflow, lambda *created_run: created.append(created_run))


def add_first_step_count(builder: RunBuilder) -> None:
    for step in (1, 101, 201, 250):
        builder.add_message(evaluation_message(step), received_at_ms(step))
    builder.add_message(step_count_done(250), received_at_ms(250))


def fail_on(*calls: str) -> Callable[[str, str], None]:
    """A fault of the fake store: these calls fail."""

    def fault(call: str, run_id: str) -> None:
        if call in calls or f"{call} {run_id}" in calls:
            raise BenchError(f"{call} {run_id}: the disk is full", exit_status=EXIT_FAILURE)

    return fault


def test_each_step_count_is_a_run(
    uploader: Uploader, mlflow: fakes.Store, builder: RunBuilder, created: list[tuple[int, str]]
) -> None:
    uploader.upload()
    assert mlflow.calls == [("start", SHORT, None), ("start", LONG, None)]
    assert created == [(250, SHORT), (501, LONG)]
    assert [run.run_id for run in builder.runs] == [SHORT, LONG]
    assert mlflow.notes[SHORT] == run_description(planned_step_count(250), "Two rows")
    assert not uploader.is_complete


def test_finished_step_count(
    uploader: Uploader, mlflow: fakes.Store, builder: RunBuilder, tmp_path: Path
) -> None:
    (tmp_path / "worker.log").write_bytes(b"a log")
    (tmp_path / "250").mkdir()
    (tmp_path / "250" / "predictions.npz").write_bytes(b"predictions")
    uploader.upload()
    add_first_step_count(builder)
    uploader.upload()
    (finished,) = mlflow.finished
    assert (finished.run, finished.at_ms) == (builder.runs[0], received_at_ms(250))
    assert finished.note == run_description(finished.run, "Two rows")
    assert set(finished.files) == {
        "result.json",
        "scenario.toml",
        "machine.json",
        "worker.log",
        "predictions.npz",
    }
    assert finished.files["predictions.npz"] == b"predictions"
    assert finished.files["worker.log"] == b"a log"
    assert RunResult.model_validate_json(finished.files["result.json"]) == finished.run
    assert Machine.model_validate_json(finished.files["machine.json"]) == factories.machine()
    copy = tmp_path / "copy.toml"
    copy.write_bytes(finished.files["scenario.toml"])
    assert scenario.read(copy) == TWO_STEP_COUNTS
    assert not uploader.is_complete


def test_evaluations_and_memory_are_uploaded_once(
    uploader: Uploader, mlflow: fakes.Store, builder: RunBuilder
) -> None:
    uploader.upload()
    add_first_step_count(builder)
    builder.add_message(sample_message(301), received_at_ms(301))
    uploader.upload()
    builder.add_message(evaluation_message(301), received_at_ms(301))
    builder.add_message(step_count_done(501), received_at_ms(501))
    uploader.upload()
    uploader.upload()
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
    assert uploader.is_complete


def test_uploads_at_most_every_five_seconds(
    clock: Clock, uploader: Uploader, mlflow: fakes.Store, builder: RunBuilder
) -> None:
    uploader.upload()
    for seconds, step in ((104.9, 1), (105, 101), (109.9, 201), (110, 301)):
        clock.seconds = seconds
        builder.add_message(evaluation_message(step), received_at_ms(step))
        uploader.upload_if_due()
    logged = [call for call in mlflow.calls if call[:2] == ("log", LONG)]
    assert logged == [("log", LONG, [1, 101]), ("log", LONG, [201, 301])]


def test_immediate_upload_does_not_wait_for_the_next_batch(
    uploader: Uploader, mlflow: fakes.Store, builder: RunBuilder
) -> None:
    uploader.upload()
    add_first_step_count(builder)
    uploader.upload_if_due()
    assert mlflow.finished == []
    uploader.upload_if_due(immediately=True)
    assert [finished.run.steps for finished in mlflow.finished] == [250]


# A failing store


def test_back_off_after_a_failed_upload(
    clock: Clock, uploader: Uploader, mlflow: fakes.Store, builder: RunBuilder
) -> None:
    attempts: list[float] = []

    def count(call: str, run_id: str) -> None:
        attempts.append(clock.seconds)
        fail_on(call)(call, run_id)

    uploader.upload()
    mlflow.fault = count
    add_first_step_count(builder)
    for seconds in (105, 120, 134.9, 135, 164.9):
        clock.seconds = seconds
        uploader.upload_if_due(immediately=True)
    assert attempts == [105, 135]  # one call per attempt
    assert uploader.error is not None
    assert "the disk is full" in uploader.error.message
    mlflow.fault = fail_on()
    clock.seconds = 165
    uploader.upload_if_due()
    assert uploader.error is None
    assert [finished.run.steps for finished in mlflow.finished] == [250]


@pytest.mark.parametrize("call", ["start", "log", "finish"])
def test_failed_calls_are_retried_and_others_are_not_repeated(
    uploader: Uploader, mlflow: fakes.Store, builder: RunBuilder, call: str
) -> None:
    mlflow.fault = fail_on(f"{call} {LONG}")
    add_first_step_count(builder)
    builder.close("failed", "no images", received_at_ms(300))
    uploader.upload()
    assert not uploader.is_complete
    mlflow.fault = fail_on()
    uploader.upload()
    assert uploader.is_complete
    calls = [each[:2] for each in mlflow.calls]
    assert len(calls) == len(set(calls)) == 6
    assert mlflow.finished[0].run.failure is None
    assert [finished.run for finished in mlflow.finished] == list(builder.runs)


def test_run_is_looked_for_after_a_failed_creation(
    uploader: Uploader, mlflow: fakes.Store, builder: RunBuilder
) -> None:
    mlflow.fault = fail_on(f"start {LONG}")
    uploader.upload()
    assert [run.run_id for run in builder.runs] == [SHORT, None]
    mlflow.fault = fail_on()
    uploader.upload()
    assert mlflow.calls == [("start", SHORT, None), ("find", LONG, None)]


# Jobs of a plan that machines share


@dataclass
class SharedStore(fakes.Store):
    """A store that other machines use too.

    Attributes:
        finished_runs: Step counts of the finished runs of the job, by run id.
        concurrent: Runs that another machine finishes at the same time.
    """

    finished_runs: dict[str, int] = field(default_factory=dict)
    concurrent: dict[str, int] = field(default_factory=dict)

    def finished_runs_of(self, job_tag: str) -> dict[str, int]:
        assert job_tag == "a-job"
        return self.finished_runs

    def finish(self, run: RunResult, *rest: Any, **more: Any) -> None:
        super().finish(run, *rest, **more)
        if run.status == "finished" and run.run_id:
            self.finished_runs[run.run_id] = run.steps
        self.finished_runs |= self.concurrent

    def mark_killed(self, run_id: str, failure: str) -> None:
        self.calls.append(("kill", run_id, failure))
        del self.finished_runs[run_id]


def upload_finished_job(store: SharedStore, tmp_path: Path) -> RunBuilder:
    """Upload a shared job whose first step count has finished."""
    runs = [
        planned_step_count(steps).model_copy(update={"part": "a-job"})
        for steps in TWO_STEP_COUNTS.steps
    ]
    builder = RunBuilder(tuple(runs))
    context = RecordingContext(
        TWO_STEP_COUNTS,
        factories.machine(),
        process_identity.current_process("a-machine"),
        tmp_path,
        begun_at_ms=received_at_ms(0),
    )
    uploader = Uploader(builder, context, store, lambda *_: None)
    add_first_step_count(builder)
    uploader.upload()
    assert uploader.uploaded == [builder.runs[0]]
    return builder


def test_run_of_a_shared_job_is_finished(tmp_path: Path) -> None:
    store = SharedStore(finished_runs={"of-the-other-step-count": 501})
    assert upload_finished_job(store, tmp_path).runs[0].status == "finished"
    assert [call for call, _, _ in store.calls if call == "kill"] == []


def test_duplicate_run_of_a_shared_job_is_killed(tmp_path: Path) -> None:
    store = SharedStore(finished_runs={"elsewhere": 250})
    run = upload_finished_job(store, tmp_path).runs[0]
    assert (run.status, run.failure) == ("killed", "recorded already, as run elsewhere")
    (finished,) = store.finished
    assert finished.run.status == "killed"
    assert "recorded already, as run elsewhere" in finished.note
    assert store.finished_runs == {"elsewhere": 250}


@pytest.mark.parametrize(
    ("other", "stays", "status"),
    [("another", "another", "killed"), ("zzz", SHORT, "finished")],
)
def test_two_machines_that_finish_at_once_choose_the_same_run(
    tmp_path: Path, other: str, stays: str, status: str
) -> None:
    store = SharedStore(concurrent={other: 250})
    run = upload_finished_job(store, tmp_path).runs[0]
    assert run.status == status
    assert store.finished_runs == {stays: 250}
    (duplicate,) = {other, SHORT} - {stays}
    assert ("kill", duplicate, f"recorded already, as run {stays}") in store.calls
