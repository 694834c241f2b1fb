"""Writing to and reading from MLflow, with a real database in a temporary folder."""

from __future__ import annotations

import errno
import json
import os
import platform
import socket
import sqlite3
import sys
import uuid
import weakref
from collections.abc import Sequence
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import pytest
from factories import evaluations, machine, run, sqlite_url
from program import RUN_ARTIFACTS, prepared_tables

from mnist_bench.core import locks
from mnist_bench.core.errors import EXIT_FAILURE, EXIT_USAGE, BenchError
from mnist_bench.measurement.machine import tensorflow_distribution
from mnist_bench.results.run import RunResult, Status, Trial
from mnist_bench.results.run_summary import RecordedRun
from mnist_bench.scenarios import paper
from mnist_bench.tracking import artifacts, mlflow_store
from mnist_bench.tracking.mlflow_store import MlflowStore, Started
from mnist_bench.tracking.run_notes import run_description
from mnist_bench.tracking.schema import Point

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.store.entities import PagedList

EVALUATIONS = evaluations(1_000, 0.985, final=0.98, selected=0.97)
"""Test maximum after 801 updates, validation maximum after the first; last step off the grid."""
BEFORE_THE_FIRST_STEP: dict[str, Any] = {
    "status": None,
    "run_id": None,
    "evaluations": (),
    "seconds": {},
    "peak_rss_bytes": None,
    "memory_method": None,
}
ENDED: dict[str, Any] = {
    "evaluations": EVALUATIONS,
    "seconds": {"import": 4.0, "data": 0.5, "train": 20.0, "evaluate": 3.25},
    "phase_peak_rss_bytes": {"import": 600},
    "verdict": "suspect",
    "reasons": ("on battery", "other load"),
}
NOON_MS = 1_800_000_000_000
END_MS = NOON_MS + 2_000_000
OWNER = "4711-1800000000-0123abcd"
AT_STEPS = {
    *("rss_bytes", "test_accuracy", "validation_accuracy", "train_loss", "train_seconds"),
    "system/worker_rss_bytes",
}


@pytest.fixture
def name() -> str:
    """Unique name of an experiment."""
    return f"experiment {uuid.uuid4().hex}"


@pytest.fixture
def store(mlflow_uri: str, folder: Path, name: str) -> MlflowStore:
    return MlflowStore(mlflow_uri, name)


def points_of(result: RunResult) -> list[Point]:
    """Points at one second per step, with resident memory."""
    return [
        Point(each.step, NOON_MS + 1_000 * each.step, evaluation=each, rss_bytes=9_000 + each.step)
        for each in result.evaluations
    ]


def start(store: MlflowStore, result: RunResult, *, may_exist: bool = False) -> Started:
    note = "It has begun. Status: running."
    return store.start(result, note, OWNER, machine(), at_ms=NOON_MS, may_exist=may_exist)


def started(store: MlflowStore, **changes: Any) -> RunResult:
    """A run before its first step, created in the store."""
    before = run(1_000, seed=3, **(BEFORE_THE_FIRST_STEP | changes))
    return before.model_copy(update={"run_id": start(store, before).run_id})


def recorded_run(
    store: MlflowStore, files: Sequence[Path] = (), *, with_record: bool = False, **changes: Any
) -> RunResult:
    """A run that is recorded completely, with the artifact `result.json` if that is wanted."""
    whole = run(1_000, seed=3, **(ENDED | changes))
    before = whole.model_copy(update=BEFORE_THE_FIRST_STEP)
    whole = whole.model_copy(update={"run_id": start(store, before).run_id})
    if with_record:
        files = [Path("result.json")]
        files[0].write_text(whole.model_dump_json(), encoding="utf-8")
    store.log(whole.run_id, points_of(whole))
    store.finish(whole, run_description(whole, "A title"), lambda: files, at_ms=END_MS)
    return whole


