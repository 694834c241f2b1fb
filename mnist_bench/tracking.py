"""Where runs are recorded: the tracking URI, checked before work starts, shown without secrets."""

from __future__ import annotations

import socket
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import SplitResult, urlsplit, urlunsplit

from mnist_bench.errors import BenchError

DEFAULT_TRACKING_URI = "sqlite:///mlflow.db"
"""MLflow's own default."""
DEFAULT_EXPERIMENT = "mnist-bench"
_MLFLOWS_OWN_EXPERIMENT = "Default"

_CONNECT_SECONDS = 10
_DATABASE_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}


def without_credentials(uri: str) -> str:
    """The URI as it may be shown and stored: no user, no password, no query."""
    parts = _split(uri)
    if "@" not in parts.netloc and not parts.query:
        return uri
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


def refuse_password(uri: str, flag: str) -> None:
    """Refuse a password that other users could read in the list of processes.

    Raises:
        BenchError: The URI holds one.
    """
    parts = _split(uri)
    if parts.password or "password" in parts.query.lower():
        raise BenchError(
            f"{flag} holds a password, which others on this machine could read",
            "set MLFLOW_TRACKING_URI, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
        )


def is_server(uri: str) -> bool:
    """Whether a tracking server stands behind the URI, not a database."""
    return _split(uri).scheme in ("http", "https")


def check(uri: str, experiment: str) -> None:
    """Refuse a URI that can't work, in seconds; MLflow itself would try for minutes.

    Raises:
        BenchError: The scheme is no database and no server, the file is no database, its folder
            is missing, or nobody answers.
    """
    if experiment == _MLFLOWS_OWN_EXPERIMENT:
        raise BenchError(
            f"experiment {experiment} is MLflow's own and may keep its artifacts behind a server",
            "choose another --experiment",
        )
    parts = _split(uri)
    scheme = parts.scheme.partition("+")[0]
    if scheme == "sqlite":
        _check_sqlite(uri, parts)
    elif scheme in ("http", "https"):
        _check_server(uri)
    elif scheme in _DATABASE_PORTS:
        _check_database(uri, parts, _DATABASE_PORTS[scheme])
    elif scheme != "databricks":
        raise BenchError(
            f"can't record runs at {without_credentials(uri)!r}",
            f"give {DEFAULT_TRACKING_URI}, another database, or an http(s) address",
        )


def _split(uri: str) -> SplitResult:
    try:
        parts = urlsplit(uri)
        _ = parts.port  # checked only when it is read
    except ValueError as error:
        raise BenchError(f"the tracking URI is none: {error}", "mend it") from None
    return parts


def sqlite_file(uri: str) -> Path | None:
    """The file of an SQLite URI (three slashes: relative, four: absolute); None for others."""
    if not uri.startswith("sqlite:///"):
        return None
    return Path(uri.removeprefix("sqlite:///").partition("?")[0])


def _check_sqlite(uri: str, parts: SplitResult) -> None:
    path = sqlite_file(uri)
    if path is None or parts.netloc or not path.name:
        raise BenchError(f"{uri} names no file", f"write it like {DEFAULT_TRACKING_URI}")
    if not path.parent.is_dir():
        raise BenchError(f"no folder {path.parent} for the database {path.name}", "make it first")
    if not path.exists():
        return
    try:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA schema_version")
    except sqlite3.DatabaseError as error:
        raise BenchError(
            f"{path} can't be used as a database: {error}", "move it away or choose another"
        ) from error


def _check_server(uri: str) -> None:
    import requests

    shown = without_credentials(uri)
    try:
        requests.get(f"{uri.rstrip('/')}/health", timeout=_CONNECT_SECONDS)
    except requests.RequestException as error:
        raise BenchError(
            f"no tracking server answers at {shown} ({type(error).__name__})",
            "start it, or mend MLFLOW_TRACKING_URI or --tracking-uri",
        ) from None


def _check_database(uri: str, parts: SplitResult, default_port: int) -> None:
    address = (parts.hostname or "localhost", parts.port or default_port)
    try:
        socket.create_connection(address, timeout=_CONNECT_SECONDS).close()
    except OSError as error:
        raise BenchError(
            f"no database answers at {without_credentials(uri)} ({error.strerror or error})",
            "start it, or mend MLFLOW_TRACKING_URI or --tracking-uri",
        ) from None
