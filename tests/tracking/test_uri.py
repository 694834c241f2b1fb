"""Where runs are recorded: what is refused, and that no secret is ever shown."""

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

from mnist_bench.core.errors import EXIT_WRONG_REQUEST, BenchError
from mnist_bench.tracking import uri as tracking
from mnist_bench.tracking.mlflow_errors import fault

EXPERIMENT = "mnist-bench"


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine's own servers are asked directly, whatever its user has set."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith("MLFLOW_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that is taken, so that nobody else gets it, and where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def refusal(uri: str, experiment: str = EXPERIMENT) -> str:
    """The one line of a URI that is refused."""
    with pytest.raises(BenchError) as caught:
        tracking.check(uri, experiment)
    assert caught.value.exit_status == EXIT_WRONG_REQUEST
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
    assert tracking.without_credentials(uri) == shown


@pytest.mark.parametrize("slashes", ["///", "////srv/"])
def test_an_sqlite_uri_keeps_its_slashes(slashes: str) -> None:
    # With fewer of them it would name another file, or none.
    shown = tracking.without_credentials(f"sqlite:{slashes}mlflow.db?timeout=5")
    assert shown == f"sqlite:{slashes}mlflow.db"


@pytest.mark.parametrize(
    "uri",
    [
        "http://host:port",
        "http://host:99999",
        "http://host:-1",
        "http://[::1",
        # A sign that is not percent-encoded ends the address in the middle of the password.
        "postgresql://user:hunter2/x@db/mlflow",
        "postgresql://user:1234/hunter2@db/mlflow",
        "http://user:hunter2#x@host",
        "http://user:1234#hunter2@host",
        "http://user:hunter2?x@host",
        "http://user:1234?hunter2@host",
        "http://user:hunter2@ho\u2100st",
    ],
)
def test_malformed_uri_is_refused_and_not_shown(uri: str) -> None:
    said = refusal(uri)
    assert said.startswith("the tracking URI can't be taken apart; percent-encode ")
    assert "hunter2" not in said
    for use in (tracking.without_credentials, tracking.is_server):
        with pytest.raises(BenchError, match="can't be taken apart"):
            use(uri)


@pytest.mark.parametrize(
    "uri",
    [
        "sqlite://user:hunter2@host/mlflow.db",
        "ftp://user:hunter2@host/mlruns",
        "user:hunter2@host:5000",  # http:// was forgotten
    ],
)
def test_refusal_shows_no_secret(uri: str) -> None:
    assert "hunter2" not in refusal(uri)


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
        tracking.refuse_password(uri, "--tracking-uri", "set a variable")
    said = str(caught.value)
    assert said.startswith("--tracking-uri holds a password")
    assert "set a variable" in said
    assert "hunter2" not in said
    assert caught.value.exit_status == EXIT_WRONG_REQUEST


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
    assert tracking.refuse_password(uri, "--tracking-uri", "set a variable") is None


# What stands behind a URI


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
    assert tracking.is_server(uri) is server


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
    assert tracking.sqlite_file(uri) == path


# What can't work is refused


def test_mlflows_own_experiment() -> None:
    said = refusal(tracking.DEFAULT_TRACKING_URI, "Default")
    assert said.startswith("experiment Default is MLflow's own")
    assert "choose another --experiment" in said


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
    said = refusal(uri)
    assert said.startswith(f"can't record runs at {uri!r}; give sqlite:///mlflow.db")


# SQLite


def database(path: Path, *statements: str) -> Path:
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()
    return path


def test_sqlite_file_that_will_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tracking.check(tracking.DEFAULT_TRACKING_URI, EXPERIMENT)
    tracking.check(f"sqlite:///{tmp_path}/mlflow.db", EXPERIMENT)
    assert list(tmp_path.iterdir()) == []


def test_sqlite_file_that_is_there(tmp_path: Path) -> None:
    path = database(tmp_path / "mlflow.db", "CREATE TABLE runs (id TEXT)")
    content = path.read_bytes()
    tracking.check(f"sqlite:///{path}", EXPERIMENT)
    assert path.read_bytes() == content


@pytest.mark.parametrize("uri", ["sqlite://", "sqlite:///", "sqlite://host/mlflow.db"])
def test_sqlite_without_a_file(uri: str) -> None:
    assert refusal(uri).startswith("the sqlite URI names no file; write it like sqlite:///")


def test_sqlite_in_a_missing_folder(tmp_path: Path) -> None:
    said = refusal(f"sqlite:///{tmp_path}/missing/mlflow.db")
    assert said == f"no folder {tmp_path / 'missing'} for the database mlflow.db; make it first"
    assert not (tmp_path / "missing").exists()


def test_sqlite_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    path.write_bytes(b"This is not a database.\n" * 500)
    said = refusal(f"sqlite:///{path}")
    assert said.startswith(f"{path} can't be used as a database: file is not a database; ")
    assert path.read_bytes() == b"This is not a database.\n" * 500


