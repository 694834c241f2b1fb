"""The tracking URI: checks, and no secrets in messages."""

from __future__ import annotations

import base64
import importlib
import os
import socket
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from mnist_bench.core.errors import EXIT_USAGE, BenchError
from mnist_bench.tracking.database import schema_revision, sqlite_file
from mnist_bench.tracking.mlflow_store import import_mlflow, to_bench_error
from mnist_bench.tracking.uri import (
    DEFAULT_TRACKING_URI,
    check_uri,
    cleaned,
    is_server,
    newest_schema_revision,
    note_of_file_store,
    redact,
    refuse_password,
    without_credentials,
)

EXPERIMENT = "mnist-bench"


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unset proxies and MLflow variables, so that local servers are used directly."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith("MLFLOW_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def error_message(uri: str, experiment: str = EXPERIMENT) -> str:
    """The error message for a rejected URI."""
    with pytest.raises(BenchError) as caught:
        check_uri(uri, experiment)
    assert caught.value.exit_status == EXIT_USAGE
    assert "hunter2" not in str(caught.value)
    return str(caught.value)


# Secrets


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("sqlite:///mlflow.db", "sqlite:///mlflow.db"),
        ("sqlite:////srv/mlflow.db", "sqlite:////srv/mlflow.db"),
        ("sqlite:////srv/me@home/mlflow.db", "sqlite:////srv/me@home/mlflow.db"),
        # With fewer slashes it would name another file, or none.
        ("sqlite:///mlflow.db?timeout=5", "sqlite:///mlflow.db"),
        ("sqlite:////srv/mlflow.db?timeout=5", "sqlite:////srv/mlflow.db"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("databricks", "databricks"),
        ("https://user:hunter2@host/prefix", "https://host/prefix"),
        ("http://user@host:5000", "http://host:5000"),
        ("http://:hunter2@host:5000", "http://host:5000"),
        ("http://user:hunter@2@host:5000", "http://host:5000"),
        ("http://user:hunter%2F2@host", "http://host"),
        ("http://user:hunter2@[::1]:5000/", "http://[::1]:5000/"),
        ("http://host?password=hunter2", "http://host"),
        ("postgresql://db/mlflow?user=me&password=hunter2", "postgresql://db/mlflow"),
        ("postgresql:///mlflow?password=hunter2", "postgresql:///mlflow"),
        (
            "postgresql+psycopg2://user:hunter2@db:5432/mlflow?sslmode=require",
            "postgresql+psycopg2://db:5432/mlflow",
        ),
    ],
)
def test_without_credentials(uri: str, shown: str) -> None:
    assert without_credentials(uri) == shown


@pytest.mark.parametrize(
    "uri",
    [
        "http://host:port",
        "http://host:99999",
        "http://host:-1",
        "http://[::1",
        # A character that is not percent-encoded ends the host in the middle of the password.
        "postgresql://user:hunter2/x@db/mlflow",
        "postgresql://user:1234/hunter2@db/mlflow",
        "http://user:hunter2#x@host",
        "http://user:1234#hunter2@host",
        "http://user:hunter2?x@host",
        "http://user:1234?hunter2@host",
        "http://user:hunter2@ho\u2100st",
    ],
)
def test_malformed_uri_is_rejected_and_not_shown(uri: str) -> None:
    message = error_message(uri)
    assert message.startswith("the tracking URI can't be parsed; percent-encode ")
    for use in (without_credentials, is_server):
        with pytest.raises(BenchError, match="can't be parsed"):
            use(uri)


@pytest.mark.parametrize(
    ("uri", "is_refused"),
    [
        ("http://user:hunter2@host", True),
        ("http://:hunter2@host", True),
        ("postgresql://user:hunter2@db:5432/mlflow", True),
        ("postgresql://db/mlflow?user=me&password=hunter2", True),
        ("postgresql://db/mlflow?sslPassword=hunter2", True),
        ("sqlite:///mlflow.db", False),
        ("http://host:5000", False),
        ("http://user@host:5000", False),
        ("postgresql://user@db/mlflow?sslmode=require", False),
        ("mlruns", False),
    ],
)
def test_password_on_the_command_line(uri: str, *, is_refused: bool) -> None:
    if not is_refused:
        refuse_password(uri, "--tracking-uri", "set a variable")
        return
    with pytest.raises(BenchError) as caught:
        refuse_password(uri, "--tracking-uri", "set a variable")
    message = str(caught.value)
    assert message.startswith("--tracking-uri contains a password")
    assert "set a variable" in message
    assert "hunter2" not in message
    assert caught.value.exit_status == EXIT_USAGE


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ('failed for user "somebody"', 'failed for user "…"'),
        ("no hun%2Fter2 and no hun/ter2 there", "no … and no … there"),
        ('invalid sslmode value: "odd"', 'invalid sslmode value: "…"'),
        ("somebody's oddities", "…'s oddities"),
    ],
)
def test_redact_removes_what_a_driver_quotes_of_a_uri(text: str, redacted: str) -> None:
    uri = "postgresql://somebody:hun%2Fter2@127.0.0.1:5432/studies?sslmode=odd"
    assert redact(uri, text) == redacted
    found = to_bench_error(Exception(f"(psycopg.OperationalError) {text}"), uri, "asking")
    assert found.message.endswith(f"failed while asking: {redacted}")


