"""`mnist-bench ui`: refused options, the started server, and no leaked password."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any
from wsgiref.simple_server import WSGIServer, make_server

import psutil
import pytest
from factories import open_test_study
from program import Bench, free_port, is_alive, wait_until

from mnist_bench.cli import ui
from mnist_bench.core.signals import Terminated

SECRET = "hunter2"
EXPERIMENT = b'{"experiment": {"experiment_id": "7"}}'


@dataclass
class Server:
    """A fake of MLflow's process, which ends with a status or an exception."""

    end: int | type[BaseException] = 0
    is_up: bool = True
    commands: list[list[str]] = field(default_factory=list)
    environments: list[dict[str, str]] = field(default_factory=list)
    ended: int = 0

    def start(self, command: list[str], *, env: dict[str, str], **_: Any) -> Server:
        self.commands.append(command)
        self.environments.append(env)
        return self

    def poll(self) -> int | None:
        return None if self.is_up or not isinstance(self.end, int) else self.end

    def wait(self) -> int:
        if isinstance(self.end, int):
            return self.end
        raise self.end

    def count_end(self, _: object) -> None:
        self.ended += 1


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    fake = Server()
    monkeypatch.setattr(ui.subprocess, "Popen", fake.start)
    monkeypatch.setattr(ui, "_end", fake.count_end)
    monkeypatch.setattr(ui, "_get", lambda _port, _path: EXPERIMENT)
    return fake


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def database(bench: Bench) -> Path:
    """An empty database file; no test opens it."""
    path = bench.folder / "mlflow.db"
    path.touch()
    return path


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port with a listening socket."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def port_in(text: str) -> int:
    """The port of the printed address."""
    (port,) = re.findall(r"http://127\.0\.0\.1:(\d+)", text)
    return int(port)


# Errors


@pytest.mark.usefixtures("server")
def test_without_runs_or_studies(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for line, words in (
        ("ui", ("no runs are recorded in mlflow.db", "`mnist-bench run smoke`")),
        ("ui --studies", ("no studies are recorded yet", "`mnist-bench tune`")),
    ):
        ended = bench.call(*line.split())
        assert (ended.status, ended.stdout) == (2, "")
        assert len(ended.stderr.splitlines()) == 1
        for each in words:
            assert each in ended.error_line
    monkeypatch.setattr(ui, "find_spec", lambda _name: None)
    ended = bench.call("ui", "--studies")
    assert ended.status == 2
    assert "pip install 'mnist-bench[dashboard]'" in ended.error_line
    assert list(bench.folder.iterdir()) == []


def test_a_port_that_is_taken(
    bench: Bench, database: Path, server: Server, taken_port: int
) -> None:
    ended = bench.call("ui", "--port", str(taken_port))
    assert (ended.status, ended.stdout) == (2, "")
    assert f"port {taken_port} is taken" in ended.error_line
    assert server.commands == []


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ("studies trials alembic_version", "mlflow.db is a database of Optuna; "),
        ("songs", "mlflow.db is not a database of MLflow; "),
        ("experiments runs alembic_version", "was made by another version of MLflow; "),
    ],
)
def test_databases_of_others_are_refused(
    bench: Bench, database: Path, server: Server, tables: str, words: str
) -> None:
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        for table in tables.split():
            connection.execute(f"CREATE TABLE {table} (version_num TEXT)")
        if "alembic" in tables:
            connection.execute("INSERT INTO alembic_version VALUES ('v3.0.0.a')")
    ended = bench.call("ui")
    assert (ended.status, ended.stdout, server.commands) == (2, "", [])
    assert words in ended.error_line


# Tracking servers


def test_the_address_of_a_tracking_server_is_printed(bench: Bench, server: Server) -> None:
    uri = "http://127.0.0.1:5000"
    for ended in (
        bench.call("ui", MLFLOW_TRACKING_URI=uri),
        bench.call("ui", "--tracking-uri", uri),
        bench.call("ui", MLFLOW_TRACKING_URI=f"http://somebody:{SECRET}@127.0.0.1:5000"),
    ):
        assert (ended.status, ended.stderr) == (0, "")
        assert ended.stdout.rstrip() == f"The tracking server shows these runs: {uri}"
    assert server.commands == []


# The started server


