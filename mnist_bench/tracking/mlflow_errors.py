"""Creating MLflow's database safely, and turning MLflow's errors into one line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock

from mnist_bench.core.errors import EXIT_FAILURE, BenchError
from mnist_bench.tracking.uri import (
    access_denied,
    is_server,
    redact,
    sqlite_file,
    without_credentials,
)


@contextmanager
def creation_lock(uri: str) -> Iterator[None]:
    """Let one process at a time create an SQLite database: of several at once all but one fail."""
    database = sqlite_file(uri)
    if database is None:
        yield
        return
    with FileLock(database.with_name(f"{database.name}.lock"), timeout=120):
        yield


@contextmanager
def discard_incomplete_database(uri: str) -> Iterator[None]:
    """Remove a new database file if creating it fails: an incomplete one could never be used."""
    database = sqlite_file(uri)
    is_new = database is not None and not database.exists()
    try:
        yield
    except BaseException:
        if database is not None and is_new:
            with suppress(OSError):
                database.unlink(missing_ok=True)
        raise


def schema_mismatch(uri: str) -> BenchError:
    """The error for a database with the schema of another MLflow version."""
    shown = without_credentials(uri)
    return BenchError(
        f"{shown} was made by another version of MLflow",
        f"copy it, then run `mlflow db upgrade {shown}`; if a newer MLflow made it, upgrade "
        "MLflow instead",
    )


def artifact_folder(experiment: str) -> Path:
    """Absolute artifact folder of an experiment, so that `mlflow ui` can be started anywhere."""
    slug = re.sub(r"[^\w.-]+", "-", experiment).strip(".-") or "experiment"
    return Path("mlruns").resolve() / slug


def to_bench_error(error: Exception, uri: str, action: str) -> BenchError:
    """One line for an error of MLflow or of its databases, drivers and HTTP libraries.

    Args:
        error: The error.
        uri: Tracking URI; its credentials are removed from the message.
        action: What failed, such as `opening the store`.
    """
    shown = without_credentials(uri)
    text = str(error).replace(uri, shown)
    if "out-of-date database schema" in text or "Can't locate revision" in text:
        return schema_mismatch(uri)
    if is_server(uri) and re.search(r"error code (401|403)\b", text):
        return access_denied(uri)  # MLflow's own login does not protect the health check
    # SQLAlchemy wraps the database's message in advice to programmers.
    database_message = re.search(r"\(\w+\.\w*Error\) ([^\n]+)", text)
    cause = database_message[1] if database_message else text.strip().partition("\n")[0]
    cause = redact(uri, cause)
    if is_server(uri) and re.search(r"Connection(Pool|Error| refused)|timed out", cause):
        cause = "it does not respond"
    return BenchError(
        f"MLflow at {shown} failed while {action}: {cause[:300] or type(error).__name__}",
        "check that the server is running and that its disk is not full"
        if is_server(uri)
        else "check that the database still exists and that its disk is not full",
        exit_status=EXIT_FAILURE,
    )
