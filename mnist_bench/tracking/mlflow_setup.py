"""Opening MLflow: import without output, schema check, experiment lookup."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mnist_bench.core.errors import BenchError
from mnist_bench.tracking import mlflow_errors
from mnist_bench.tracking.uri import is_server, schema_revision, sqlite_file

if TYPE_CHECKING:
    from mlflow import MlflowClient


def import_mlflow() -> Any:
    """Import MLflow without telemetry or log output, unless the user has set them otherwise."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # MLflow's errors are shown as one line; it would also log their tracebacks.
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "CRITICAL")
    # With a server MLflow would print the address of each run, password included, to stdout.
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    # MLflow's own retries would block a training for minutes if the server is down, and could
    # create a run twice. The uploader retries instead.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    import mlflow

    return mlflow


def refuse_other_schema(uri: str) -> None:
    """Raise if a database file has the schema of another MLflow; MLflow may migrate it silently.

    Raises:
        BenchError: The schema is not that of the installed MLflow.
    """
    from mlflow.store.db import utils

    file = sqlite_file(uri)
    found = schema_revision(file) if file else None
    newest: Callable[[], str] = utils._get_latest_schema_revision  # noqa: SLF001  # no public name
    if found and found != newest():
        raise mlflow_errors.schema_mismatch(uri)


def experiment_id(client: MlflowClient, uri: str, name: str, *, create: bool) -> str:
    """Id of an experiment; empty if it does not exist and `create` is False.

    Raises:
        BenchError: The experiment was deleted, or its artifacts are on a server that `uri` does
            not name.
    """
    found = client.get_experiment_by_name(name)
    if found is None and not create:
        return ""
    if found is None:
        # MLflow fixes the artifact location of an experiment for good. Without a server it must be
        # a folder, and must not depend on where `mlflow ui` is started.
        location = None if is_server(uri) else mlflow_errors.artifact_folder(name).as_uri()
        return _create_experiment(client, name, location)
    if found.lifecycle_stage == "deleted":
        raise BenchError(
            f"experiment {name} was deleted in MLflow",
            f"restore it with `mlflow experiments restore -x {found.experiment_id}`, or "
            "choose another --experiment",
        )
    if found.artifact_location.startswith("mlflow-artifacts:") and not is_server(uri):
        raise BenchError(
            f"experiment {name} keeps its artifacts behind an MLflow server",
            "choose another --experiment, or give the server's address as --tracking-uri",
        )
    return str(found.experiment_id)


def _create_experiment(client: MlflowClient, name: str, location: str | None) -> str:
    from mlflow.exceptions import MlflowException

    try:
        return client.create_experiment(name, artifact_location=location)
    except MlflowException:
        found = client.get_experiment_by_name(name)
        if found is None:
            raise
        return str(found.experiment_id)  # another process created it at the same time