def test_sqlite_folder_in_the_files_place(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    path.mkdir()
    assert refusal(f"sqlite:///{path}").startswith(f"{path} can't be used as a database: ")


def test_schema_revision(tmp_path: Path) -> None:
    table = "CREATE TABLE alembic_version (version_num TEXT)"
    row = "INSERT INTO alembic_version VALUES ('bf29a5ff90ea')"
    missing = tmp_path / "missing.db"
    assert tracking.schema_revision(missing) is None
    assert not missing.exists()
    assert tracking.schema_revision(database(tmp_path / "empty.db")) is None
    assert tracking.schema_revision(database(tmp_path / "no-row.db", table)) is None
    assert tracking.schema_revision(database(tmp_path / "made.db", table, row)) == "bf29a5ff90ea"


# Servers


@dataclass
class Server:
    """One that answers as it is told, and remembers what it was asked.

    Attributes:
        status: Of its answers.
        password: Value of the header that it insists on; None where it lets everybody in.
        asked: Paths.
    """

    address: str = ""
    status: int = 200
    password: str | None = None
    asked: list[str] = field(default_factory=list)

    def answer(self, handler: BaseHTTPRequestHandler) -> int:
        self.asked.append(handler.path)
        if self.password not in (None, handler.headers["Authorization"]):
            return 401
        return self.status


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(made.answer(self))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
        made.address = f"127.0.0.1:{listener.server_address[1]}"
        serve = threading.Thread(target=listener.serve_forever, args=(0.01,), daemon=True)
        serve.start()
        yield made
        listener.shutdown()
        serve.join()


def basic(user: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def test_server_that_answers(server: Server) -> None:
    tracking.check(f"http://{server.address}", EXPERIMENT)
    tracking.check(f"http://{server.address}/prefix/", EXPERIMENT)
    assert server.asked == ["/health", "/prefix/health"]


def test_server_that_does_not_answer(closed_port: int) -> None:
    said = refusal(f"http://user:hunter2@127.0.0.1:{closed_port}/?password=hunter2")
    assert said.startswith(f"no tracking server answers at http://127.0.0.1:{closed_port}/ (")
    assert "--tracking-uri" in said
    assert "hunter2" not in said


def test_server_without_a_host() -> None:
    assert "no tracking server answers at http://" in refusal("http://")


@pytest.mark.parametrize("status", [404, 500])
def test_something_else_answers(server: Server, status: int) -> None:
    server.status = status
    said = refusal(f"http://user:hunter2@{server.address}")
    assert said.startswith(
        f"what answers at http://{server.address} is no MLflow tracking server (status {status}); "
    )


@pytest.mark.parametrize("status", [401, 403])
def test_server_that_wants_to_know_who_asks(server: Server, status: int) -> None:
    server.status = status
    said = refusal(f"http://user:hunter2@{server.address}")
    assert said.startswith(f"the tracking server at http://{server.address} does not let you in")
    assert "MLFLOW_TRACKING_PASSWORD" in said
    assert "hunter2" not in said


def test_user_and_password_in_the_uri(server: Server) -> None:
    server.password = basic("user", "hunter2")
    tracking.check(f"http://user:hunter2@{server.address}", EXPERIMENT)


def test_user_and_password_from_mlflows_variables(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The remedy that the refusal names must work behind a proxy that guards every path.
    server.password = basic("user", "hunter2")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "user")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "hunter2")
    tracking.check(f"http://{server.address}", EXPERIMENT)


def test_token_from_mlflows_variable(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.password = "Bearer hunter2"
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "hunter2")
    tracking.check(f"http://{server.address}", EXPERIMENT)


def test_certificate_that_is_not_there(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_CLIENT_CERT_PATH", str(tmp_path / "missing.pem"))
    assert server.address in refusal(f"http://{server.address}")


# Other databases


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg2", "mysql+pymysql", "mssql"])
def test_database_that_does_not_answer(closed_port: int, scheme: str) -> None:
    said = refusal(f"{scheme}://user:hunter2@127.0.0.1:{closed_port}/mlflow?sslpassword=hunter2")
    assert said.startswith(f"no database answers at {scheme}://127.0.0.1:{closed_port}/mlflow (")
    assert "--tracking-uri" in said
    assert "hunter2" not in said


def test_database_that_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        tracking.check(f"postgresql://user:hunter2@127.0.0.1:{port}/mlflow", EXPERIMENT)


@pytest.mark.parametrize(
    ("uri", "addresses"),
    [
        ("postgresql://db/mlflow", [("db", 5432)]),
        ("postgresql://db:5433/mlflow", [("db", 5433)]),
        ("mysql+pymysql://db/mlflow", [("db", 3306)]),
        ("mssql+pyodbc://db/mlflow", [("db", 1433)]),
        # A socket on this machine: only the driver knows where.
        ("postgresql:///mlflow", []),
    ],
)
def test_where_a_database_is_asked(
    monkeypatch: pytest.MonkeyPatch, uri: str, addresses: list[tuple[str, int]]
) -> None:
    asked = []

    def connect(address: tuple[str, int], timeout: float) -> socket.socket:
        asked.append(address)
        return socket.socket()

    monkeypatch.setattr(socket, "create_connection", connect)
    tracking.check(uri, EXPERIMENT)
    assert asked == addresses


@pytest.mark.parametrize(
    "error",
    [TimeoutError("timed out"), socket.gaierror(-2, "Name not known"), UnicodeError("two dots")],
)
def test_database_that_can_not_be_reached(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def connect(address: tuple[str, int], timeout: float) -> socket.socket:
        raise error

    monkeypatch.setattr(socket, "create_connection", connect)
    said = refusal("postgresql://user:hunter2@db/mlflow")
    assert said.startswith("no database answers at postgresql://db/mlflow (")
    assert "hunter2" not in said


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ('failed for user "somebody"', 'failed for user "…"'),
        ("no hun%2Fter2 and no hun/ter2 there", "no … and no … there"),
        ('invalid sslmode value: "odd"', 'invalid sslmode value: "…"'),
        ("somebody's oddities", "…'s oddities"),
    ],
)
def test_what_a_driver_quotes_of_a_uri_is_left_out(said: str, told: str) -> None:
    uri = "postgresql://somebody:hun%2Fter2@127.0.0.1:5432/studies?sslmode=odd"
    assert tracking.without_parts_of(uri, said) == told
    found = fault(Exception(f"(psycopg.OperationalError) {said}"), uri, "asking")
    assert found.message.endswith(f"failed while asking: {told}")
