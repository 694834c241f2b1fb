"""The way into MLflow: imported quietly, its schema checked, the experiment found or made."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mnist_bench.core.errors import BenchError
from mnist_bench.tracking import mlflow_errors
from mnist_bench.tracking import uri as tracking

if TYPE_CHECKING:
    from mlflow import MlflowClient


def import_mlflow() -> Any:
    """Import MLflow quietly: no telemetry unless the user turned it on, no log on the screen."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # Its faults reach the user as one line; their tracebacks in the log would come on top.
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "CRITICAL")
    # With a server it would print each run's address, password and all, on standard output.
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    # A server that is gone would hold a training up for minutes; and a call to make a run that is
    # repeated down there may make two. What is refused waits here and is offered again.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    import mlflow

    return mlflow


def refuse_other_schema(uri: str) -> None:
    """Refuse a database file of another MLflow; MLflow itself would migrate some without a word.

    Raises:
        BenchError: The file's schema is not this MLflow's.
    """
    from mlflow.store.db import utils

    file = tracking.sqlite_file(uri)
    found = tracking.schema_revision(file) if file else None
    newest: Callable[[], str] = utils._get_latest_schema_revision  # noqa: SLF001  # no public name
    if found and found != newest():
        raise mlflow_errors.other_version(uri)


def experiment_id(client: MlflowClient, uri: str, name: str, *, make: bool) -> str:
    """Id of the experiment, which is made where it is not there; empty where it is not to be.

    Raises:
        BenchError: It was deleted, or its artifacts lie behind a server that is not asked.
    """
    found = client.get_experiment_by_name(name)
    if found is None and not make:
        return ""
    if found is None:
        # MLflow binds an experiment to its artifacts' place for good. On a database without
        # a server that place must be a folder, and not one that depends on where `mlflow ui`
        # is started.
        is_server = tracking.is_server(uri)
        location = None if is_server else mlflow_errors.artifact_folder(name).as_uri()
        return _made_experiment(client, name, location)
    if found.lifecycle_stage == "deleted":
        raise BenchError(
            f"experiment {name} was deleted in MLflow",
            f"restore it with `mlflow experiments restore -x {found.experiment_id}`, or "
            "choose another --experiment",
        )
    if found.artifact_location.startswith("mlflow-artifacts:") and not tracking.is_server(uri):
        raise BenchError(
            f"experiment {name} keeps its artifacts behind an MLflow server",
            "choose another --experiment, or give the server's address as --tracking-uri",
        )
    return str(found.experiment_id)


def _made_experiment(client: MlflowClient, name: str, location: str | None) -> str:
    from mlflow.exceptions import MlflowException

    try:
        return client.create_experiment(name, artifact_location=location)
    except MlflowException:
        found = client.get_experiment_by_name(name)
        if found is None:
            raise
        return str(found.experiment_id)  # another first run was faster
