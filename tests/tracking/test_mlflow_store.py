"""Writing to and reading from MLflow, with a real database in a temporary folder."""

from __future__ import annotations

import errno
import os
import platform
import socket
import sqlite3
import subprocess
import sys
import uuid
import weakref
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from factories import evaluations, machine, run

from mnist_bench.core import locks
from mnist_bench.core.errors import EXIT_FAILURE, EXIT_USAGE, BenchError
from mnist_bench.results.run import Evaluation, RunResult, Status
from mnist_bench.tracking import mlflow_store
from mnist_bench.tracking.mlflow_store import MlflowStore, Started
from mnist_bench.tracking.run_notes import run_description
from mnist_bench.tracking.schema import Point

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.store.entities import PagedList

EVALUATIONS = evaluations(1_000, 0.985, final=0.98, selected=0.97)
"""Test maximum after 801 updates, validation maximum after the first; last step off the grid."""
SECONDS = {
    "import": 4.0,
    "data": 0.5,
    "trace": 1.5,
    "train": 20.0,
    "evaluate": 3.25,
    "other": 0.75,
}
NOON_MS = 1_800_000_000_000
END_MS = NOON_MS + 2_000_000
OWNER = "4711-1800000000-0123abcd"
AT_STEPS = {"rss_bytes", "test_accuracy", "validation_accuracy", "train_loss", "train_seconds"}


def sqlite_uri(path: Path) -> str:
    return f"sqlite:///{path.as_posix()}"


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One database for all tests, since creating one takes seconds."""
    return sqlite_uri(tmp_path_factory.mktemp("database") / "mlflow.db")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory; its name needs escaping in a URI."""
    path = tmp_path / "a folder"
    path.mkdir()
    monkeypatch.chdir(path)
    return path


@pytest.fixture
def name() -> str:
    """Unique name of an experiment."""
    return f"experiment {uuid.uuid4().hex}"


@pytest.fixture
def store(uri: str, folder: Path, name: str) -> MlflowStore:
    return MlflowStore(uri, name)


@pytest.fixture
def client(uri: str, store: MlflowStore) -> MlflowClient:
    """A client that reads what was recorded."""
    return mlflow_store.import_mlflow().MlflowClient(tracking_uri=uri)


def timed(scored: Sequence[Evaluation]) -> list[Point]:
    """Points at one second per step, with resident memory."""
    return [
        Point(each.step, NOON_MS + 1_000 * each.step, evaluation=each, rss_bytes=9_000 + each.step)
        for each in scored
    ]


def start(store: MlflowStore, result: RunResult, *, may_exist: bool = False) -> Started:
    return store.start(
        result,
        "It has begun. Status: running.",
        OWNER,
        machine(),
        at_ms=NOON_MS,
        may_exist=may_exist,
    )


def started(store: MlflowStore, **changes: Any) -> RunResult:
    """A run before its first step, created in the store."""
    nothing: dict[str, Any] = {
        "status": None,
        "run_id": None,
        "evaluations": (),
        "seconds": {},
        "peak_rss_bytes": None,
        "memory_method": None,
    }
    before = run(1_000, seed=3, **(nothing | changes))
    return before.model_copy(update={"run_id": start(store, before).run_id})


def recorded_run(store: MlflowStore, files: Sequence[Path] = (), **changes: Any) -> RunResult:
    """A run that is recorded completely."""
    run_id = started(store).run_id
    values = {
        "evaluations": EVALUATIONS,
        "seconds": SECONDS,
        "run_id": run_id,
        "phase_peak_rss_bytes": {"import": 600},
        "verdict": "suspect",
        "reasons": ("on battery", "other load"),
    }
    whole = run(1_000, seed=3, **(values | changes))
    store.log(run_id, timed(whole.evaluations))
    store.finish(whole, run_description(whole, "A title"), lambda: files, at_ms=END_MS)
    return whole


def found(client: MlflowClient, recorded: RunResult) -> Run:
    assert recorded.run_id is not None
    return client.get_run(recorded.run_id)


def history(client: MlflowClient, recorded: RunResult, name: str) -> list[tuple[int, float]]:
    assert recorded.run_id is not None
    metrics = client.get_metric_history(recorded.run_id, name)
    return sorted((metric.step, metric.value) for metric in metrics)


# What is recorded


