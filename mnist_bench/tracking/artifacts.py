"""Where the artifacts of an experiment are kept: whether that can be reached, and moved folders."""

from __future__ import annotations

import hashlib
import re
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from mnist_bench.core import files
from mnist_bench.core.errors import BenchError
from mnist_bench.tracking.database import OWNER_TAG, sqlite_file
from mnist_bench.tracking.uri import is_server, redact, without_credentials

_LIBRARIES = {
    **dict.fromkeys(("s3", "r2", "b2"), ("boto3", "boto3")),
    "gs": ("google.cloud.storage", "google-cloud-storage"),
    "wasbs": ("azure.storage.blob", "azure-storage-blob"),
    "abfss": ("azure.storage.filedatalake", "azure-storage-file-datalake"),
    "sftp": ("pysftp", "pysftp"),
    **dict.fromkeys(("hdfs", "viewfs"), ("pyarrow", "pyarrow")),
}
"""The module that MLflow needs for a scheme, and the package that has it."""
_PROBE_SECONDS = 20
_MAX_FOLDER = 100
_NOT_A_FOLDER = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\.|$)|(optuna|ui)\.log|.*\.flock")
"""Names that Windows keeps for devices, and files of ours in `mlruns`."""
_COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
"""Where MLflow keeps absolute addresses of artifacts."""


def artifact_folder(experiment: str) -> Path:
    """Absolute artifact folder of an experiment, so that `mlflow ui` can be started anywhere."""
    slug = re.sub(r"[^\w.-]+", "-", experiment).strip(".-") or "experiment"
    if len(slug.encode()) > _MAX_FOLDER or _NOT_A_FOLDER.match(slug):
        digest = hashlib.sha256(experiment.encode()).hexdigest()[:8]
        slug = f"{slug[: _MAX_FOLDER // 4].rstrip('.-')}-{digest}"
    return Path("mlruns").resolve() / slug


def local_folder(location: str) -> Path | None:
    """The folder of an artifact location; None if it is no path of a file system."""
    parts = urlsplit(location)
    if parts.scheme == "file":
        return Path(url2pathname(parts.path))
    is_path = not parts.scheme or len(parts.scheme) == 1  # of one letter: a drive of Windows
    return Path(location) if is_path else None


def check_location(
    location: str, uri: str, experiment: str, list_artifacts: Callable[[], object]
) -> None:
    """Check that artifacts can be delivered, before anything is trained.

    Args:
        location: Of the experiment's artifacts.
        uri: Tracking URI.
        list_artifacts: Asks the place for what is there.

    Raises:
        BenchError: They can't.
    """
    folder, shown = local_folder(location), without_credentials(location)
    if folder is not None:
        _check_folder(folder, uri, experiment)
        return
    scheme = urlsplit(location).scheme
    subject = f"the artifacts of experiment {experiment} are kept at {shown}"
    if scheme in _LIBRARIES:
        module, package = _LIBRARIES[scheme]
        if not _is_installed(module):
            raise BenchError(
                f"{subject}, which needs the package {package}",
                f"pip install {package}, or choose another --experiment",
            )
    if reason := _failure(list_artifacts):
        raise BenchError(
            f"{subject}, which can't be reached: {redact(location, reason)}",
            "correct its address or set its credentials here, or choose another --experiment",
        )


def _check_folder(folder: Path, uri: str, experiment: str) -> None:
    if is_server(uri) and not (folder.exists() or folder.parent.exists()):
        raise BenchError(
            f"the tracking server keeps the artifacts of experiment {experiment} in {folder}, "
            "which is not on this machine",
            "start it with --serve-artifacts and choose another --experiment",
        )
    files.check_writable(
        folder, f"it has the artifacts of experiment {experiment}: choose another --experiment"
    )


def _is_installed(module: str) -> bool:
    with suppress(ModuleNotFoundError):  # of a parent
        return find_spec(module) is not None
    return False


def _failure(list_artifacts: Callable[[], object]) -> str | None:
    """Why a place can't be listed within some seconds; None if it can."""
    failures = ["it does not answer"]

    def probe() -> None:
        try:
            list_artifacts()
        except Exception as error:  # noqa: BLE001  # of whichever library
            text = str(error).strip() or type(error).__name__
            failures[0] = text.splitlines()[0][:200]
        else:
            failures.clear()

    # Libraries retry for minutes, and not all of them have a time limit.
    thread = threading.Thread(target=probe, daemon=True)
    thread.start()
    thread.join(_PROBE_SECONDS)
    return failures[0] if failures else None


def follow_folder(
    uri: str, experiment: str, log: Callable[[str], None], is_dead: Callable[[str], bool]
) -> None:
    """After this folder was moved or copied, let its database name the artifacts in it.

    MLflow keeps absolute addresses: it would go on reading and writing at the old place.

    Args:
        log: Receives a line if there is something to follow.
        is_dead: Whether the process of a run has ended; a live one may write to the old place.

    """
    file, folder = sqlite_file(uri), artifact_folder(experiment)
    if file is None or not file.exists() or not folder.is_dir():
        return
    if not file.resolve().is_relative_to(Path.cwd().resolve()):
        return
    # A file that is no database, is damaged or held, is told by whoever opens it next.
    with suppress(sqlite3.Error), closing(sqlite3.connect(file)) as connection, connection:
        if old := _old_location(connection, experiment, folder, is_dead):
            _replace(connection, old, folder.as_uri())
            log(
                f"{local_folder(old)} is now {folder}: this folder was moved or copied, so its "
                "database was changed to take the artifacts from here"
            )


def _old_location(
    connection: sqlite3.Connection, experiment: str, folder: Path, is_dead: Callable[[str], bool]
) -> str | None:
    """The location of an experiment whose runs have folders here, but are said to be elsewhere."""
    query = "SELECT experiment_id, artifact_location FROM experiments WHERE name = ?"
    found = connection.execute(query, (experiment,)).fetchone()
    if found is None:
        return None
    experiment_id, location = found
    old = local_folder(location)
    if old is None or old == folder or old.parts[-2:] != folder.parts[-2:]:
        return None
    query = "SELECT run_uuid FROM runs WHERE experiment_id = ?"
    run_ids = [run_id for (run_id,) in connection.execute(query, (experiment_id,))]
    if not any((folder / run_id).is_dir() for run_id in run_ids):
        return None
    query = """
        SELECT tags.value FROM runs JOIN tags ON tags.run_uuid = runs.run_uuid
        WHERE runs.status = 'RUNNING' AND runs.experiment_id = ? AND tags.key = ?
    """
    owners = [owner for (owner,) in connection.execute(query, (experiment_id, OWNER_TAG))]
    return str(location) if all(map(is_dead, owners)) else None


def _replace(connection: sqlite3.Connection, old: str, new: str) -> None:
    for table, column in _COLUMNS:
        with suppress(sqlite3.OperationalError):  # another MLflow may lack it
            connection.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) "  # noqa: S608
                f"WHERE substr({column} || '/', 1, ?) = ? || '/'",
                (new, len(old) + 1, len(old) + 1, old),
            )
