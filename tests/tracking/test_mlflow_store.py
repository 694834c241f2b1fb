"""What MLflow is told, on a real database in a folder of the tests' own."""

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

from mnist_bench.core import process_identity
from mnist_bench.core.errors import EXIT_BROKE, EXIT_WRONG_REQUEST, BenchError
from mnist_bench.results.run import Evaluation, RunResult, Status
from mnist_bench.tracking import mlflow_errors as database
from mnist_bench.tracking import mlflow_setup
from mnist_bench.tracking.mlflow_reader import existing_store
from mnist_bench.tracking.mlflow_store import MlflowStore, Started
from mnist_bench.tracking.run_notes import run_description
from mnist_bench.tracking.schema import Point

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.store.entities import PagedList

EVALUATIONS = evaluations(1_000, 0.985, final=0.98, selected=0.97)
"""Best on test after 801 updates, on validation after the first; the last state off the grid."""
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
OWNER = process_identity.current_process("0123456789abcdef")
AT_STEPS = {"rss_bytes", "test_accuracy", "validation_accuracy", "train_loss", "train_seconds"}


def sqlite_uri(path: Path) -> str:
    return f"sqlite:///{path.as_posix()}"


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One database for all tests, since to make one takes seconds."""
    return sqlite_uri(tmp_path_factory.mktemp("database") / "mlflow.db")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory; its name is not spelled alike in a URI."""
    path = tmp_path / "a folder"
    path.mkdir()
    monkeypatch.chdir(path)
    return path


@pytest.fixture
def name() -> str:
    """An experiment that no other test knows."""
    return f"experiment {uuid.uuid4().hex}"


@pytest.fixture
def opened(uri: str, folder: Path, name: str) -> MlflowStore:
    return MlflowStore(uri, name)


@pytest.fixture
def client(uri: str, opened: MlflowStore) -> MlflowClient:
    """Reads what was recorded, as a user's own program would."""
    return mlflow_setup.import_mlflow().MlflowClient(tracking_uri=uri)


def timed(scored: Sequence[Evaluation]) -> list[Point]:
    """Heard of at one second a step, with the memory of that step."""
    return [
        Point(each.step, NOON_MS + 1_000 * each.step, evaluation=each, rss_bytes=9_000 + each.step)
        for each in scored
    ]


def start(opened: MlflowStore, run_of: RunResult, *, look_first: bool = False) -> Started:
    return opened.start(
        run_of,
        "It has begun. Status: running.",
        OWNER,
        machine(),
        at_ms=NOON_MS,
        look_first=look_first,
    )


def begun(opened: MlflowStore, **changes: Any) -> RunResult:
    """A run before its first step, made in the store."""
    nothing: dict[str, Any] = {
        "status": None,
        "run_id": None,
        "evaluations": (),
        "seconds": {},
        "peak_rss_bytes": None,
        "memory_method": None,
    }
    before = run(1_000, seed=3, **(nothing | changes))
    return before.model_copy(update={"run_id": start(opened, before).run_id})


def recorded(opened: MlflowStore, files: Sequence[Path] = (), **changes: Any) -> RunResult:
    """A run from its beginning to its end."""
    run_id = begun(opened).run_id
    values = {
        "evaluations": EVALUATIONS,
        "seconds": SECONDS,
        "run_id": run_id,
        "phase_peak_rss_bytes": {"import": 600},
        "verdict": "suspect",
        "reasons": ("on battery", "other load"),
    }
    whole = run(1_000, seed=3, **(values | changes))
    opened.log(run_id, timed(whole.evaluations))
    opened.finish(whole, run_description(whole, "A title"), lambda: files, at_ms=END_MS)
    return whole


def found(client: MlflowClient, recorded: RunResult) -> Run:
    assert recorded.run_id is not None
    return client.get_run(recorded.run_id)


def history(client: MlflowClient, recorded: RunResult, name: str) -> list[tuple[int, float]]:
    assert recorded.run_id is not None
    metrics = client.get_metric_history(recorded.run_id, name)
    return sorted((metric.step, metric.value) for metric in metrics)


# What is recorded


def test_a_run_that_has_begun(client: MlflowClient, opened: MlflowStore) -> None:
    made = found(client, begun(opened))
    assert made.info.status == "RUNNING"
    assert made.info.experiment_id == opened.experiment_id
    assert made.data.tags["mlflow.note.content"] == "It has begun. Status: running."
    assert made.data.params["steps"] == "1000"
    assert made.data.metrics == {}