# Kind of URI


@pytest.mark.parametrize(
    ("uri", "server", "path"),
    [
        ("http://host:5000", True, None),
        ("HTTPS://host", True, None),
        ("postgresql://db/mlflow", False, None),
        ("mlflow.db", False, None),
        ("sqlite://", False, None),
        ("sqlite:///mlflow.db", False, "mlflow.db"),
        ("sqlite:///data/mlflow.db", False, "data/mlflow.db"),
        ("sqlite:////srv/mlflow.db", False, "/srv/mlflow.db"),
        ("sqlite:///mlflow.db?timeout=5", False, "mlflow.db"),
        ("sqlite+pysqlite:///mlflow.db", False, "mlflow.db"),
        ("sqlite:///my%20runs.db", False, "my runs.db"),
        ("sqlite:///my%20dir/100%25.db", False, "my dir/100%.db"),
        ("sqlite:///a+b.db", False, "a+b.db"),
        ("sqlite:///a#b.db", False, "a#b.db"),
        ("sqlite:///file:mlflow.db?uri=true", False, "mlflow.db"),
        ("sqlite:///file:/srv/a%2520b.db?mode=rw&uri=1", False, "/srv/a b.db"),
        ("sqlite:///file:mlflow.db", False, "file:mlflow.db"),
        ("sqlite:///file:x?mode=memory&uri=true", False, None),
        ("sqlite:///file::memory:?cache=shared&uri=true", False, None),
        ("sqlite+pysqlite:///:memory:", False, None),
    ],
)
def test_server_or_sqlite_file(uri: str, path: str | None, *, server: bool) -> None:
    assert is_server(uri) is server
    assert sqlite_file(uri) == (None if path is None else Path(path))


@pytest.mark.parametrize(
    "uri",
    ["sqlite:///my%20runs.db", "sqlite+pysqlite:///a.db?timeout=5", "sqlite:///%41b.db",
     "sqlite:///file:c%2520d.db?uri=true", "sqlite:///file:e.db?mode=rwc&uri=true"],
)  # fmt: skip
def test_the_file_is_the_one_that_sqlalchemy_opens(folder: Path, uri: str) -> None:
    engine = create_engine(uri)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE t (x)"))
    engine.dispose()
    assert [path.name for path in folder.iterdir()] == [str(sqlite_file(uri))]


@pytest.mark.parametrize(
    ("copied", "uri"),
    [
        ("sqlite:///mlflow.db\n", "sqlite:///mlflow.db"),
        (" \t'sqlite:///mlflow.db' \r\n", "sqlite:///mlflow.db"),
        ('"sqlite:///my runs.db"', "sqlite:///my runs.db"),
        ("“http://host:5000”", "http://host:5000"),
        ("<http://host:5000>", "http://host:5000"),
        ("\ufeffhttp://host:5000\u200b", "http://host:5000"),
        ("HTTP://host:5000/", "http://host:5000"),
        ("SQLite:///Mlflow.db", "sqlite:///Mlflow.db"),
        ("http://host:5000/#/experiments/3", "http://host:5000"),
        ("http://host:5000/prefix/#/experiments/3/runs?searchFilter=x", "http://host:5000/prefix"),
        ("http://host:5000/#", "http://host:5000"),
        ("http://host:5000/?o=1#/experiments/3", "http://host:5000"),
        ("http://user:hunter2@host/#/", "http://user:hunter2@host"),
        # A password that is not percent-encoded is still refused, and nothing is cut from it.
        ("http://user:hunter2#x@host", "http://user:hunter2#x@host"),
        ("http://user:hunter2#/x@host", "http://user:hunter2#/x@host"),
        ("sqlite:///a#/b.db", "sqlite:///a#/b.db"),
        ("http://", "http://"),
        ("C:\\mlruns", "C:\\mlruns"),
        ("", ""),
        ("'", "'"),
    ],
)
def test_what_copying_adds_is_removed(copied: str, uri: str) -> None:
    assert cleaned(copied) == uri
    assert cleaned(uri) == uri


# Unusable URIs


