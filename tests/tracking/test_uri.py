"""The tracking URI: checks, and no secrets in messages."""

from __future__ import annotations

import base64
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

from mnist_bench.core.errors import EXIT_USAGE, BenchError
from mnist_bench.tracking.mlflow_store import to_bench_error
from mnist_bench.tracking.uri import (
    DEFAULT_TRACKING_URI,
    check_uri,
    is_server,
    redact,
    refuse_password,
    schema_revision,
    sqlite_file,
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


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that is bound, so that no other process gets it, but does not listen."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def error_message(uri: str, experiment: str = EXPERIMENT) -> str:
    """The error message for a rejected URI."""
    with pytest.raises(BenchError) as caught:
        check_uri(uri, experiment)
    assert caught.value.exit_status == EXIT_USAGE
    return str(caught.value)


# Secrets


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("sqlite:///mlflow.db", "sqlite:///mlflow.db"),
        ("sqlite:////srv/mlflow.db", "sqlite:////srv/mlflow.db"),
        ("sqlite:////srv/me@home/mlflow.db", "sqlite:////srv/me@home/mlflow.db"),
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


@pytest.mark.parametrize("slashes", ["///", "////srv/"])
def test_an_sqlite_uri_keeps_its_slashes(slashes: str) -> None:
    # With fewer of them it would name another file, or none.
    shown = without_credentials(f"sqlite:{slashes}mlflow.db?timeout=5")
    assert shown == f"sqlite:{slashes}mlflow.db"


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
    assert "hunter2" not in message
    for use in (without_credentials, is_server):
        with pytest.raises(BenchError, match="can't be parsed"):
            use(uri)


@pytest.mark.parametrize(
    "uri",
    [
        "sqlite://user:hunter2@host/mlflow.db",
        "ftp://user:hunter2@host/mlruns",
        "user:hunter2@host:5000",  # http:// is missing
    ],
)
def test_error_contains_no_secret(uri: str) -> None:
    assert "hunter2" not in error_message(uri)


@pytest.mark.parametrize(
    "uri",
    [
        "http://user:hunter2@host",
        "http://:hunter2@host",
        "postgresql://user:hunter2@db:5432/mlflow",
        "postgresql://db/mlflow?user=me&password=hunter2",
        "postgresql://db/mlflow?sslPassword=hunter2",
    ],
)
def test_password_on_the_command_line(uri: str) -> None:
    with pytest.raises(BenchError) as caught:
        refuse_password(uri, "--tracking-uri", "set a variable")
    message = str(caught.value)
    assert message.startswith("--tracking-uri contains a password")
    assert "set a variable" in message
    assert "hunter2" not in message
    assert caught.value.exit_status == EXIT_USAGE


@pytest.mark.parametrize(
    "uri",
    [
        "sqlite:///mlflow.db",
        "http://host:5000",
        "http://user@host:5000",
        "postgresql://user@db/mlflow?sslmode=require",
        "mlruns",
    ],
)
def test_no_password_on_the_command_line(uri: str) -> None:
    assert refuse_password(uri, "--tracking-uri", "set a variable") is None


# Kind of URI


@pytest.mark.parametrize(
    ("uri", "server"),
    [
        ("http://host:5000", True),
        ("HTTPS://host", True),
        ("sqlite:///mlflow.db", False),
        ("postgresql://db/mlflow", False),
        ("mlruns", False),
    ],
)
def test_is_server(uri: str, *, server: bool) -> None:
    assert is_server(uri) is server


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("sqlite:///mlflow.db", Path("mlflow.db")),
        ("sqlite:///data/mlflow.db", Path("data/mlflow.db")),
        ("sqlite:////srv/mlflow.db", Path("/srv/mlflow.db")),
        ("sqlite:///mlflow.db?timeout=5", Path("mlflow.db")),
        ("sqlite://", None),
        ("http://host:5000", None),
        ("mlflow.db", None),
    ],
)
def test_sqlite_file(uri: str, path: Path | None) -> None:
    assert sqlite_file(uri) == path


# Unusable URIs


def test_default_experiment_of_mlflow() -> None:
    message = error_message(DEFAULT_TRACKING_URI, "Default")
    assert message.startswith("experiment Default is MLflow's own")
    assert "choose another --experiment" in message


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "mlruns",
        "./mlruns",
        "/srv/mlruns",
        "file:///srv/mlruns",
        r"C:\mlruns",
        "ftp://host",
        "databricks",
    ],
)
def test_neither_database_nor_server(uri: str) -> None:
    message = error_message(uri)
    assert message.startswith(f"can't record runs at {uri!r}; give sqlite:///mlflow.db")


# SQLite


def database(path: Path, *statements: str) -> Path:
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()
    return path