def test_params(client: MlflowClient, opened: MlflowStore) -> None:
    assert found(client, recorded(opened)).data.params == {
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


def test_metrics_of_a_run_as_a_whole(client: MlflowClient, opened: MlflowStore) -> None:
    metrics = found(client, recorded(opened)).data.metrics
    once = {name: value for name, value in metrics.items() if name not in AT_STEPS}
    # Targets that were never reached have no time: none at 0.9888, 0.9918 and 0.9928 on test, none
    # at 0.9918 and 0.9928 on validation.
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


def test_a_target_that_was_reached_and_one_that_was_not(
    client: MlflowClient, opened: MlflowStore
) -> None:
    reached = recorded(opened, evaluations=evaluations(1_000, 0.993))
    name = "time_to_test_accuracy_0_9928_seconds"
    assert found(client, reached).data.metrics[name] == pytest.approx(16.02)
    assert name not in found(client, recorded(opened)).data.metrics


def test_metrics_by_step(client: MlflowClient, opened: MlflowStore) -> None:
    run_of = recorded(opened)
    steps = [1, 101, 201, 301, 401, 501, 601, 701, 801, 901, 1_000]
    accuracies = [0.97, *[0.975] * 7, 0.985, 0.975, 0.98]
    assert history(client, run_of, "test_accuracy") == list(zip(steps, accuracies, strict=True))
    validation = [0.99, *[0.9] * 10]
    assert history(client, run_of, "validation_accuracy") == list(
        zip(steps, validation, strict=True)
    )
    assert history(client, run_of, "train_loss") == [(step, 0.125) for step in steps]
    seconds = dict(history(client, run_of, "train_seconds"))
    assert seconds == pytest.approx({step: step * 0.02 for step in steps})
    assert history(client, run_of, "rss_bytes") == [(step, 9_000 + step) for step in steps]


def test_scorings_stand_at_the_time_at_which_they_were_heard_of(
    client: MlflowClient, opened: MlflowStore
) -> None:
    run_of = begun(opened)
    assert run_of.run_id is not None
    opened.log(run_of.run_id, timed(EVALUATIONS[:3]))
    metrics = client.get_metric_history(run_of.run_id, "test_accuracy")
    assert {metric.step: metric.timestamp - NOON_MS for metric in metrics} == {
        1: 1_000,
        101: 101_000,
        201: 201_000,
    }


def test_more_figures_than_mlflow_takes_at_once(client: MlflowClient, opened: MlflowStore) -> None:
    many = evaluations(30_000, 0.985)
    assert 4 * len(many) > 1_000
    run_of = recorded(opened, evaluations=many)
    for name in AT_STEPS:
        steps = [step for step, _ in history(client, run_of, name)]
        assert steps == [*range(1, 30_001, 100), 30_000]


def test_what_is_not_known_is_absent(client: MlflowClient, opened: MlflowStore) -> None:
    nothing = recorded(
        opened,
        evaluations=(),
        seconds={},
        peak_rss_bytes=None,
        memory_method=None,
        phase_peak_rss_bytes={},
    )
    assert found(client, nothing).data.metrics == {}
    assert "bench.memory_method" not in found(client, nothing).data.tags
    no_number = EVALUATIONS[0].model_copy(update={"train_loss": None})
    run_of = recorded(opened, evaluations=(no_number, *EVALUATIONS[1:]))
    assert history(client, run_of, "train_loss")[0][0] == 101
    assert history(client, run_of, "test_accuracy")[0][0] == 1


def test_tags(client: MlflowClient, opened: MlflowStore) -> None:
    run_of = recorded(opened)
    tags = found(client, run_of).data.tags
    assert {name: tag for name, tag in tags.items() if name.startswith("bench.")} == {
        "bench.schema": "1",
        "bench.trajectory": "trajectory-3",
        "bench.steps": "1000",
        "bench.owner": OWNER.model_dump_json(),
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
    assert tags["mlflow.note.content"] == run_description(run_of, "A title")
    assert tags["mlflow.user"]


def test_a_machine_without_an_id(client: MlflowClient, opened: MlflowStore) -> None:
    assert "bench.machine_id" not in found(client, begun(opened, machine_id=None)).data.tags


@pytest.mark.parametrize(
    ("status", "shown"), [("finished", "FINISHED"), ("failed", "FAILED"), ("killed", "KILLED")]
)
def test_a_run_ends_as_it_ended(
    client: MlflowClient, opened: MlflowStore, status: Status, shown: str
) -> None:
    failure = None if status == "finished" else "the training process was ended by SIGKILL"
    ended = found(client, recorded(opened, status=status, failure=failure))
    assert ended.info.status == shown
    assert ended.info.end_time is not None
    assert ended.data.tags.get("bench.failure") == failure
    assert (failure or "finished") in ended.data.tags["mlflow.note.content"]


def test_nothing_tells_of_the_home_folder_or_the_host(
    client: MlflowClient, opened: MlflowStore, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # MLflow would tell the path of the program and the name of its user.
    monkeypatch.setattr(sys, "argv", [str(home / "bin" / "mnist-bench"), "run"])
    for module, function in ((socket, "gethostname"), (platform, "node")):
        monkeypatch.setattr(module, function, lambda: "computer-of-nobody")
    told = found(client, recorded(opened)).data
    tags = {name: tag for name, tag in told.tags.items() if name != "mlflow.user"}
    for text in (*told.params.values(), *tags.values()):
        assert "home-of-nobody" not in text
        assert "computer-of-nobody" not in text


# Files


def test_artifacts(client: MlflowClient, opened: MlflowStore, folder: Path, name: str) -> None:
    (folder / "scratch").mkdir()
    names = ["result.json", "scenario.toml", "machine.json", "worker.log", "predictions.npz"]
    files = [folder / "scratch" / file for file in names]
    for file in files:
        file.write_bytes(file.name.encode())
    run_of = recorded(opened, files)
    assert run_of.run_id is not None
    assert sorted(kept.path for kept in client.list_artifacts(run_of.run_id)) == sorted(names)
    place = folder / "mlruns" / name.replace(" ", "-") / run_of.run_id / "artifacts"
    for file in names:
        assert (place / file).read_bytes() == file.encode()


def test_an_experiment_keeps_its_files_in_a_folder_that_depends_on_no_working_directory(
    client: MlflowClient, opened: MlflowStore, folder: Path, name: str
) -> None:
    place = folder.resolve() / "mlruns" / name.replace(" ", "-")
    assert client.get_experiment(opened.experiment_id).artifact_location == place.as_uri()


@pytest.mark.parametrize(
    ("experiment", "kept_in"),
    [
        ("mnist-bench", "mnist-bench"),
        ("MNIST, again: 100%", "MNIST-again-100"),
        ("../../etc", "etc"),
        ("/etc/passwd", "etc-passwd"),
        ("..", "experiment"),
        ("", "experiment"),
    ],
)
def test_folder_of_an_experiment(folder: Path, experiment: str, kept_in: str) -> None:
    assert database.artifact_folder(experiment) == folder.resolve() / "mlruns" / kept_in


# A store that fails on the way


def no_space(*_: object, **__: object) -> Any:
    raise OSError(28, "No space left on device")


def test_a_run_is_ended_even_where_its_files_can_not_be_kept(
    client: MlflowClient, opened: MlflowStore
) -> None:
    whole = run(1_000, seed=3, run_id=begun(opened).run_id)
    with pytest.raises(BenchError, match="No space left on device") as fault:
        opened.finish(whole, "note", no_space, at_ms=END_MS)
    assert fault.value.exit_status == EXIT_BROKE
    assert found(client, whole).info.status == "FINISHED"


def test_a_run_that_may_have_been_made_is_looked_for(
    client: MlflowClient, opened: MlflowStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = run(1_000, seed=3, run_id=None, trajectory=uuid.uuid4().hex)
    with monkeypatch.context() as patch:
        patch.setattr(opened.client, "log_batch", no_space)  # after the run was made
        with pytest.raises(BenchError, match="No space left on device"):
            start(opened, before)
    started = start(opened, before, look_first=True)
    (made,) = client.search_runs([opened.experiment_id])
    assert (made.info.run_id, made.data.params["seed"]) == (started.run_id, "3")
    assert not started.is_complete
    # Another row of the same training is another run.
    assert start(opened, run(2_500, trajectory=before.trajectory), look_first=True) != started


def test_a_run_that_is_complete_is_told_to_be(opened: MlflowStore) -> None:
    whole = recorded(opened)
    found_again = start(opened, whole, look_first=True)
    assert (found_again.run_id, found_again.is_complete) == (whole.run_id, True)


def test_a_run_that_the_user_deleted_stays_so(client: MlflowClient, opened: MlflowStore) -> None:
    thrown_away = begun(opened)
    client.delete_run(thrown_away.run_id)
    assert start(opened, thrown_away, look_first=True).is_complete
    assert client.search_runs([opened.experiment_id]) == []


def test_a_run_that_the_database_does_not_know_is_made(opened: MlflowStore) -> None:
    lost = run(1_000, run_id=uuid.uuid4().hex, trajectory=uuid.uuid4().hex)
    assert start(opened, lost, look_first=True).run_id != lost.run_id


def test_what_is_delivered_twice_is_there_once(client: MlflowClient, opened: MlflowStore) -> None:
    whole = recorded(opened)
    before = {name: history(client, whole, name) for name in found(client, whole).data.metrics}
    assert whole.run_id is not None
    opened.log(whole.run_id, timed(whole.evaluations))
    opened.finish(whole, "note", list, at_ms=END_MS)
    again = found(client, whole)
    assert {name: history(client, whole, name) for name in again.data.metrics} == before
    for name, values in before.items():
        assert len({step for step, _ in values}) == len(values), name
    assert (again.info.start_time, again.info.end_time) == (NOON_MS, END_MS)


def test_runs_that_go_on_and_whose_they_are(client: MlflowClient, opened: MlflowStore) -> None:
    recorded(opened)
    goes_on = begun(opened, trajectory="t")
    client.create_run(opened.experiment_id, run_name="somebody else's")
    told = {one.run_id: (one.trajectory, one.owner) for one in opened.unfinished()}
    assert told.pop(goes_on.run_id) == ("t", OWNER)
    assert list(told.values()) == [("", None)]
    opened.give_up(goes_on.run_id, "its process vanished")
    killed = found(client, goes_on)
    assert killed.info.status == "KILLED"
    assert killed.data.tags["bench.failure"] == "its process vanished"
    assert killed.data.tags["mlflow.note.content"] == (
        "It has begun. Status: killed.\n\nWhy it did not finish: its process vanished"
    )
    assert killed.data.tags["bench.complete"] == "false"


# Earlier runs


def kept(opened: MlflowStore, folder: Path, **changes: Any) -> RunResult:
    """A finished run with its record."""
    before = begun(opened, **changes)
    whole = run(1_000, seed=3, **({"run_id": before.run_id} | changes))
    (folder / "result.json").write_text(whole.model_dump_json(), encoding="utf-8")
    opened.finish(whole, "note", lambda: [folder / "result.json"], at_ms=END_MS)
    return whole


def test_finished_runs_come_back_as_they_were(opened: MlflowStore, folder: Path) -> None:
    whole = kept(opened, folder, verdict="clean", evaluations=EVALUATIONS)
    kept(opened, folder, status="failed", failure="no images")
    kept(opened, folder, dataset_digest="e" * 64)
    kept(opened, folder, scenario="it's another")
    recorded(opened)  # without a record
    assert opened.load_finished("table-1", "d" * 64) == [whole]
    assert [run.scenario for run in opened.load_finished("it's another", "d" * 64)] == [
        "it's another"
    ]
    assert opened.load_finished("no-such", "d" * 64) == []


def test_a_record_of_another_version_is_none(opened: MlflowStore, folder: Path) -> None:
    whole = begun(opened)
    (folder / "result.json").write_text('{"scenario": "table-1"}', encoding="utf-8")
    files = [folder / "result.json"]
    done = run(1_000, run_id=whole.run_id)
    opened.finish(done, "note", lambda: files, at_ms=END_MS)
    assert opened.load_finished("table-1", "d" * 64) == []


def test_a_store_to_read_is_never_made(
    folder: Path, uri: str, opened: MlflowStore, name: str
) -> None:
    assert existing_store("sqlite:///mlflow.db", name) is None
    assert list(folder.iterdir()) == []
    assert existing_store(uri, f"no {name}") is None
    there = existing_store(uri, name)
    assert there is not None
    assert there.experiment_id == opened.experiment_id


def test_a_fault_is_one_line_without_a_password() -> None:
    uri = "https://ada:secret@example.org/mlflow"
    fault = database.fault(OSError(f"no route to {uri}\nand much more"), uri, "opening the store")
    assert str(fault).startswith("MLflow at https://example.org/mlflow failed while opening")
    assert "no route to https://example.org/mlflow" in fault.message
    assert "secret" not in str(fault)
    assert "ada" not in str(fault)
    assert "much more" not in str(fault)
    assert fault.exit_status == EXIT_BROKE
    assert "ConnectionError" in database.fault(ConnectionError(), uri, "ending a run").message


def test_a_server_that_is_gone_is_told_in_few_words() -> None:
    words = (
        "API request to http://127.0.0.1:5/api failed with exception "
        "HTTPConnectionPool(host='127.0.0.1', port=5): Max retries exceeded with url: /api"
    )
    told = database.fault(ValueError(words), "http://127.0.0.1:5", "recording figures")
    assert told.message == (
        "MLflow at http://127.0.0.1:5 failed while recording figures: it does not answer"
    )


# Experiments


def test_a_second_store_finds_the_experiment(uri: str, opened: MlflowStore, name: str) -> None:
    assert MlflowStore(uri, name).experiment_id == opened.experiment_id


def test_an_experiment_that_another_process_makes_first(
    client: MlflowClient, opened: MlflowStore, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [None]  # at the first look it was not there yet

    def get_experiment_by_name(asked: str) -> Any:
        return answers.pop() if answers else client.get_experiment_by_name(asked)

    monkeypatch.setattr(opened.client, "get_experiment_by_name", get_experiment_by_name)
    assert (
        mlflow_setup.experiment_id(opened.client, opened._uri, name, make=True)
        == opened.experiment_id
    )


def test_a_deleted_experiment_is_refused(
    client: MlflowClient, uri: str, opened: MlflowStore, name: str
) -> None:
    client.delete_experiment(opened.experiment_id)
    with pytest.raises(BenchError, match="was deleted") as no:
        MlflowStore(uri, name)
    assert f"mlflow experiments restore -x {opened.experiment_id}" in no.value.hint
    assert no.value.exit_status == EXIT_WRONG_REQUEST


def test_an_experiment_behind_a_server_is_refused(client: MlflowClient, uri: str) -> None:
    behind = f"behind {uuid.uuid4().hex}"
    client.create_experiment(behind, artifact_location="mlflow-artifacts:/7")
    with pytest.raises(BenchError, match="behind an MLflow server") as no:
        MlflowStore(uri, behind)
    assert "--experiment" in no.value.hint
    assert no.value.exit_status == EXIT_WRONG_REQUEST


# Databases


@pytest.mark.parametrize("revision", ["cfd24bdc0731", "fffffffffffe"])
def test_a_database_of_another_mlflow_is_refused(
    uri: str, opened: MlflowStore, tmp_path: Path, revision: str
) -> None:
    """An older one, or one of a newer MLflow; all the tables are there."""
    copy = tmp_path / "other.db"
    with (
        closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as source,
        closing(sqlite3.connect(copy)) as target,
    ):
        source.backup(target)
        target.execute("UPDATE alembic_version SET version_num = ?", (revision,))
        target.commit()
    assert_refused(copy)


def test_a_database_that_mlflow_would_migrate_without_a_word_is_refused(
    folder: Path, tmp_path: Path
) -> None:
    old = tmp_path / "old.db"
    with closing(sqlite3.connect(old)) as database:
        database.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        database.execute("CREATE TABLE experiments (experiment_id INTEGER NOT NULL)")
        database.execute("INSERT INTO alembic_version VALUES ('451aebb31d03')")
        database.commit()
    assert_refused(old)


def assert_refused(database: Path) -> None:
    before = database.read_bytes()
    with pytest.raises(BenchError, match="another version of MLflow") as no:
        MlflowStore(sqlite_uri(database), "mnist-bench")
    assert f"`mlflow db upgrade {sqlite_uri(database)}`" in no.value.hint
    assert no.value.exit_status == EXIT_WRONG_REQUEST
    assert database.read_bytes() == before


def test_a_database_that_can_not_be_made_whole_is_not_left(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = tmp_path / "new.db"

    def break_off(*_: object, make: bool) -> str:
        assert database.exists()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(mlflow_setup, "experiment_id", break_off)
    with pytest.raises(BenchError, match="No space left on device") as no:
        MlflowStore(sqlite_uri(database), "mnist-bench")
    assert "whether there is room on its disk" in no.value.hint
    assert not database.exists()


def test_a_database_with_runs_outlives_a_fault(
    uri: str, opened: MlflowStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_off(*_: object, make: bool) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(mlflow_setup, "experiment_id", break_off)
    with pytest.raises(BenchError, match="No space left on device"):
        MlflowStore(uri, "mnist-bench")
    assert Path(uri.removeprefix("sqlite:///")).exists()


def test_the_databases_own_words_are_told(uri: str) -> None:
    words = "database or disk is full"
    wrapped = f"(raised as a result of autoflush)\n(sqlite3.OperationalError) {words}\n[SQL: x]"
    told = str(database.fault(ValueError(wrapped), uri, "recording figures"))
    assert f"failed while recording figures: {words}; " in told


def test_three_processes_make_a_database_at_once(folder: Path) -> None:
    code = """
import sys
from mnist_bench.tracking import mlflow_errors as database
from mnist_bench.tracking import mlflow_setup
from mnist_bench.core import process_identity
from mnist_bench.tracking import mlflow_store as store
door.import_mlflow()
print("ready", flush=True)
sys.stdin.readline()
print(store.Store(sys.argv[1], "shared").experiment_id)
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
        for process in processes:  # all wait for their line: they begin at once
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
def test_mlflow_is_quiet_unless_the_user_wants_it_otherwise(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.delenv(variable, raising=False)
    mlflow_setup.import_mlflow()
    assert os.environ[variable] == value
    monkeypatch.setenv(variable, "of the user's own")
    mlflow_setup.import_mlflow()
    assert os.environ[variable] == "of the user's own"


# The note


def test_note_of_a_finished_run() -> None:
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


def test_note_of_a_run_that_goes_on() -> None:
    note = run_description(run(status=None, evaluations=()), "A title")
    assert note.endswith("threads: 2. Status: running.")


def test_note_of_a_run_that_failed() -> None:
    note = run_description(run(status="failed", failure="no images", evaluations=()), "A title")
    assert "Status: failed." in note
    assert note.endswith("Why it did not finish: no images")


def test_note_of_other_images() -> None:
    for dataset in ("mnist-5k", "custom:0a0a0a0a0a0a"):
        assert "not comparable with the paper's Table I" in run_description(
            run(dataset=dataset), "A title"
        )
    assert "not comparable" not in run_description(run(), "A title")


# Files that belong to no training


def test_files_are_kept_under_one_run_and_replaced(opened: MlflowStore) -> None:
    tags = {"bench.report": "true"}
    first = opened.keep("report", "First", tags, {"a.txt": b"old", "b.txt": b"b"})
    again = opened.keep("report", "Second", tags, {"a.txt": b"new"})
    assert first == again
    assert opened.artifact(first, "a.txt") == b"new"
    assert opened.artifact(first, "b.txt") == b"b"
    assert opened.keeps(first, "b.txt")
    assert not opened.keeps(first, "c.txt")
    kept = opened.client.get_run(first)
    assert kept.info.status == "FINISHED"
    assert kept.data.tags["mlflow.note.content"] == "Second"
    assert list(opened.recorded("")) == [], "it is no run of the suite's"


def test_other_tags_are_another_run(opened: MlflowStore) -> None:
    runs = {opened.keep("figures", "", {"bench.image": image}, {}) for image in ("1", "2")}
    assert len(runs) == 2


def test_a_file_on_the_disk_is_kept_as_it_is(opened: MlflowStore, tmp_path: Path) -> None:
    (tmp_path / "here.csv").write_bytes(b"a\r\nb")
    run_id = opened.keep("report", "", {"bench.report": "true"}, {"a.csv": tmp_path / "here.csv"})
    assert opened.artifact(run_id, "a.csv") == b"a\r\nb"


def test_a_page_of_runs_is_let_go_before_the_next_is_asked_for(
    opened: MlflowStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow's own runs are large: of thousands only a page is in memory."""
    from mlflow.store.entities import PagedList

    found = opened.search("")
    pages: list[weakref.ref[PagedList[Run]]] = []

    def search_runs(*_: object, page_token: str | None, **__: object) -> PagedList[Run]:
        assert all(page() is None for page in pages)
        page = PagedList(found, "next" if len(pages) < 2 else None)
        pages.append(weakref.ref(page))
        return page

    monkeypatch.setattr(opened.client, "search_runs", search_runs)
    assert list(opened.recorded("")) == []
    assert len(pages) == 3


def test_a_filter_that_makes_no_sense_is_told_from_a_store_that_fails(opened: MlflowStore) -> None:
    with pytest.raises(BenchError, match="does not understand the filter 'no sense'") as wrong:
        list(opened.recorded("no sense"))
    assert wrong.value.exit_status == EXIT_WRONG_REQUEST