@pytest.mark.parametrize(
    ("experiment", "message"),
    [
        ("Default", "experiment Default is MLflow's own and may keep its artifacts behind a "),
        (" ", "the experiment has no name; give one by --experiment or "),
        ("a\nb", "the experiment can't be called 'a\\nb'; choose a name of at most 250 printable"),
        ("a" * 251, "the experiment can't be called 'aaaa"),
        ("\x1b[31m", "the experiment can't be called '\\x1b[31m'; "),
    ],
)
def test_unusable_experiment(experiment: str, message: str) -> None:
    assert error_message(DEFAULT_TRACKING_URI, experiment).startswith(message)


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        *((uri, uri) for uri in ("", "mlruns", "./mlruns", "/srv/mlruns", "file:///srv/mlruns")),
        *((uri, uri) for uri in (r"C:\mlruns", "ftp://host", "databricks")),
        ("ftp://user:hunter2@host/mlruns", "ftp://host/mlruns"),
    ],
)
def test_neither_database_nor_server(uri: str, shown: str) -> None:
    assert error_message(uri).startswith(f"can't record runs at {shown!r}; give sqlite:///mlflow.")


# SQLite


def database(path: Path, *statements: str) -> Path:
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()
    return path


def test_usable_sqlite_file(folder: Path) -> None:
    for uri in (DEFAULT_TRACKING_URI, f"sqlite:///{folder}/mlflow.db"):
        check_uri(uri, EXPERIMENT)
    assert list(folder.iterdir()) == []
    path = database(folder / "mlflow.db", "CREATE TABLE experiments (id TEXT)")
    content = path.read_bytes()
    check_uri(DEFAULT_TRACKING_URI, EXPERIMENT)
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("sqlite://", "the sqlite URI names no file; write it like sqlite:///"),
        ("sqlite:///", "the sqlite URI names no file; "),
        ("sqlite://user:hunter2@host/mlflow.db", "the sqlite URI names no file; "),
        ("sqlite:///missing/mlflow.db", "no folder missing for the database mlflow.db; create it"),
        ("sqlite:///text", "text can't be used as a database: file is not a database; "),
        ("sqlite+aiosqlite:///mlflow.db", "the sqlite URI names no file; "),
        (
            "sqlite:///p%41q/m.db",
            "no folder pAq for the database m.db; create it first, or write",
        ),
        ("sqlite:///~/m.db", "no folder ~ for the database m.db; ~ has no meaning in an address"),
        ("sqlite:///a-folder", "a-folder can't be used as a database: "),
    ],
)
def test_unusable_sqlite_file(folder: Path, uri: str, message: str) -> None:
    (folder / "a-folder").mkdir()
    (folder / "text").write_bytes(b"This is not a database.\n" * 500)
    assert error_message(uri).startswith(message)
    assert (folder / "text").read_bytes() == b"This is not a database.\n" * 500
    assert {path.name for path in folder.iterdir()} == {"a-folder", "text"}


def test_schema_revision(tmp_path: Path) -> None:
    table = "CREATE TABLE alembic_version (version_num TEXT)"
    row = "INSERT INTO alembic_version VALUES ('bf29a5ff90ea')"
    missing = tmp_path / "missing.db"
    assert schema_revision(missing) is None
    assert not missing.exists()
    assert schema_revision(database(tmp_path / "empty.db")) is None
    assert schema_revision(database(tmp_path / "no-row.db", table)) is None
    assert schema_revision(database(tmp_path / "made.db", table, row)) == "bf29a5ff90ea"


@pytest.mark.parametrize(
    ("uri", "experiment", "is_told"),
    [
        (DEFAULT_TRACKING_URI, "0", True),
        (DEFAULT_TRACKING_URI, "826402341902", True),
        (DEFAULT_TRACKING_URI, "mnist-bench", False),  # MLflow looks for numbers only
        ("sqlite:///sub/mlflow.db", "0", False),
        ("http://host:5000", "0", False),
    ],
)
def test_an_older_store_beside_the_database_is_told(
    folder: Path, uri: str, experiment: str, *, is_told: bool
) -> None:
    assert note_of_file_store(uri) is None
    (folder / "mlruns" / experiment).mkdir(parents=True)
    (folder / "mlruns" / experiment / "meta.yaml").touch()
    note = note_of_file_store(uri)
    assert (note is not None and "`mnist-bench ui`" in note) == is_told


# Servers


@dataclass
class Server:
    """A server that remembers the requested paths.

    Attributes:
        status: Status of its responses.
        password: Required value of the Authorization header; None without authentication.
        requests: Requested paths.
    """

    address: str = ""
    status: int = 200
    password: str | None = None
    requests: list[str] = field(default_factory=list)

    def answer(self, handler: BaseHTTPRequestHandler) -> int:
        self.requests.append(handler.path)
        if self.password not in (None, handler.headers["Authorization"]):
            return 401
        return self.status


