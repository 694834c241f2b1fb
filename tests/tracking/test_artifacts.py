"""Artifacts that can't be delivered, and folders that were moved."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import factories
import pytest
from factories import machine, sqlite_url

from mnist_bench.core.errors import EXIT_USAGE, BenchError
from mnist_bench.tracking import artifacts
from mnist_bench.tracking.artifacts import check_location, follow_folder, local_folder
from mnist_bench.tracking.mlflow_store import MlflowStore

SERVER, DATABASE = "http://user:hunter2@host:5000", "sqlite:///mlflow.db"
EXPERIMENT = "mnist-bench"


def nothing() -> None:
    """A place that answers."""


def fail(error: Exception) -> Callable[[], object]:
    def list_artifacts() -> None:
        raise error

    return list_artifacts


def message(
    location: str, uri: str = SERVER, list_artifacts: Callable[[], object] = nothing
) -> str:
    with pytest.raises(BenchError) as caught:
        check_location(location, uri, EXPERIMENT, list_artifacts)
    assert caught.value.exit_status == EXIT_USAGE
    assert "hunter2" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("location", "package"),
    [
        ("s3://bucket/x", "boto3"),
        ("r2://bucket@account.r2.cloudflarestorage.com/x", "boto3"),
        ("gs://bucket/x", "google-cloud-storage"),
        ("wasbs://container@account.blob.core.windows.net/x", "azure-storage-blob"),
        ("abfss://container@account.dfs.core.windows.net/x", "azure-storage-file-datalake"),
        ("sftp://user:hunter2@host/x", "pysftp"),
    ],
)
def test_a_scheme_whose_library_is_missing(
    location: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifacts, "_is_installed", lambda _module: False)
    found = message(location)
    assert f"which needs the package {package}; pip install {package}, or choose" in found
    monkeypatch.setattr(artifacts, "_is_installed", lambda _module: True)
    check_location(location, SERVER, EXPERIMENT, nothing)


@pytest.mark.parametrize(
    ("location", "error", "words"),
    [
        (
            "s3://bucket/x",
            RuntimeError("Unable to locate credentials\nmore"),
            "locate credentials;",
        ),
        ("ftp://user:hunter2@host/x", OSError(111, "Connection refused"), "Connection refused"),
        ("ftp://user:hunter2@host/x", OSError("530 login user hunter2"), "530 login … …"),
        ("hdfs://host/x", ImportError("libhdfs.so"), "libhdfs.so"),
        ("dbfs:/x", ValueError(), "ValueError"),
        ("mlflow-artifacts:/3", Exception("API request failed with error code 500"), "500"),
        (
            "nosuch://x",
            Exception("Could not find a registered artifact repository for: x"),
            "Could",
        ),
    ],
)
def test_a_place_that_cannot_be_reached(
    location: str, error: Exception, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifacts, "_is_installed", lambda _module: True)
    found = message(location, list_artifacts=fail(error))
    assert f"which can't be reached: {words}".split(": ")[0] in found
    assert words in found


def test_a_place_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifacts, "_PROBE_SECONDS", 0)
    asked = message("ftp://host/x", list_artifacts=lambda: time.sleep(0.2))
    assert "can't be reached: it does not answer; " in asked


def test_a_new_folder_is_not_made(tmp_path: Path) -> None:
    check_location((tmp_path / "new" / "3").as_uri(), DATABASE, EXPERIMENT, nothing)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("location", ["{}/none/3", "file://{}/none/3"])
def test_a_folder_of_another_machine(tmp_path: Path, location: str) -> None:
    found = message(location.format(tmp_path))
    assert f"in {tmp_path}/none/3, which is not on this machine; start it with " in found
    (tmp_path / "none").mkdir()
    check_location(location.format(tmp_path), SERVER, EXPERIMENT, nothing)


def test_a_folder_that_cannot_be_one(tmp_path: Path) -> None:
    (tmp_path / "a-file").touch()
    found = message((tmp_path / "a-file" / "3").as_uri(), DATABASE)
    assert found.startswith(f"can't write to {tmp_path}/a-file/3: ")
    assert found.endswith("artifacts of experiment mnist-bench: choose another --experiment")


def test_a_store_is_refused_before_anything_is_recorded(
    folder: Path, mlflow_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifacts, "_is_installed", lambda _module: False)
    writer = MlflowStore(mlflow_uri, "another experiment")
    writer.client.create_experiment("far away", artifact_location="gs://bucket/x")
    with pytest.raises(BenchError, match="google-cloud-storage"):
        MlflowStore(mlflow_uri, "far away")
    assert MlflowStore.open_existing(mlflow_uri, "far away") is not None  # its metrics can be read


@pytest.mark.parametrize(
    ("location", "path"),
    [
        ("/srv/x", "/srv/x"),
        ("./x", "x"),
        ("file:///srv/a%20b", "/srv/a b"),
        ("C:\\mlruns", "C:\\mlruns"),
        ("s3://bucket/x", None),
        ("mlflow-artifacts:/1", None),
    ],
)
def test_local_folder(location: str, path: str | None) -> None:
    assert local_folder(location) == (None if path is None else Path(path))


# Moved and copied folders


@pytest.fixture
def project(tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a finished run."""
    folder = tmp_path / "old place"
    folder.mkdir()
    monkeypatch.chdir(folder)
    shutil.copy(empty_database, folder / "mlflow.db")
    record(0)
    return folder