def test_sqlite_file_that_will_be_created(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check_uri(DEFAULT_TRACKING_URI, EXPERIMENT)
    check_uri(f"sqlite:///{tmp_path}/mlflow.db", EXPERIMENT)
    assert list(tmp_path.iterdir()) == []


def test_existing_sqlite_file(tmp_path: Path) -> None:
    path = database(tmp_path / "mlflow.db", "CREATE TABLE runs (id TEXT)")
    content = path.read_bytes()
    check_uri(f"sqlite:///{path}", EXPERIMENT)
    assert path.read_bytes() == content


@pytest.mark.parametrize("uri", ["sqlite://", "sqlite:///", "sqlite://host/mlflow.db"])
def test_sqlite_without_a_file(uri: str) -> None:
    assert error_message(uri).startswith("the sqlite URI names no file; write it like sqlite:///")


def test_sqlite_in_a_missing_folder(tmp_path: Path) -> None:
    message = error_message(f"sqlite:///{tmp_path}/missing/mlflow.db")
    assert (
        message == f"no folder {tmp_path / 'missing'} for the database mlflow.db; create it first"
    )
    assert not (tmp_path / "missing").exists()


def test_sqlite_file_that_is_not_a_database(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    path.write_bytes(b"This is not a database.\n" * 500)
    message = error_message(f"sqlite:///{path}")
    assert message.startswith(f"{path} can't be used as a database: file is not a database; ")
    assert path.read_bytes() == b"This is not a database.\n" * 500


def test_folder_in_place_of_the_sqlite_file(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    path.mkdir()
    assert error_message(f"sqlite:///{path}").startswith(f"{path} can't be used as a database: ")


def test_schema_revision(tmp_path: Path) -> None:
    table = "CREATE TABLE alembic_version (version_num TEXT)"
    row = "INSERT INTO alembic_version VALUES ('bf29a5ff90ea')"
    missing = tmp_path / "missing.db"
    assert schema_revision(missing) is None
    assert not missing.exists()
    assert schema_revision(database(tmp_path / "empty.db")) is None
    assert schema_revision(database(tmp_path / "no-row.db", table)) is None
    assert schema_revision(database(tmp_path / "made.db", table, row)) == "bf29a5ff90ea"


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


def test_server_that_responds(server: Server) -> None:
    check_uri(f"http://{server.address}", EXPERIMENT)
    check_uri(f"http://{server.address}/prefix/", EXPERIMENT)
    assert server.requests == ["/health", "/prefix/health"]


def test_server_that_does_not_respond(closed_port: int) -> None:
    message = error_message(f"http://user:hunter2@127.0.0.1:{closed_port}/?password=hunter2")
    assert message.startswith(f"no tracking server answers at http://127.0.0.1:{closed_port}/ (")
    assert "--tracking-uri" in message
    assert "hunter2" not in message


def test_server_without_a_host() -> None:
    assert "no tracking server answers at http://" in error_message("http://")


@pytest.mark.parametrize("status", [404, 500])
def test_address_of_something_else(server: Server, status: int) -> None:
    server.status = status
    message = error_message(f"http://user:hunter2@{server.address}")
    assert message.startswith(
        f"http://{server.address} is not an MLflow tracking server (status {status}); "
    )


@pytest.mark.parametrize("status", [401, 403])
def test_server_that_denies_access(server: Server, status: int) -> None:
    server.status = status
    message = error_message(f"http://user:hunter2@{server.address}")
    assert message.startswith(f"the tracking server at http://{server.address} denied access")
    assert "MLFLOW_TRACKING_PASSWORD" in message
    assert "hunter2" not in message


def test_user_and_password_in_the_uri(server: Server) -> None:
    server.password = basic("user", "hunter2")
    check_uri(f"http://user:hunter2@{server.address}", EXPERIMENT)


def test_user_and_password_from_mlflows_variables(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The hint of the error must work behind a proxy that protects every path.
    server.password = basic("user", "hunter2")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "user")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "hunter2")
    check_uri(f"http://{server.address}", EXPERIMENT)


def test_token_from_mlflows_variable(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.password = "Bearer hunter2"
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "hunter2")
    check_uri(f"http://{server.address}", EXPERIMENT)


def test_missing_certificate(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_CLIENT_CERT_PATH", str(tmp_path / "missing.pem"))
    assert server.address in error_message(f"http://{server.address}")


# Other databases


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg2", "mysql+pymysql", "mssql"])
def test_database_that_does_not_respond(closed_port: int, scheme: str) -> None:
    message = error_message(
        f"{scheme}://user:hunter2@127.0.0.1:{closed_port}/mlflow?sslpassword=hunter2"
    )
    assert message.startswith(f"no database answers at {scheme}://127.0.0.1:{closed_port}/mlflow (")
    assert "--tracking-uri" in message
    assert "hunter2" not in message


def test_database_that_responds() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        check_uri(f"postgresql://user:hunter2@127.0.0.1:{port}/mlflow", EXPERIMENT)


@pytest.mark.parametrize(
    ("uri", "addresses"),
    [
        ("postgresql://db/mlflow", [("db", 5432)]),
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
    check_uri(uri, EXPERIMENT)
    assert requests == addresses


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
    assert "hunter2" not in message


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
