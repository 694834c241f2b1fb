"""The tracking URI: checks before work starts, and removal of credentials."""

from __future__ import annotations

import os
import re
import socket
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit, urlunsplit

from mnist_bench.core import http
from mnist_bench.core.errors import BenchError
from mnist_bench.tracking.database import (
    Owner,
    check_server,
    check_sqlite,
    is_sqlite,
    sqlite_file,
)

DEFAULT_TRACKING_URI = "sqlite:///mlflow.db"
"""MLflow's own default."""
DEFAULT_EXPERIMENT = "mnist-bench"
_DEFAULT_MLFLOW_EXPERIMENT = "Default"

_MAX_EXPERIMENT, _MAX_SHOWN = 250, 40
_CONNECT_SECONDS = 10
_DATABASE_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}


_BRACKETS = ("''", '""', "``", "<>", "“”", "\u2018\u2019")
_INVISIBLE = "\ufeff\u200b\u200e\u2060"


def cleaned(address: str) -> str:
    """An address without what copying adds: white space, quotes, a browser's part of a page."""
    text = address.strip().strip(_INVISIBLE).strip()
    while text[:1] + text[-1:] in _BRACKETS and len(text) > 1:
        text = text[1:-1].strip()
    scheme, colon, rest = text.partition(":")
    if scheme.lower() in {"http", "https"}:
        # MLflow's pages are at #/…; a # in a password is no reason to cut it.
        rest = re.sub(r"(\?[^#@]*)?#(/[^@]*)?$", "", rest)
        rest = rest.rstrip("/") if rest.strip("/") else rest
    return f"{scheme.lower() if rest.startswith('/') else scheme}{colon}{rest}"


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
    if not experiment.isprintable() or len(experiment) > _MAX_EXPERIMENT:
        raise BenchError(
            f"the experiment can't be called {experiment[:_MAX_SHOWN]!r}",
            f"choose a name of at most {_MAX_EXPERIMENT} printable characters",
        )
    if experiment == _DEFAULT_MLFLOW_EXPERIMENT:
        raise BenchError(
            f"experiment {experiment} is MLflow's own and may keep its artifacts behind a server",
            "choose another --experiment",
        )
    scheme = _split(uri).scheme.partition("+")[0]
    if scheme in ("http", "https"):
        _check_server(uri)
    elif scheme == "sqlite" or scheme in _DATABASE_PORTS:
        check_database(uri, "MLflow")
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


def note_of_file_store(uri: str) -> str | None:
    """A note if MLflow itself would take an older store in this folder; None otherwise."""
    file = sqlite_file(uri)
    if file is None or file.parent.resolve() != Path.cwd():
        return None
    if not any(path.parent.name.isdigit() for path in Path("mlruns").glob("*/meta.yaml")):
        return None
    return (
        "mlruns has runs of an older MLflow, which a plain `mlflow ui` here shows instead: use "
        "`mnist-bench ui`"
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


def check_database(uri: str, owner: Owner) -> None:
    """Reject a database that can't be used, or is the other program's.

    Raises:
        BenchError: Nobody answers there, or it can't be used.
    """
    parts = _split(uri)
    if is_sqlite(uri):
        check_sqlite(uri, owner)
        return
    default_port = _DATABASE_PORTS.get(parts.scheme.partition("+")[0])
    if parts.hostname and default_port:  # else a local socket, which only the driver can find
        address = (parts.hostname, parts.port or default_port)
        try:
            socket.create_connection(address, timeout=_CONNECT_SECONDS).close()
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            raise BenchError(
                f"no database answers at {without_credentials(uri)} ({reason})",
                "start it, or correct MLFLOW_TRACKING_URI or --tracking-uri"
                if owner == "MLflow"
                else "start it, or correct --storage",
            ) from None
    check_server(uri, without_credentials(uri), owner, lambda text: redact(uri, text))