def here() -> str:
    """Absolute, since MLflow keeps a database open by its address."""
    return sqlite_url(Path.cwd() / "mlflow.db")


def record(seed: int) -> None:
    store = MlflowStore(here(), EXPERIMENT)
    result = factories.run(seed=seed, trajectory=f"t{seed}")
    started = store.start(result, "", "owner", machine(), at_ms=1)
    result = result.model_copy(update={"run_id": started.run_id})
    Path("result.json").write_text(result.model_dump_json(), encoding="utf-8")
    store.finish(result, "", lambda: [Path("result.json")], at_ms=2)


def follow(*, is_dead: bool = True) -> list[str]:
    lines: list[str] = []
    follow_folder(here(), EXPERIMENT, lines.append, lambda _owner: is_dead)
    return lines


@pytest.mark.parametrize("is_copied", [False, True], ids=["moved", "copied"])
def test_artifacts_follow_their_folder(
    project: Path, monkeypatch: pytest.MonkeyPatch, *, is_copied: bool
) -> None:
    assert follow() == []  # nothing was moved
    new = project.with_name("new place")
    (shutil.copytree if is_copied else shutil.move)(project, new)
    monkeypatch.chdir(new)
    (line,) = follow()
    assert line.startswith(f"{project}/mlruns/mnist-bench is now {new}/mlruns/mnist-bench: ")
    assert follow() == []
    record(1)
    store = MlflowStore(here(), EXPERIMENT)
    assert len(store.load_finished("table-1", "d" * 64)) == 2
    for run in store.search(""):
        assert local_folder(run.info.artifact_uri) == (
            new / "mlruns" / "mnist-bench" / run.info.run_id / "artifacts"
        )
        assert store.artifact(run.info.run_id, "result.json")
    assert project.exists() == is_copied
    old = list((project / "mlruns" / "mnist-bench").glob("*/artifacts/*")) if is_copied else []
    assert len(old) == is_copied


def test_what_another_folder_uses_stays_there(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = project.with_name("other")
    (other / "mlruns" / "mnist-bench" / "some-run").mkdir(parents=True)
    monkeypatch.chdir(other)
    shared = sqlite_url(project / "mlflow.db")
    lines: list[str] = []
    follow_folder(shared, EXPERIMENT, lines.append, lambda _owner: True)  # not this folder's
    shutil.copy(project / "mlflow.db", other)
    assert follow() == lines == []  # has none of its runs


def test_a_live_run_keeps_its_place(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(sqlite3.connect("mlflow.db")) as connection, connection:
        connection.execute("UPDATE runs SET status = 'RUNNING'")
    new = project.with_name("new place")
    shutil.copytree(project, new)
    monkeypatch.chdir(new)
    assert follow(is_dead=False) == []
    assert len(follow()) == 1