def test_the_server_has_one_worker_and_listens_on_localhost(
    bench: Bench, database: Path, server: Server
) -> None:
    port = free_port()
    ended = bench.call("ui", "--port", str(port))
    assert (ended.status, ended.stderr) == (0, "")
    assert port_in(ended.stdout) == port
    (command,), (environment,) = server.commands, server.environments
    assert command[0] == sys.executable
    line = " ".join(command)
    for words in ("-m mlflow ui", "--host 127.0.0.1", f"--port {port}", "--workers 1"):
        assert words in line
    assert environment["MLFLOW_BACKEND_STORE_URI"] == "sqlite:///mlflow.db"
    assert environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
    assert environment["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert server.ended == 1
    bench.call("ui", "--port", str(port), MLFLOW_DISABLE_TELEMETRY="false")
    assert server.environments[1]["MLFLOW_DISABLE_TELEMETRY"] == "false"


def test_default_port(
    bench: Bench, database: Path, server: Server, taken_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    monkeypatch.setattr(ui, "DEFAULT_PORT", port)
    assert port_in(bench.call("ui").stdout) == port
    monkeypatch.setattr(ui, "DEFAULT_PORT", taken_port)
    chosen = port_in(bench.call("ui").stdout)
    assert chosen != taken_port
    assert str(chosen) in server.commands[1]


def test_the_page_of_runs_is_opened_once_the_server_answers(
    database: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(database.parent)
    opened: list[str] = []
    answers = [EXPERIMENT, b"", None, None]
    printed: list[tuple[str, int]] = []
    monkeypatch.setattr(ui, "_get", lambda _port, _path: answers.pop())
    monkeypatch.setattr(ui, "_POLL_SECONDS", 0)
    monkeypatch.setattr(ui.webbrowser, "open", opened.append)
    for opens_browser in (True, False):
        ui.serve(
            *("sqlite:///mlflow.db", "mnist-bench", None),
            lambda line: printed.append((line, len(answers))),
            opens_browser=opens_browser,
        )
        answers.extend((EXPERIMENT, b""))
    (_, before), (line, after) = printed[:2]
    assert (before, after) == (4, 0)
    page = (
        f"http://127.0.0.1:{port_in(line)}/#/experiments/7/runs?workflowType=machine_learning"
        "&searchFilter=tags.bench.schema%20%3D%20%271%27"
    )
    assert line == f"Ready: {page}  (Ctrl-C stops it)"
    assert opened == [page]


def test_a_password_is_neither_printed_nor_on_the_command_line(
    bench: Bench, server: Server, taken_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = f"postgresql://somebody:{SECRET}@127.0.0.1:{taken_port}/runs"
    server.end = 1
    monkeypatch.setattr("mnist_bench.tracking.uri.check_server", lambda *_: None)
    ended = bench.call("ui", "--port", str(free_port()), MLFLOW_TRACKING_URI=uri)
    assert SECRET not in " ".join(server.commands[0])
    assert SECRET not in ended.stdout + ended.stderr
    assert server.environments[0]["MLFLOW_BACKEND_STORE_URI"] == uri


# The end


@pytest.mark.parametrize(
    ("end", "status", "message"),
    [
        (3, 1, "MLflow's UI ended with exit status 3; see its output in mlruns/ui.log"),
        (KeyboardInterrupt, 0, ""),
        (Terminated, 143, "terminated"),
    ],
)  # fmt: skip
def test_the_end_of_the_server(
    bench: Bench, database: Path, server: Server, end: Any, status: int, message: str
) -> None:
    server.end, server.is_up = end, status != 1
    ended = bench.call("ui", "--port", str(free_port()))
    line = ended.stderr.strip().removeprefix("mnist-bench: ")
    assert (ended.status, line) == (status, message)
    assert ("Ready: " in ended.stdout) == (status != 1)
    assert server.ended == 1


STUBBORN_TREE = """
import subprocess, sys
child = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True)"
subprocess.run([sys.executable, "-c", f"{child}; signal.pause()"])
"""


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
def test_child_processes_end_with_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ui, "_END_SECONDS", 0.2)
    with subprocess.Popen([sys.executable, "-c", STUBBORN_TREE], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"up\n"
        (child,) = psutil.Process(parent.pid).children()
        try:
            ui._end(parent)
            assert parent.poll() is not None
            wait_until(lambda: not is_alive(child), 10)
        finally:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
            parent.kill()


# Studies


def test_studies_are_served_to_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a thread, and not by the command, which only Ctrl-C ends."""
    monkeypatch.chdir(tmp_path)
    open_test_study("small")
    servers, lines, port = [], [], free_port()

    def make(*arguments: Any, **options: Any) -> WSGIServer:
        servers.append(make_server(*arguments, **options))
        return servers[0]

    monkeypatch.setattr(ui, "make_server", make)
    thread = Thread(
        target=ui.serve_studies, args=(None, port, lines.append), kwargs={"opens_browser": False}
    )
    thread.start()
    try:
        wait_until(lambda: servers, 60)
        answer = wait_until(lambda: get(port, "/api/studies"), 60)
    finally:
        servers[0].shutdown()
        thread.join(60)
    assert [study["study_name"] for study in json.loads(answer)["study_summaries"]] == ["small"]
    assert lines == [f"Ready: http://127.0.0.1:{port}/  (Ctrl-C stops it)"]
    assert servers[0].server_address[0] == "127.0.0.1"


def get(port: int, path: str) -> bytes | None:
    """The body that a local server returns; None while it does not accept connections."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path)
        return connection.getresponse().read()
    except ConnectionError:
        return None
    finally:
        connection.close()
