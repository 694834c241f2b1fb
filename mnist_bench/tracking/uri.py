"""The tracking URI: checks before work starts, and removal of credentials."""

from __future__ import annotations

import os
import re
import socket
import sqlite3
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit, urlunsplit

from mnist_bench.core import http
from mnist_bench.core.errors import BenchError

DEFAULT_TRACKING_URI = "sqlite:///mlflow.db"
"""MLflow's own default."""
DEFAULT_EXPERIMENT = "mnist-bench"
OWNER_TAG = "bench.owner"
"""The process that started a run."""
_DEFAULT_MLFLOW_EXPERIMENT = "Default"

_CONNECT_SECONDS = 10
_DATABASE_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}


def without_credentials(uri: str) -> str:
    """The URI without user, password and query, to be shown and stored."""
    parts = _split(uri)
    if not parts.netloc:  # a file: urlunsplit would lose its slashes
        return uri.partition("?")[0]
    if "@" not in parts.netloc and not parts.query:
        return uri
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


def redact(uri: str, text: str) -> str:
    """A driver's message without the user, the password and the query values of a URI."""
    parts = _split(uri)
    secrets = [parts.username, parts.password, *(value for _, value in parse_qsl(parts.query))]
    private = {form for each in secrets if each for form in (each, unquote(each))}
    for each in sorted(private, key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(each)}(?!\w)", "…", text)
    return text


def refuse_password(uri: str, flag: str, remedy: str) -> None:
    """Reject a password on the command line, where other users can read it.

    Raises:
        BenchError: The URI contains a password.
    """
    parts = _split(uri)
    query = parts.query.lower()
    if parts.password or "passw" in query or "pwd" in query:
        raise BenchError(
            f"{flag} contains a password, which other users of this machine could read",
            remedy,
        )


def is_server(uri: str) -> bool:
    """Whether the URI is that of a tracking server, not of a database."""
    return _split(uri).scheme in ("http", "https")


def ui_address(uri: str, experiment_id: str) -> str | None:
    """Address of an experiment in MLflow's UI; None unless the URI is that of a server."""
    if not is_server(uri):
        return None
    return f"{without_credentials(uri).rstrip('/')}/#/experiments/{experiment_id}"


def check_uri(uri: str, experiment: str) -> None:
    """Reject an unusable URI within seconds; MLflow itself would retry for minutes.

    Raises:
        BenchError: The scheme is unknown, the file is not a database, its folder is missing, or
            the server does not respond.
    """
    if not experiment.strip():
        raise BenchError(
            "the experiment has no name", "give one by --experiment or MLFLOW_EXPERIMENT_NAME"
        )
    if experiment == _DEFAULT_MLFLOW_EXPERIMENT:
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
    else:
        raise BenchError(
            f"can't record runs at {without_credentials(uri)!r}",
            f"give {DEFAULT_TRACKING_URI}, another database, or an http(s) address",
        )


def _split(uri: str) -> SplitResult:
    try:
        parts = urlsplit(uri)
        _ = parts.port  # raises if invalid
    except ValueError:
        parts = None
    is_file = parts is not None and parts.scheme == "sqlite" and not parts.netloc
    rest = f"{parts.path}{parts.query}{parts.fragment}" if parts and not is_file else ""
    if parts is None or "@" in rest:
        # Not shown: the password may be anywhere in a URI that can't be parsed.
        raise BenchError(
            "the tracking URI can't be parsed",
            "percent-encode special characters in its password (/ is %2F, # is %23, @ is %40)",
        )
    return parts


def schema_revision(database: Path) -> str | None:
    """MLflow's schema revision of a database file; None if it has no schema yet."""
    if not database.exists():
        return None
    with closing(sqlite3.connect(database)) as connection:
        try:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        except sqlite3.OperationalError:  # no such table
            return None
    return str(row[0]) if row else None


def newest_schema_revision() -> str | None:
    """The schema revision of the installed MLflow; None if its files are not as expected.

    Read from the files, because importing MLflow takes seconds.
    """
    package = find_spec("mlflow")
    folders = package.submodule_search_locations if package else None
    before: dict[str, str | None] = {}
    for path in Path((folders or [""])[0], "store", "db_migrations", "versions").glob("*.py"):
        assigned = r"^(revision|down_revision)\b.*?= *[\"'](\w+)"
        named = dict(re.findall(assigned, path.read_text("utf-8"), re.MULTILINE))
        if "revision" in named:
            before[named["revision"]] = named.get("down_revision")
    newest = before.keys() - set(before.values())
    return newest.pop() if len(newest) == 1 else None


