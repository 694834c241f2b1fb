"""Around MLflow's database: made by one, never half, and its faults in one line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock

from mnist_bench.core.errors import EXIT_BROKE, BenchError
from mnist_bench.tracking import uri as tracking


@contextmanager
def one_creator(uri: str) -> Iterator[None]:
    """Keep others from creating the same database at once: all but one of them would fail."""
    database = tracking.sqlite_file(uri)
    if database is None:
        yield
        return
    with FileLock(database.with_name(f"{database.name}.lock"), timeout=120):
        yield


@contextmanager
def nothing_half_made(uri: str) -> Iterator[None]:
    """Remove a new database that could not be made whole: it could never be used."""
    database = tracking.sqlite_file(uri)
    is_new = database is not None and not database.exists()
    try:
        yield
    except BaseException:
        if database is not None and is_new:
            with suppress(OSError):
                database.unlink(missing_ok=True)
        raise


def other_version(uri: str) -> BenchError:
    """Of a database with another schema."""
    shown = tracking.without_credentials(uri)
    return BenchError(
        f"{shown} was made by another version of MLflow",
        f"copy it, then run `mlflow db upgrade {shown}`; if a newer MLflow made it, upgrade "
        "MLflow instead",
    )


def artifact_folder(experiment: str) -> Path:
    """Where an experiment keeps its artifacts, wherever `mlflow ui` is started."""
    slug = re.sub(r"[^\w.-]+", "-", experiment).strip(".-") or "experiment"
    return Path("mlruns").resolve() / slug


def fault(error: Exception, uri: str, while_: str) -> BenchError:
    """What MLflow, its databases, drivers and HTTP libraries raised, as one line for people."""
    shown = tracking.without_credentials(uri)
    text = str(error).replace(uri, shown)
    if "out-of-date database schema" in text or "Can't locate revision" in text:
        return other_version(uri)
    if tracking.is_server(uri) and re.search(r"error code (401|403)\b", text):
        return tracking.not_let_in(uri)  # MLflow's own login lets everybody ask for its health
    # SQLAlchemy wraps the database's own words in advice to programmers.
    own_words = re.search(r"\(\w+\.\w*Error\) ([^\n]+)", text)
    cause = own_words[1] if own_words else text.strip().partition("\n")[0]
    cause = tracking.without_parts_of(uri, cause)
    if tracking.is_server(uri) and re.search(r"Connection(Pool|Error| refused)|timed out", cause):
        cause = "it does not answer"
    return BenchError(
        f"MLflow at {shown} failed while {while_}: {cause[:300] or type(error).__name__}",
        "see whether it runs, and whether there is room on its disk"
        if tracking.is_server(uri)
        else "see whether the database is still there, and whether there is room on its disk",
        exit_status=EXIT_BROKE,
    )