def test_started_run(client: MlflowClient, store: MlflowStore) -> None:
    run = found(client, started(store))
    assert run.info.status == "RUNNING"
    assert run.info.experiment_id == store.experiment_id
    assert run.data.tags["mlflow.note.content"] == "It has begun. Status: running."
    assert run.data.params["steps"] == "1000"
    assert run.data.metrics == {}


def test_params(client: MlflowClient, store: MlflowStore) -> None:
    assert found(client, recorded_run(store)).data.params == {
        "scenario": "table-1",
        "model": "paper-cnn",
        "steps": "1000",
        "seed": "3",
        "dataset": "mnist",
        "precision": "float32",
        "threads": "2",
        "device": "cpu",
        "eval_first": "1",
        "eval_every": "100",
        "learning_rate": "0.001",
        "batch_size": "50",
        "dropout_rate": "0.5",
        "optimizer": "adam",
        "schedule": "constant",
        "conv1_filters": "32",
        "conv1_kernel_size": "5",
        "conv2_filters": "64",
        "conv2_kernel_size": "5",
        "dense_units": "1024",
        "batch_normalization": "False",
        "label_smoothing": "0.0",
        "shift_pixels": "0",
        "rotation_degrees": "0.0",
        "zoom_share": "0.0",
        "average_decay": "0.0",
    }


def test_metrics_of_the_whole_run(client: MlflowClient, store: MlflowStore) -> None:
    metrics = found(client, recorded_run(store)).data.metrics
    once = {name: value for name, value in metrics.items() if name not in AT_STEPS}
    # Missed targets have no time: 0.9888, 0.9918, 0.9928 on test, 0.9918, 0.9928 on validation.
    assert once == pytest.approx(
        {
            "max_test_accuracy": 0.985,
            "max_test_accuracy_step": 801,
            "final_test_accuracy": 0.98,
            "selected_test_accuracy": 0.97,
            "max_validation_accuracy": 0.99,
            "final_validation_accuracy": 0.9,
            "train_seconds_total": 20,
            "images_per_second": 2_500,
            "peak_rss_bytes": 1_000 * 2**20 + 1_000,
            "phase_import_seconds": 4,
            "phase_data_seconds": 0.5,
            "phase_trace_seconds": 1.5,
            "phase_train_seconds": 20,
            "phase_evaluate_seconds": 3.25,
            "phase_other_seconds": 0.75,
            "phase_import_peak_rss_bytes": 600,
            "time_to_test_accuracy_0_984_seconds": 16.02,
            "time_to_validation_accuracy_0_984_seconds": 0.02,
            "time_to_validation_accuracy_0_9888_seconds": 0.02,
        }
    )


def test_time_to_reached_and_missed_targets(client: MlflowClient, store: MlflowStore) -> None:
    reached = recorded_run(store, evaluations=evaluations(1_000, 0.993))
    name = "time_to_test_accuracy_0_9928_seconds"
    assert found(client, reached).data.metrics[name] == pytest.approx(16.02)
    assert name not in found(client, recorded_run(store)).data.metrics


def test_metrics_by_step(client: MlflowClient, store: MlflowStore) -> None:
    result = recorded_run(store)
    steps = [1, 101, 201, 301, 401, 501, 601, 701, 801, 901, 1_000]
    accuracies = [0.97, *[0.975] * 7, 0.985, 0.975, 0.98]
    assert history(client, result, "test_accuracy") == list(zip(steps, accuracies, strict=True))
    validation = [0.99, *[0.9] * 10]
    assert history(client, result, "validation_accuracy") == list(
        zip(steps, validation, strict=True)
    )
    assert history(client, result, "train_loss") == [(step, 0.125) for step in steps]
    seconds = dict(history(client, result, "train_seconds"))
    assert seconds == pytest.approx({step: step * 0.02 for step in steps})
    assert history(client, result, "rss_bytes") == [(step, 9_000 + step) for step in steps]


def test_evaluations_have_the_time_of_their_message(
    client: MlflowClient, store: MlflowStore
) -> None:
    result = started(store)
    assert result.run_id is not None
    store.log(result.run_id, timed(EVALUATIONS[:3]))
    metrics = client.get_metric_history(result.run_id, "test_accuracy")
    assert {metric.step: metric.timestamp - NOON_MS for metric in metrics} == {
        1: 1_000,
        101: 101_000,
        201: 201_000,
    }