def found(store: MlflowStore, recorded: RunResult) -> Run:
    assert recorded.run_id is not None
    return store.client.get_run(recorded.run_id)


def history(store: MlflowStore, recorded: RunResult, name: str) -> list[tuple[int, float]]:
    metrics = store.client.get_metric_history(recorded.run_id, name)
    return sorted((metric.step, metric.value) for metric in metrics)


# What is recorded


def test_started_run(store: MlflowStore) -> None:
    run = found(store, started(store, machine_id=None))
    assert (run.info.status, run.info.experiment_id) == ("RUNNING", store.experiment_id)
    assert run.data.tags["mlflow.note.content"] == "It has begun. Status: running."
    assert run.data.tags["bench.complete"] == "false"
    assert "bench.machine_id" not in run.data.tags
    # A golden file in tests/contract holds all params.
    assert (run.data.params["steps"], run.data.params["learning_rate"]) == ("1000", "0.001")
    assert run.data.metrics == {}


def test_datasets_of_a_run(store: MlflowStore) -> None:
    by_trial = Trial(study="mine", number=0, parent_run_id=store.start_study("mine", "", OWNER))
    for trial, splits in ((None, ["training", "validation", "test"]),
                          (by_trial, ["training", "validation"])):  # fmt: skip
        recorded = started(store, trial=trial, trajectory=f"of {splits}")
        inputs = found(store, recorded).inputs.dataset_inputs
        assert sorted(
            (each.dataset.name, each.dataset.digest, {tag.key: tag.value for tag in each.tags})
            for each in inputs
        ) == sorted(
            (f"mnist {split}", "d" * 32, {"mlflow.data.context": split}) for split in splits
        )


def test_tags_of_the_user(store: MlflowStore) -> None:
    tags = {"name": "try 3", "host": "laptop", "bench.schema": "99"}
    before = run(1_000, seed=3, **BEFORE_THE_FIRST_STEP)
    run_id = store.start(before, "", OWNER, machine(), at_ms=NOON_MS, tags=tags).run_id
    data = store.client.get_run(run_id).data
    assert (data.tags["mlflow.runName"], data.tags["bench.schema"]) == (
        "try 3: table-1 1000 steps seed 3", "1",
    )  # fmt: skip
    (recorded,) = store.recorded_runs("tags.host = 'laptop'")
    assert isinstance(recorded, RecordedRun)
    assert recorded.tags == (("host", "laptop"), ("name", "try 3"))


def test_the_experiment_is_described(store: MlflowStore) -> None:
    description = store.client.get_experiment(store.experiment_id).tags["mlflow.note.content"]
    assert "params.scenario LIKE '%'" in description
    recorded = recorded_run(store)
    store.save_files("report", "", {"bench.report": "true"}, {"report.md": b"text"})
    trainings = store.search("params.scenario LIKE '%'")
    assert [each.info.run_id for each in trainings] == [recorded.run_id]