def experiments_with_owned_runs(database: Path) -> set[str]:
    """Names of the experiments in a database file with a RUNNING run of mnist-bench."""
    query = """
        SELECT DISTINCT experiments.name FROM runs
        JOIN experiments ON experiments.experiment_id = runs.experiment_id
        JOIN tags ON tags.run_uuid = runs.run_uuid
        WHERE runs.status = 'RUNNING' AND runs.lifecycle_stage = 'active'
        AND experiments.lifecycle_stage = 'active' AND tags.key = ?
    """
    with closing(sqlite3.connect(database)) as connection:
        try:
            return {str(name) for (name,) in connection.execute(query, (OWNER_TAG,))}
        except sqlite3.OperationalError:  # no such table
            return set()


def sqlite_file(uri: str) -> Path | None:
    """Path in an SQLite URI (three slashes: relative, four: absolute); None for other URIs."""
    if not uri.startswith("sqlite:///"):
        return None
    return Path(uri.removeprefix("sqlite:///").partition("?")[0])


def _check_sqlite(uri: str, parts: SplitResult) -> None:
    path = sqlite_file(uri)
    if path is None or parts.netloc or path.name in ("", ":memory:"):
        raise BenchError("the sqlite URI names no file", f"write it like {DEFAULT_TRACKING_URI}")
    if not path.parent.is_dir():
        raise BenchError(f"no folder {path.parent} for the database {path.name}", "create it first")
    if not path.exists():
        return
    try:
        with closing(sqlite3.connect(path)) as connection:
            query = "SELECT name FROM sqlite_master WHERE type = 'table'"
            tables = {name for (name,) in connection.execute(query)}
    except sqlite3.DatabaseError as error:
        raise BenchError(
            f"{path} can't be used as a database: {error}", "move it away or choose another file"
        ) from error
    if tables and "experiments" not in tables:
        is_optuna = {"studies", "trials"} <= tables
        raise BenchError(
            f"{path} is {'a database of Optuna' if is_optuna else 'not a database of MLflow'}",
            f"choose another file, or `mnist-bench ui --studies --storage {uri}`"
            if is_optuna
            else "choose another file",
        )


def _check_server(uri: str) -> None:
    import requests

    shown = without_credentials(uri)
    hint = "start it, or correct MLFLOW_TRACKING_URI or --tracking-uri"
    # Read as MLflow does, so that a server that MLflow can use is not rejected here.
    insecure = os.environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in ("true", "1")
    user, password, token = (
        os.environ.get(f"MLFLOW_TRACKING_{name}") for name in ("USERNAME", "PASSWORD", "TOKEN")
    )
    try:
        response = http.bounded(
            lambda: requests.get(
                f"{uri.rstrip('/')}/health",
                timeout=_CONNECT_SECONDS,
                verify=not insecure
                and (os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH") or True),
                cert=os.environ.get("MLFLOW_TRACKING_CLIENT_CERT_PATH"),
                auth=(user, password) if user and password else None,
                headers={"Authorization": f"Bearer {token}"} if token else {},
            ),
            uri,
            _CONNECT_SECONDS,
        )
    except OSError as error:  # requests' own errors are OSErrors; so is a missing certificate
        reason = f"{error}" if isinstance(error, http.AnswerError) else type(error).__name__
        raise BenchError(f"no tracking server answers at {shown} ({reason})", hint) from None
    if response.status_code in (401, 403):
        raise access_denied(uri)
    if not response.ok:
        raise BenchError(
            f"{shown} is not an MLflow tracking server (status {response.status_code})",
            hint,
        )


def access_denied(uri: str) -> BenchError:
    """The error for a server that rejects the credentials."""
    return BenchError(
        f"the tracking server at {without_credentials(uri)} denied access",
        "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN",
    )


def _check_database(uri: str, parts: SplitResult, default_port: int) -> None:
    if not parts.hostname:
        return  # a local socket, which only the driver can find
    address = (parts.hostname, parts.port or default_port)
    try:
        socket.create_connection(address, timeout=_CONNECT_SECONDS).close()
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise BenchError(
            f"no database answers at {without_credentials(uri)} ({reason})",
            "start it, or correct MLFLOW_TRACKING_URI or --tracking-uri",
        ) from None