def test_more_metrics_than_one_batch(client: MlflowClient, store: MlflowStore) -> None:
    many = evaluations(30_000, 0.985)
    assert 4 * len(many) > 1_000
    result = recorded_run(store, evaluations=many)
    for name in AT_STEPS:
        steps = [step for step, _ in history(client, result, name)]
        assert steps == [*range(1, 30_001, 100), 30_000]


def test_unknown_values_are_absent(client: MlflowClient, store: MlflowStore) -> None:
    nothing = recorded_run(
        store,
        evaluations=(),
        seconds={},
        peak_rss_bytes=None,
        memory_method=None,
        phase_peak_rss_bytes={},
    )
    assert found(client, nothing).data.metrics == {}
    assert "bench.memory_method" not in found(client, nothing).data.tags
    no_number = EVALUATIONS[0].model_copy(update={"train_loss": None})
    result = recorded_run(store, evaluations=(no_number, *EVALUATIONS[1:]))
    assert history(client, result, "train_loss")[0][0] == 101
    assert history(client, result, "test_accuracy")[0][0] == 1


def test_tags(client: MlflowClient, store: MlflowStore) -> None:
    result = recorded_run(store)
    tags = found(client, result).data.tags
    assert {name: tag for name, tag in tags.items() if name.startswith("bench.")} == {
        "bench.schema": "1",
        "bench.trajectory": "trajectory-3",
        "bench.steps": "1000",
        "bench.owner": OWNER,
        "bench.complete": "true",
        "bench.verdict": "suspect",
        "bench.reasons": "on battery, other load",
        "bench.dataset_digest": "d" * 64,
        "bench.training_seed": "3",
        "bench.machine": machine().name,
        "bench.tensorflow": "2.21.0",
        "bench.mnist_bench": "0.1.0",
        "bench.machine_id": "0123456789abcdef",
        "bench.memory_method": "VmHWM",
    }
    assert tags["mlflow.source.name"] == "mnist-bench"
    assert tags["mlflow.source.type"] == "LOCAL"
    assert tags["mlflow.runName"] == "table-1 1000 steps seed 3"
    assert tags["mlflow.note.content"] == run_description(result, "A title")
    assert tags["mlflow.user"]


def test_machine_without_an_id(client: MlflowClient, store: MlflowStore) -> None:
    assert "bench.machine_id" not in found(client, started(store, machine_id=None)).data.tags


@pytest.mark.parametrize(
    ("status", "shown"), [("finished", "FINISHED"), ("failed", "FAILED"), ("killed", "KILLED")]
)
def test_status_of_an_ended_run(
    client: MlflowClient, store: MlflowStore, status: Status, shown: str
) -> None:
    failure = None if status == "finished" else "the training process was ended by SIGKILL"
    ended = found(client, recorded_run(store, status=status, failure=failure))
    assert ended.info.status == shown
    assert ended.info.end_time is not None
    assert ended.data.tags.get("bench.failure") == failure
    assert (failure or "finished") in ended.data.tags["mlflow.note.content"]