def test_metrics_and_tags_of_a_whole_run(store: MlflowStore) -> None:
    result = recorded_run(store)
    data = found(store, result).data
    once = {name: value for name, value in data.metrics.items() if name not in AT_STEPS}
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
            "phase_train_seconds": 20,
            "phase_evaluate_seconds": 3.25,
            "phase_import_peak_rss_bytes": 600,
            "phase/import_seconds": 4,
            "phase/data_seconds": 0.5,
            "phase/train_seconds": 20,
            "phase/evaluate_seconds": 3.25,
            "phase/import_peak_rss_bytes": 600,
            "time_to_test_accuracy_0_984_seconds": 16.02,
            "time_to_validation_accuracy_0_984_seconds": 0.02,
            "time_to_validation_accuracy_0_9888_seconds": 0.02,
        }
    )
    assert {name: tag for name, tag in data.tags.items() if name.startswith("bench.")} == {
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
    assert data.tags["mlflow.source.name"] == "mnist-bench"
    assert data.tags["mlflow.source.type"] == "LOCAL"
    assert data.tags["mlflow.runName"] == "table-1 1000 steps seed 3"
    assert data.tags["mlflow.note.content"] == run_description(result, "A title")
    assert data.tags["mlflow.user"]


def test_metrics_by_step(store: MlflowStore) -> None:
    result = recorded_run(store)
    steps = [1, 101, 201, 301, 401, 501, 601, 701, 801, 901, 1_000]
    values = {
        "test_accuracy": [0.97, *[0.975] * 7, 0.985, 0.975, 0.98],
        "validation_accuracy": [0.99, *[0.9] * 10],
        "train_loss": [0.125] * 11,
        "train_seconds": [step * 0.02 for step in steps],
        "rss_bytes": [9_000 + step for step in steps],
    }
    for name, expected in values.items():
        assert history(store, result, name) == list(zip(steps, expected, strict=True)), name
    metrics = store.client.get_metric_history(result.run_id, "test_accuracy")
    # The time of its message, not of its upload.
    assert {metric.step: metric.timestamp - NOON_MS for metric in metrics} == {
        step: 1_000 * step for step in steps
    }


def test_saved_model(store: MlflowStore) -> None:
    """Its code, its data and the versions that it needs; test_serving.py has one that answers."""
    weights = Path("weights.npz")
    weights.write_bytes(b"weights")
    result = recorded_run(store, [weights])
    model_id = store.save_model(result)
    assert store.save_model(result) == model_id, "one model a run"
    (output,) = found(store, result).outputs.model_outputs
    assert (output.model_id, output.step) == (model_id, 1_000)
    saved = store.client.get_logged_model(model_id)
    assert (saved.source_run_id, str(saved.status)) == (result.run_id, "READY")
    folder = Path(unquote(urlsplit(saved.artifact_location).path))
    assert (folder / "data" / "network" / "weights.npz").read_bytes() == b"weights"
    described = json.loads((folder / "data" / "network" / "network.json").read_text())
    assert (described["model"], described["precision"]) == ("paper-cnn", "float32")
    assert described["hyperparameters"] == result.hyperparameters.model_dump()
    assert (folder / "code" / "mnist_bench" / "models" / "serving.py").exists()
    requirements = (folder / "requirements.txt").read_text().split()
    assert requirements == [
        "{}=={}".format(*tensorflow_distribution()),
        *(f"{name}=={version(name)}" for name in ("mlflow", "numpy", "pydantic")),
    ]
    text = (folder / "MLmodel").read_text()
    for words in ("loader_module: mnist_bench.models.serving", '"dtype": "uint8"'):
        assert words in text


def test_run_without_weights_has_no_model(store: MlflowStore) -> None:
    assert store.save_model(recorded_run(store)) is None


def test_registered_model_gets_the_next_version(store: MlflowStore, name: str) -> None:
    Path("weights.npz").write_bytes(b"weights")
    result = recorded_run(store, [Path("weights.npz")])
    model_id = store.save_model(result)
    assert model_id is not None
    registered = name.replace(" ", "-")
    versions = [store.register(model_id, registered, result.run_id, {"a": "b"}) for _ in range(2)]
    assert versions == ["1", "2"]
    newest = store.client.get_model_version(registered, "2")
    assert (newest.run_id, newest.tags, newest.status) == (result.run_id, {"a": "b"}, "READY")


def test_more_metrics_than_one_batch(store: MlflowStore) -> None:
    many = evaluations(30_000, 0.985)
    assert 4 * len(many) > 1_000
    result = recorded_run(store, evaluations=many)
    for name in AT_STEPS:
        steps = [step for step, _ in history(store, result, name)]
        assert steps == [*range(1, 30_001, 100), 30_000]


def test_unknown_values_are_absent(store: MlflowStore) -> None:
    nothing = recorded_run(
        store, **(BEFORE_THE_FIRST_STEP | {"status": "finished"}), phase_peak_rss_bytes={}
    )
    assert found(store, nothing).data.metrics == {}
    assert "bench.memory_method" not in found(store, nothing).data.tags
    no_loss = EVALUATIONS[0].model_copy(update={"train_loss": None})
    result = recorded_run(store, evaluations=(no_loss, *EVALUATIONS[1:]))
    assert history(store, result, "train_loss")[0][0] == 101
    assert history(store, result, "test_accuracy")[0][0] == 1


@pytest.mark.parametrize(
    ("status", "shown"), [("finished", "FINISHED"), ("failed", "FAILED"), ("killed", "KILLED")]
)
def test_status_of_an_ended_run(store: MlflowStore, status: Status, shown: str) -> None:
    failure = None if status == "finished" else "the training process was ended by SIGKILL"
    ended = found(store, recorded_run(store, status=status, failure=failure))
    assert (ended.info.status, ended.info.end_time) == (shown, END_MS)
    assert ended.data.tags.get("bench.failure") == failure
    assert (failure or "finished") in ended.data.tags["mlflow.note.content"]


def test_no_home_folder_or_host_name_is_recorded(
    store: MlflowStore, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # MLflow would record the path of the program.
    monkeypatch.setattr(sys, "argv", [str(home / "bin" / "mnist-bench"), "run"])
    for module, function in ((socket, "gethostname"), (platform, "node")):
        monkeypatch.setattr(module, function, lambda: "computer-of-nobody")
    data = found(store, recorded_run(store)).data
    tags = {name: tag for name, tag in data.tags.items() if name != "mlflow.user"}
    for text in (*data.params.values(), *tags.values()):
        assert "home-of-nobody" not in text
        assert "computer-of-nobody" not in text


# Files


def test_artifacts(store: MlflowStore, folder: Path, name: str) -> None:
    files = [folder / file for file in RUN_ARTIFACTS]
    for file in files:
        file.write_bytes(file.name.encode())
    result = recorded_run(store, files)
    assert {each.path for each in store.client.list_artifacts(result.run_id)} == RUN_ARTIFACTS
    # An absolute location, which does not depend on where MLflow's page is started.
    location = folder.resolve() / "mlruns" / name.replace(" ", "-")
    assert store.client.get_experiment(store.experiment_id).artifact_location == location.as_uri()
    for file in RUN_ARTIFACTS:
        assert (location / result.run_id / "artifacts" / file).read_bytes() == file.encode()


@pytest.mark.parametrize(
    ("experiment", "folder_name"),
    [
        ("mnist-bench", "mnist-bench"),
        ("MNIST, again: 100%", "MNIST-again-100"),
        ("../../etc", "etc"),
        ("/etc/passwd", "etc-passwd"),
        ("..", "experiment"),
        ("", "experiment"),
        # Names of files that are there, of devices of Windows, and what is too long for a folder.
        ("optuna.log", "optuna.log-"),
        ("con", "con-"),
        ("aux.x", "aux.x-"),
        ("ü" * 250, f"{'ü' * 25}-"),
        ("console", "console"),
    ],
)
def test_artifact_folder_of_an_experiment(folder: Path, experiment: str, folder_name: str) -> None:
    found = artifacts.artifact_folder(experiment)
    assert found.parent == folder.resolve() / "mlruns"
    assert found.name == folder_name or found.name[:-8] == folder_name.partition("-")[0] + "-"


def test_files_of_runs_that_are_no_trainings(store: MlflowStore, folder: Path) -> None:
    tags = {"bench.report": "true"}
    (folder / "here.csv").write_bytes(b"a\r\nb")
    files = {"a.txt": b"old", "b.txt": b"b", "c.csv": folder / "here.csv"}
    first = store.save_files("report", "First", tags, files)
    assert store.save_files("report", "Second", tags, {"a.txt": b"new"}) == first
    contents = [store.artifact(first, each) for each in ("a.txt", "b.txt", "c.csv", "d.txt")]
    assert contents == [b"new", b"b", b"a\r\nb", None]
    assert store.has_artifact(first, "b.txt")
    assert not store.has_artifact(first, "d.txt")
    saved = store.client.get_run(first)
    assert saved.info.status == "FINISHED"
    assert saved.data.tags["mlflow.note.content"] == "Second"
    assert list(store.recorded_runs("")) == []
    others = {store.save_files("figures", "", {"bench.image": image}, {}) for image in ("1", "2")}
    assert len(others - {first}) == 2


# A failing store, and what exists already


def no_space(*_: object, **__: object) -> Any:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_run_is_ended_even_if_its_files_can_not_be_saved(store: MlflowStore) -> None:
    whole = run(1_000, seed=3, run_id=started(store).run_id)
    with pytest.raises(BenchError, match="No space left on device") as caught:
        store.finish(whole, "note", no_space, at_ms=END_MS)
    assert caught.value.exit_status == EXIT_FAILURE
    assert found(store, whole).info.status == "FINISHED"


def test_run_that_may_exist_is_looked_for(
    store: MlflowStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = run(1_000, seed=3, run_id=None, trajectory=uuid.uuid4().hex)
    with monkeypatch.context() as patch:
        patch.setattr(store.client, "log_batch", no_space)  # after the run was created
        with pytest.raises(BenchError, match="No space left on device"):
            start(store, before)
    started = start(store, before, may_exist=True)
    (created,) = store.search("")
    assert (created.info.run_id, created.data.params["seed"]) == (started.run_id, "3")
    assert not started.is_complete
    # Another step count of the same training is another run.
    assert start(store, run(2_500, trajectory=before.trajectory), may_exist=True) != started


def test_complete_and_deleted_runs_are_settled(store: MlflowStore) -> None:
    whole = recorded_run(store)
    assert start(store, whole, may_exist=True) == Started(whole.run_id, is_complete=True)
    store.client.delete_run(whole.run_id)
    deleted = started(store)
    store.client.delete_run(deleted.run_id)
    assert start(store, deleted, may_exist=True).is_complete
    assert store.search("") == []


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
    store.finish_study(study, "finished", "")
    assert not leaves_lock_files()
    started(store)
    assert leaves_lock_files()
    assert not leaves_lock_files()
    store.reopen_study(study, OWNER, {})
    assert leaves_lock_files()


def test_repeated_upload_adds_nothing(store: MlflowStore) -> None:
    whole = recorded_run(store)
    before = {name: history(store, whole, name) for name in found(store, whole).data.metrics}
    store.log(whole.run_id, points_of(whole))
    store.finish(whole, "note", list, at_ms=END_MS)
    again = found(store, whole)
    assert {name: history(store, whole, name) for name in again.data.metrics} == before
    for name, values in before.items():
        assert len({step for step, _ in values}) == len(values), name
    assert (again.info.start_time, again.info.end_time) == (NOON_MS, END_MS)


def test_unfinished_runs_and_their_owners(store: MlflowStore) -> None:
    recorded_run(store)
    running = started(store, trajectory="t")
    store.client.create_run(store.experiment_id, run_name="of another program")
    unfinished = {run.run_id: (run.trajectory, run.owner) for run in store.unfinished()}
    assert unfinished.pop(running.run_id) == ("t", OWNER)
    assert list(unfinished.values()) == [("", None)]
    store.mark_killed(running.run_id, "its process vanished")
    killed = found(store, running)
    assert killed.info.status == "KILLED"
    assert killed.data.tags["bench.failure"] == "its process vanished"
    assert killed.data.tags["mlflow.note.content"] == (
        "It has begun. Status: killed.\n\nWhy it did not finish: its process vanished"
    )
    assert killed.data.tags["bench.complete"] == "false"


# Earlier runs


def test_load_finished_runs(store: MlflowStore, folder: Path) -> None:
    whole = recorded_run(store, with_record=True)
    recorded_run(store, with_record=True, status="failed", failure="no images")
    recorded_run(store, with_record=True, dataset_digest="e" * 64)
    other = recorded_run(store, with_record=True, scenario="it's another")
    Path("result.json").write_text('{"scenario": "table-1"}', encoding="utf-8")
    recorded_run(store, [Path("result.json")])  # of another version
    assert store.load_finished("table-1", "d" * 64) == [whole]
    assert store.load_finished("it's another", "d" * 64) == [other]
    assert store.load_finished("no-such", "d" * 64) == []


def test_a_run_whose_files_are_out_of_reach_is_read_from_its_metrics(
    store: MlflowStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise `--resume` would train the run again, and record it twice."""
    variables = "TF_ENABLE_ONEDNN_OPTS=0"
    whole = recorded_run(store, with_record=True, verdict="clean", environment=variables)
    bare = recorded_run(store, training_seed=17)
    monkeypatch.setattr(store, "artifact", lambda run_id, name: None)
    found = {run.run_id: run for run in store.load_finished("table-1", "d" * 64)}
    assert found == {
        run.run_id: run.model_copy(update={"target_accuracies": paper.TARGET_ACCURACIES})
        for run in (whole, bare)
    }


def test_deleted_and_purged_runs_are_gone(
    store: MlflowStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = recorded_run(store).run_id or ""
    assert not store.is_gone(run_id)
    assert store.is_gone("0" * 32)
    store.client.delete_run(run_id)
    assert store.is_gone(run_id)
    monkeypatch.setattr(store.client, "get_run", lambda _: 1 / 0)  # nobody knows
    assert not store.is_gone(run_id)


def test_imported_runs_are_not_the_users_own(store: MlflowStore) -> None:
    result = run(1_000)
    started = store.start(result, "", OWNER, machine(), at_ms=NOON_MS, is_imported=True)
    result = result.model_copy(update={"run_id": started.run_id})
    store.finish(result, "", list, at_ms=NOON_MS, points=points_of(result))
    assert store.load_finished("table-1", "d" * 64) == []


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


# Errors in one line


@pytest.mark.parametrize(
    ("error", "uri", "message"),
    [
        (
            OSError("no route to https://ada:secret@example.org/mlflow\nand much more"),
            "https://ada:secret@example.org/mlflow",
            (
                "MLflow at https://example.org/mlflow failed while ending a run: "
                "no route to https://example.org/mlflow"
            ),
        ),
        (
            ConnectionError(),
            "http://127.0.0.1:5",
            "MLflow at http://127.0.0.1:5 failed while ending a run: ConnectionError",
        ),
        (
            ValueError("API request failed with HTTPConnectionPool(host='127.0.0.1', port=5): Max"),
            "http://127.0.0.1:5",
            "MLflow at http://127.0.0.1:5 failed while ending a run: it does not respond",
        ),
        (
            ValueError("API request failed with error code 403 != 200"),
            "http://ada:secret@127.0.0.1:5",
            "the tracking server at http://127.0.0.1:5 denied access",
        ),
        (
            ValueError("(raised as a result)\n(sqlite3.OperationalError) disk is full\n[SQL: x]"),
            "sqlite:///mlflow.db",
            "MLflow at sqlite:///mlflow.db failed while ending a run: disk is full",
        ),
        (
            ValueError("Detected out-of-date database schema"),
            "sqlite:///mlflow.db",
            "sqlite:///mlflow.db was made by another version of MLflow",
        ),
    ],
)
def test_error_is_one_line_without_a_password(error: Exception, uri: str, message: str) -> None:
    assert mlflow_store.to_bench_error(error, uri, "ending a run").message == message


# Experiments


def test_experiment_that_another_process_creates_first(
    store: MlflowStore, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_name = store.client.get_experiment_by_name
    answers = [None]  # it does not exist at the first call
    monkeypatch.setattr(
        store.client,
        "get_experiment_by_name",
        lambda experiment: answers.pop() if answers else by_name(experiment),
    )
    found = mlflow_store.experiment_id(store.client, store._uri, name, create=True)
    assert found == store.experiment_id


def test_unusable_experiments_are_rejected(mlflow_uri: str, store: MlflowStore, name: str) -> None:
    store.client.delete_experiment(store.experiment_id)
    store.client.create_experiment(f"behind {name}", artifact_location="mlflow-artifacts:/7")
    for experiment, message, hint in (
        (name, "was deleted", f"mlflow experiments restore -x {store.experiment_id}"),
        (f"behind {name}", "behind an MLflow server", "--experiment"),
    ):
        with pytest.raises(BenchError, match=message) as caught:
            MlflowStore(mlflow_uri, experiment)
        assert hint in caught.value.hint
        assert caught.value.exit_status == EXIT_USAGE


# Databases


def test_store_for_reading_is_never_created(
    folder: Path, mlflow_uri: str, store: MlflowStore, name: str
) -> None:
    assert MlflowStore.open_existing("sqlite:///mlflow.db", name) is None
    assert list(folder.iterdir()) == []
    assert MlflowStore.open_existing(mlflow_uri, f"no {name}") is None
    reader = MlflowStore.open_existing(mlflow_uri, name)
    assert reader is not None
    assert (
        reader.experiment_id == store.experiment_id == MlflowStore(mlflow_uri, name).experiment_id
    )


@pytest.mark.parametrize("revision", ["cfd24bdc0731", "fffffffffffe", "451aebb31d03"])
def test_database_of_another_mlflow_is_rejected(folder: Path, revision: str) -> None:
    """Of an older or newer MLflow, or so old that MLflow would migrate it silently."""
    database = folder / "other.db"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        connection.execute("CREATE TABLE experiments (experiment_id INTEGER NOT NULL)")
        connection.execute("INSERT INTO alembic_version VALUES (?)", (revision,))
        connection.commit()
    before = database.read_bytes()
    with pytest.raises(BenchError, match="another version of MLflow") as caught:
        MlflowStore(sqlite_url(database), "mnist-bench")
    assert f"`mlflow db upgrade {sqlite_url(database)}`" in caught.value.hint
    assert caught.value.exit_status == EXIT_USAGE
    assert database.read_bytes() == before


@pytest.mark.parametrize("existed", [False, True])
def test_only_an_incomplete_database_is_removed(
    mlflow_uri: str, store: MlflowStore, monkeypatch: pytest.MonkeyPatch, *, existed: bool
) -> None:
    uri = mlflow_uri if existed else "sqlite:///new.db"
    database = Path(uri.removeprefix("sqlite:///"))

    def fail(*_: object, create: bool) -> str:
        assert database.exists()
        # Several processes that create a database at once would fail, all but one.
        with pytest.raises(TimeoutError), locks.lock_file(Path(f"{database}.lock"), 0):
            pass
        return no_space()

    monkeypatch.setattr(mlflow_store, "experiment_id", fail)
    with prepared_tables(), pytest.raises(BenchError, match="No space left") as caught:
        MlflowStore(uri, "mnist-bench")
    assert "its disk is not full" in caught.value.hint
    assert database.exists() is existed


# MLflow itself


def test_mlflow_defaults_respect_the_users_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow import environment_variables

    defaults = mlflow_store.MLFLOW_DEFAULTS
    for own in (dict.fromkeys(defaults, "set by the user"), {}):
        for variable in defaults:
            monkeypatch.delenv(variable, raising=False)
        for variable, value in own.items():
            monkeypatch.setenv(variable, value)
        mlflow_store.import_mlflow()
        assert {variable: os.environ[variable] for variable in defaults} == defaults | own
    # As MLflow reads them: it would ignore a name or a value that it does not know.
    read = {variable: getattr(environment_variables, variable).get() for variable in defaults}
    assert list(read.values()) == [True, "CRITICAL", True, False, 0, 20]