@pytest.fixture
def server() -> Iterator[Server]:
    recording = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(recording.answer(self))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
        recording.address = f"127.0.0.1:{listener.server_address[1]}"
        serve = threading.Thread(target=listener.serve_forever, args=(0.01,), daemon=True)
        serve.start()
        yield recording
        listener.shutdown()
        serve.join()


def basic(user: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


@pytest.mark.parametrize(
    ("before", "after", "variables", "password"),
    [
        ("", "", {}, None),
        ("", "/prefix/", {}, None),
        ("user:hunter2@", "", {}, basic("user", "hunter2")),
        # The hint of the error must work behind a proxy that protects every path.
        ("", "", {"USERNAME": "user", "PASSWORD": "hunter2"}, basic("user", "hunter2")),
        ("", "", {"TOKEN": "hunter2"}, "Bearer hunter2"),
    ],
)
def test_server_that_responds(
    server: Server, monkeypatch: pytest.MonkeyPatch, before: str, after: str,
    variables: dict[str, str], password: str | None,
) -> None:  # fmt: skip
    server.password = password
    for name, value in variables.items():
        monkeypatch.setenv(f"MLFLOW_TRACKING_{name}", value)
    check_uri(f"http://{before}{server.address}{after}", EXPERIMENT)
    assert server.requests == [f"{after.rstrip('/')}/health"]


@pytest.mark.parametrize(
    ("status", "words", "hint"),
    [
        (404, "is not an MLflow tracking server (status 404); ", "--tracking-uri"),
        (500, "is not an MLflow tracking server (status 500); ", "--tracking-uri"),
        (401, "denied access; ", "MLFLOW_TRACKING_PASSWORD"),
        (403, "denied access; ", "MLFLOW_TRACKING_PASSWORD"),
    ],
)
def test_server_that_refuses(server: Server, status: int, words: str, hint: str) -> None:
    server.status = status
    message = error_message(f"http://user:hunter2@{server.address}")
    assert f"http://{server.address} {words}" in message
    assert hint in message


def test_missing_certificate(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_CLIENT_CERT_PATH", str(tmp_path / "missing.pem"))
    assert server.address in error_message(f"http://{server.address}")


@pytest.mark.parametrize(
    ("scheme", "path", "kind"),
    [
        ("http", "/", "tracking server"),
        *((f"postgresql{driver}", "/mlflow", "database") for driver in ("", "+psycopg2")),
        *((scheme, "/mlflow", "database") for scheme in ("mysql+pymysql", "mssql")),
    ],
)
def test_nothing_listens_at_the_address(scheme: str, path: str, kind: str) -> None:
    with socket.socket() as taken:  # so that no other process gets the port
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}{path}"
        message = error_message(f"{scheme}://user:hunter2@{address}?sslpassword=hunter2")
    assert message.startswith(f"no {kind} answers at {scheme}://{address} (")
    assert "--tracking-uri" in message


def test_server_without_a_host() -> None:
    assert "no tracking server answers at http://" in error_message("http://")


# Other databases


@pytest.mark.parametrize(
    ("uri", "addresses"),
    [
        ("postgresql://user:hunter2@db/mlflow", [("db", 5432)]),
        ("postgresql://db:5433/mlflow", [("db", 5433)]),
        ("mysql+pymysql://db/mlflow", [("db", 3306)]),
        ("mssql+pyodbc://db/mlflow", [("db", 1433)]),
        # A local socket, which only the driver can find.
        ("postgresql:///mlflow", []),
    ],
)
def test_address_of_a_database(
    monkeypatch: pytest.MonkeyPatch, uri: str, addresses: list[tuple[str, int]]
) -> None:
    requests = []

    def connect(address: tuple[str, int], timeout: float) -> socket.socket:
        requests.append(address)
        return socket.socket()

    monkeypatch.setattr(socket, "create_connection", connect)
    opened = []
    monkeypatch.setattr("mnist_bench.tracking.uri.check_server", lambda *of: opened.append(of[:3]))
    check_uri(uri, EXPERIMENT)
    assert requests == addresses
    assert opened == [(uri, without_credentials(uri), "MLflow")]


@pytest.mark.parametrize(
    "error",
    [TimeoutError("timed out"), socket.gaierror(-2, "Name not known"), UnicodeError("two dots")],
)
def test_unreachable_database(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def connect(address: tuple[str, int], timeout: float) -> socket.socket:
        raise error

    monkeypatch.setattr(socket, "create_connection", connect)
    message = error_message("postgresql://user:hunter2@db/mlflow")
    assert message.startswith("no database answers at postgresql://db/mlflow (")


def test_newest_schema_revision_is_that_of_the_installed_mlflow() -> None:
    import_mlflow()
    utils = importlib.import_module("mlflow.store.db.utils")
    assert newest_schema_revision() == utils._get_latest_schema_revision()