def test_no_home_folder_or_host_name_is_recorded(
    client: MlflowClient, store: MlflowStore, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # MLflow would record the path of the program.
    monkeypatch.setattr(sys, "argv", [str(home / "bin" / "mnist-bench"), "run"])
    for module, function in ((socket, "gethostname"), (platform, "node")):
        monkeypatch.setattr(module, function, lambda: "computer-of-nobody")
    data = found(client, recorded_run(store)).data
    tags = {name: tag for name, tag in data.tags.items() if name != "mlflow.user"}
    for text in (*data.params.values(), *tags.values()):
        assert "home-of-nobody" not in text
        assert "computer-of-nobody" not in text


# Files


def test_artifacts(client: MlflowClient, store: MlflowStore, folder: Path, name: str) -> None:
    (folder / "scratch").mkdir()
    names = ["result.json", "scenario.toml", "machine.json", "worker.log", "predictions.npz"]
    files = [folder / "scratch" / file for file in names]
    for file in files:
        file.write_bytes(file.name.encode())
    result = recorded_run(store, files)
    assert result.run_id is not None
    assert sorted(each.path for each in client.list_artifacts(result.run_id)) == sorted(names)
    artifacts = folder / "mlruns" / name.replace(" ", "-") / result.run_id / "artifacts"
    for file in names:
        assert (artifacts / file).read_bytes() == file.encode()


def test_artifact_location_does_not_depend_on_the_working_directory(
    client: MlflowClient, store: MlflowStore, folder: Path, name: str
) -> None:
    location = folder.resolve() / "mlruns" / name.replace(" ", "-")
    assert client.get_experiment(store.experiment_id).artifact_location == location.as_uri()


@pytest.mark.parametrize(
    ("experiment", "folder_name"),
    [
        ("mnist-bench", "mnist-bench"),
        ("MNIST, again: 100%", "MNIST-again-100"),
        ("../../etc", "etc"),
        ("/etc/passwd", "etc-passwd"),
        ("..", "experiment"),
        ("", "experiment"),
    ],
)
def test_artifact_folder_of_an_experiment(folder: Path, experiment: str, folder_name: str) -> None:
    assert mlflow_store.artifact_folder(experiment) == folder.resolve() / "mlruns" / folder_name


# A failing store


def no_space(*_: object, **__: object) -> Any:
    raise OSError(28, "No space left on device")


def test_run_is_ended_even_if_its_files_can_not_be_saved(
    client: MlflowClient, store: MlflowStore
) -> None:
    whole = run(1_000, seed=3, run_id=started(store).run_id)
    with pytest.raises(BenchError, match="No space left on device") as caught:
        store.finish(whole, "note", no_space, at_ms=END_MS)
    assert caught.value.exit_status == EXIT_FAILURE
    assert found(client, whole).info.status == "FINISHED"


def test_run_that_may_exist_is_looked_for(
    client: MlflowClient, store: MlflowStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = run(1_000, seed=3, run_id=None, trajectory=uuid.uuid4().hex)
    with monkeypatch.context() as patch:
        patch.setattr(store.client, "log_batch", no_space)  # after the run was created
        with pytest.raises(BenchError, match="No space left on device"):
            start(store, before)
    started = start(store, before, may_exist=True)
    (created,) = client.search_runs([store.experiment_id])
    assert (created.info.run_id, created.data.params["seed"]) == (started.run_id, "3")
    assert not started.is_complete
    # Another step count of the same training is another run.
    assert start(store, run(2_500, trajectory=before.trajectory), may_exist=True) != started


def test_complete_run_is_reported_as_complete(store: MlflowStore) -> None:
    whole = recorded_run(store)
    found_again = start(store, whole, may_exist=True)
    assert (found_again.run_id, found_again.is_complete) == (whole.run_id, True)


def test_deleted_run_stays_deleted(client: MlflowClient, store: MlflowStore) -> None:
    deleted = started(store)
    client.delete_run(deleted.run_id)
    assert start(store, deleted, may_exist=True).is_complete
    assert client.search_runs([store.experiment_id]) == []


def test_process_that_leaves_a_run_running_counts_as_dead(
    store: MlflowStore, tmp_path: Path
) -> None:
    """Its lock files stay, so that the next command ends what it left."""

    def leaves_lock_files() -> bool:
        name = locks.hold(tmp_path)
        locks.release_all()
        return locks.is_dead(name, [tmp_path])

    recorded_run(store)
    study = store.start_study("mine", "", OWNER)
    store.finish_study(study, "finished", "", {}, [])
    assert not leaves_lock_files()
    started(store)
    assert leaves_lock_files()
    assert not leaves_lock_files()
    store.reopen_study(study, OWNER)
    assert leaves_lock_files()


def test_repeated_upload_adds_nothing(client: MlflowClient, store: MlflowStore) -> None:
    whole = recorded_run(store)
    before = {name: history(client, whole, name) for name in found(client, whole).data.metrics}
    assert whole.run_id is not None
    store.log(whole.run_id, timed(whole.evaluations))
    store.finish(whole, "note", list, at_ms=END_MS)
    again = found(client, whole)
    assert {name: history(client, whole, name) for name in again.data.metrics} == before
    for name, values in before.items():
        assert len({step for step, _ in values}) == len(values), name
    assert (again.info.start_time, again.info.end_time) == (NOON_MS, END_MS)


def test_unfinished_runs_and_their_owners(client: MlflowClient, store: MlflowStore) -> None:
    recorded_run(store)
    running = started(store, trajectory="t")
    client.create_run(store.experiment_id, run_name="of another program")
    unfinished = {run.run_id: (run.trajectory, run.owner) for run in store.unfinished()}
    assert unfinished.pop(running.run_id) == ("t", OWNER)
    assert list(unfinished.values()) == [("", None)]
    store.mark_killed(running.run_id, "its process vanished")
    killed = found(client, running)
    assert killed.info.status == "KILLED"
    assert killed.data.tags["bench.failure"] == "its process vanished"
    assert killed.data.tags["mlflow.note.content"] == (
        "It has begun. Status: killed.\n\nWhy it did not finish: its process vanished"
    )
    assert killed.data.tags["bench.complete"] == "false"


# Earlier runs


def run_with_record(store: MlflowStore, folder: Path, **changes: Any) -> RunResult:
    """A run with the artifact `result.json`."""
    before = started(store, **changes)
    whole = run(1_000, seed=3, **({"run_id": before.run_id} | changes))
    (folder / "result.json").write_text(whole.model_dump_json(), encoding="utf-8")
    store.finish(whole, "note", lambda: [folder / "result.json"], at_ms=END_MS)
    return whole


def test_load_finished_runs(store: MlflowStore, folder: Path) -> None:
    whole = run_with_record(store, folder, verdict="clean", evaluations=EVALUATIONS)
    run_with_record(store, folder, status="failed", failure="no images")
    run_with_record(store, folder, dataset_digest="e" * 64)
    run_with_record(store, folder, scenario="it's another")
    recorded_run(store)  # without a record
    assert store.load_finished("table-1", "d" * 64) == [whole]
    assert [run.scenario for run in store.load_finished("it's another", "d" * 64)] == [
        "it's another"
    ]
    assert store.load_finished("no-such", "d" * 64) == []


def test_record_that_cannot_be_read_now_is_an_error(
    store: MlflowStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise `--resume` would train the run again, and record it twice."""
    whole = run_with_record(store, folder)
    monkeypatch.setattr(store, "artifact", lambda run_id, name: None)
    with pytest.raises(BenchError, match=f"can't read result.json of run {whole.run_id}"):
        store.load_finished("table-1", "d" * 64)


def test_record_of_another_version_is_ignored(store: MlflowStore, folder: Path) -> None:
    whole = started(store)
    (folder / "result.json").write_text('{"scenario": "table-1"}', encoding="utf-8")
    files = [folder / "result.json"]
    done = run(1_000, run_id=whole.run_id)
    store.finish(done, "note", lambda: files, at_ms=END_MS)
    assert store.load_finished("table-1", "d" * 64) == []


def test_store_for_reading_is_never_created(
    folder: Path, uri: str, store: MlflowStore, name: str
) -> None:
    assert MlflowStore.open_existing("sqlite:///mlflow.db", name) is None
    assert list(folder.iterdir()) == []
    assert MlflowStore.open_existing(uri, f"no {name}") is None
    reader = MlflowStore.open_existing(uri, name)
    assert reader is not None
    assert reader.experiment_id == store.experiment_id


def test_error_is_one_line_without_a_password() -> None:
    uri = "https://ada:secret@example.org/mlflow"
    error = mlflow_store.to_bench_error(
        OSError(f"no route to {uri}\nand much more"), uri, "opening the store"
    )
    assert str(error).startswith("MLflow at https://example.org/mlflow failed while opening")
    assert "no route to https://example.org/mlflow" in error.message
    assert "secret" not in str(error)
    assert "ada" not in str(error)
    assert "much more" not in str(error)
    assert error.exit_status == EXIT_FAILURE
    assert (
        "ConnectionError"
        in mlflow_store.to_bench_error(ConnectionError(), uri, "ending a run").message
    )


def test_error_of_an_unavailable_server_is_short() -> None:
    words = (
        "API request to http://127.0.0.1:5/api failed with exception "
        "HTTPConnectionPool(host='127.0.0.1', port=5): Max retries exceeded with url: /api"
    )
    error = mlflow_store.to_bench_error(ValueError(words), "http://127.0.0.1:5", "logging metrics")
    assert error.message == (
        "MLflow at http://127.0.0.1:5 failed while logging metrics: it does not respond"
    )


# Experiments


def test_second_store_finds_the_experiment(uri: str, store: MlflowStore, name: str) -> None:
    assert MlflowStore(uri, name).experiment_id == store.experiment_id


def test_experiment_that_another_process_creates_first(
    client: MlflowClient, store: MlflowStore, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [None]  # it does not exist at the first call

    def get_experiment_by_name(experiment: str) -> Any:
        return answers.pop() if answers else client.get_experiment_by_name(experiment)

    monkeypatch.setattr(store.client, "get_experiment_by_name", get_experiment_by_name)
    assert (
        mlflow_store.experiment_id(store.client, store._uri, name, create=True)
        == store.experiment_id
    )


def test_deleted_experiment_is_rejected(
    client: MlflowClient, uri: str, store: MlflowStore, name: str
) -> None:
    client.delete_experiment(store.experiment_id)
    with pytest.raises(BenchError, match="was deleted") as caught:
        MlflowStore(uri, name)
    assert f"mlflow experiments restore -x {store.experiment_id}" in caught.value.hint
    assert caught.value.exit_status == EXIT_USAGE


def test_experiment_behind_a_server_is_rejected(client: MlflowClient, uri: str) -> None:
    behind = f"behind {uuid.uuid4().hex}"
    client.create_experiment(behind, artifact_location="mlflow-artifacts:/7")
    with pytest.raises(BenchError, match="behind an MLflow server") as caught:
        MlflowStore(uri, behind)
    assert "--experiment" in caught.value.hint
    assert caught.value.exit_status == EXIT_USAGE


# Databases


@pytest.mark.parametrize("revision", ["cfd24bdc0731", "fffffffffffe"])
def test_database_of_another_mlflow_is_rejected(
    uri: str, store: MlflowStore, tmp_path: Path, revision: str
) -> None:
    """Of an older or newer MLflow, with all tables."""
    copy = tmp_path / "other.db"
    with (
        closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as source,
        closing(sqlite3.connect(copy)) as target,
    ):
        source.backup(target)
        target.execute("UPDATE alembic_version SET version_num = ?", (revision,))
        target.commit()
    assert_rejected(copy)


def test_database_that_mlflow_would_migrate_silently_is_rejected(
    folder: Path, tmp_path: Path
) -> None:
    old = tmp_path / "old.db"
    with closing(sqlite3.connect(old)) as database:
        database.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        database.execute("CREATE TABLE experiments (experiment_id INTEGER NOT NULL)")
        database.execute("INSERT INTO alembic_version VALUES ('451aebb31d03')")
        database.commit()
    assert_rejected(old)


def assert_rejected(database: Path) -> None:
    before = database.read_bytes()
    with pytest.raises(BenchError, match="another version of MLflow") as caught:
        MlflowStore(sqlite_uri(database), "mnist-bench")
    assert f"`mlflow db upgrade {sqlite_uri(database)}`" in caught.value.hint
    assert caught.value.exit_status == EXIT_USAGE
    assert database.read_bytes() == before


def test_incomplete_database_is_removed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = tmp_path / "new.db"

    def fail(*_: object, create: bool) -> str:
        assert database.exists()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(mlflow_store, "experiment_id", fail)
    with pytest.raises(BenchError, match="No space left on device") as caught:
        MlflowStore(sqlite_uri(database), "mnist-bench")
    assert "its disk is not full" in caught.value.hint
    assert not database.exists()


def test_existing_database_is_kept_on_an_error(
    uri: str, store: MlflowStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, create: bool) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(mlflow_store, "experiment_id", fail)
    with pytest.raises(BenchError, match="No space left on device"):
        MlflowStore(uri, "mnist-bench")
    assert Path(uri.removeprefix("sqlite:///")).exists()


def test_message_of_the_database_is_shown(uri: str) -> None:
    words = "database or disk is full"
    wrapped = f"(raised as a result of autoflush)\n(sqlite3.OperationalError) {words}\n[SQL: x]"
    message = str(mlflow_store.to_bench_error(ValueError(wrapped), uri, "logging metrics"))
    assert f"failed while logging metrics: {words}; " in message


def test_three_processes_create_a_database_at_once(folder: Path) -> None:
    code = """
import sys
from mnist_bench.tracking import mlflow_store
from mnist_bench.tracking.mlflow_store import MlflowStore
mlflow_store.import_mlflow()
print("ready", flush=True)
sys.stdin.readline()
print(MlflowStore(sys.argv[1], "shared").experiment_id)
"""
    command = [sys.executable, "-c", code, "sqlite:///mlflow.db"]
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
            for _ in range(3)
        ]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:  # all wait for a line, so that they start at once
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        answers = [process.communicate(timeout=200)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert answers[0].strip().isdecimal()
    assert answers[0] == answers[1] == answers[2]
    assert (folder / "mlflow.db").is_file()


# MLflow itself


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("MLFLOW_DISABLE_TELEMETRY", "true"),
        ("MLFLOW_LOGGING_LEVEL", "CRITICAL"),
        ("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true"),
        ("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false"),
        ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0"),
        ("MLFLOW_HTTP_REQUEST_TIMEOUT", "20"),
    ],
)
def test_mlflow_defaults_respect_the_users_settings(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.delenv(variable, raising=False)
    mlflow_store.import_mlflow()
    assert os.environ[variable] == value
    monkeypatch.setenv(variable, "set by the user")
    mlflow_store.import_mlflow()
    assert os.environ[variable] == "set by the user"


# Run description


def test_description_of_a_finished_run() -> None:
    assert run_description(run(1_000, 0.985), "A title").split("\n\n") == [
        "**A title**",
        (
            "1,000 steps of paper-cnn on mnist, seed 0, float32 on cpu, threads: 2. "
            "Status: finished."
        ),
        (
            "Max test accuracy 0.9850 after 801 updates, at the end 0.9840; 20.0 s of training, "
            "2,500 images/s, peak 1,000 MiB."
        ),
    ]


def test_description_of_a_run_that_is_running() -> None:
    note = run_description(run(status=None, evaluations=()), "A title")
    assert note.endswith("threads: 2. Status: running.")


def test_description_of_a_run_that_failed() -> None:
    note = run_description(run(status="failed", failure="no images", evaluations=()), "A title")
    assert "Status: failed." in note
    assert note.endswith("Why it did not finish: no images")


def test_description_of_other_images() -> None:
    for dataset in ("mnist-5k", "custom:0a0a0a0a0a0a"):
        assert "not comparable with the paper's Table I" in run_description(
            run(dataset=dataset), "A title"
        )
    assert "not comparable" not in run_description(run(), "A title")


# Files of runs that are not trainings


def test_files_are_saved_in_one_run_and_replaced(store: MlflowStore) -> None:
    tags = {"bench.report": "true"}
    first = store.save_files("report", "First", tags, {"a.txt": b"old", "b.txt": b"b"})
    again = store.save_files("report", "Second", tags, {"a.txt": b"new"})
    assert first == again
    assert store.artifact(first, "a.txt") == b"new"
    assert store.artifact(first, "b.txt") == b"b"
    assert store.has_artifact(first, "b.txt")
    assert not store.has_artifact(first, "c.txt")
    saved = store.client.get_run(first)
    assert saved.info.status == "FINISHED"
    assert saved.data.tags["mlflow.note.content"] == "Second"
    assert list(store.recorded_runs("")) == [], "it is not a training"


def test_other_tags_are_another_run(store: MlflowStore) -> None:
    runs = {store.save_files("figures", "", {"bench.image": image}, {}) for image in ("1", "2")}
    assert len(runs) == 2


def test_file_on_disk_is_saved_unchanged(store: MlflowStore, tmp_path: Path) -> None:
    (tmp_path / "here.csv").write_bytes(b"a\r\nb")
    run_id = store.save_files(
        "report", "", {"bench.report": "true"}, {"a.csv": tmp_path / "here.csv"}
    )
    assert store.artifact(run_id, "a.csv") == b"a\r\nb"


def test_page_of_runs_is_released_before_the_next_is_loaded(
    store: MlflowStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow's runs are large, so only one page may be in memory."""
    from mlflow.store.entities import PagedList

    found = store.search("")
    pages: list[weakref.ref[PagedList[Run]]] = []

    def search_runs(*_: object, page_token: str | None, **__: object) -> PagedList[Run]:
        assert all(page() is None for page in pages)
        page = PagedList(found, "next" if len(pages) < 2 else None)
        pages.append(weakref.ref(page))
        return page

    monkeypatch.setattr(store.client, "search_runs", search_runs)
    assert list(store.recorded_runs("")) == []
    assert len(pages) == 3


def test_invalid_filter_is_not_reported_as_a_store_error(store: MlflowStore) -> None:
    with pytest.raises(BenchError, match="does not understand the filter 'no sense'") as wrong:
        list(store.recorded_runs("no sense"))
    assert wrong.value.exit_status == EXIT_USAGE
