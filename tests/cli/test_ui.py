"""`mnist-bench ui`: refused options, the started server, and no leaked password."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
from program import Bench, free_port, is_alive, restore_recorded_store, wait_until

from mnist_bench.cli import ui
from mnist_bench.core.signals import Terminated

SECRET = "hunter2"


@dataclass
class Server:
    """A fake of MLflow's process.

    Attributes:
        end: Its exit status, or the exception raised while waiting for it.
        commands: The started command lines.
        environments: Their environments.
        ended: How often it was ended.
    """

    end: int | type[BaseException] = 0
    commands: list[list[str]] = field(default_factory=list)
    environments: list[dict[str, str]] = field(default_factory=list)
    ended: int = 0

    def start(self, command: list[str], *, env: dict[str, str], **_: Any) -> Server:
        self.commands.append(command)
        self.environments.append(env)
        return self

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


def test_without_a_database(bench: Bench, server: Server) -> None:
    ended = bench.call("ui")
    assert (ended.status, ended.stdout) == (2, "")
    assert len(ended.stderr.splitlines()) == 1
    for words in ("no runs are recorded in mlflow.db", "`mnist-bench run smoke`"):
        assert words in ended.error_line
    assert server.commands == []
    assert list(bench.folder.iterdir()) == []


def test_a_port_that_is_taken(
    bench: Bench, database: Path, server: Server, taken_port: int
) -> None:
    ended = bench.call("ui", "--port", str(taken_port))
    assert (ended.status, ended.stdout) == (2, "")
    assert f"port {taken_port} is taken" in ended.error_line
    assert server.commands == []


# Tracking servers


@pytest.mark.parametrize("from_environment", [False, True], ids=["flag", "environment"])
def test_the_address_of_a_tracking_server_is_printed(
    bench: Bench, server: Server, *, from_environment: bool
) -> None:
    uri = "http://127.0.0.1:5000"
    if from_environment:
        ended = bench.call("ui", MLFLOW_TRACKING_URI=uri)
    else:
        ended = bench.call("ui", "--tracking-uri", uri)
    assert (ended.status, ended.stderr) == (0, "")
    assert ended.stdout.rstrip().endswith(uri)
    assert server.commands == []


def test_the_address_is_printed_without_credentials(bench: Bench, server: Server) -> None:
    uri = f"https://somebody:{SECRET}@tracking.example/mlflow"
    ended = bench.call("ui", MLFLOW_TRACKING_URI=uri)
    assert (ended.status, ended.stderr) == (0, "")
    assert ended.stdout.rstrip().endswith("https://tracking.example/mlflow")
    assert SECRET not in ended.stdout
    assert "somebody" not in ended.stdout


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


def test_telemetry_can_be_turned_on(bench: Bench, database: Path, server: Server) -> None:
    bench.call("ui", "--port", str(free_port()), MLFLOW_DISABLE_TELEMETRY="false")
    (environment,) = server.environments
    assert environment["MLFLOW_DISABLE_TELEMETRY"] == "false"


def test_default_port_if_it_is_free(
    bench: Bench, database: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    monkeypatch.setattr(ui, "DEFAULT_PORT", port)
    assert port_in(bench.call("ui").stdout) == port


def test_another_port_if_the_default_is_taken(
    bench: Bench,
    database: Path,
    server: Server,
    taken_port: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ui, "DEFAULT_PORT", taken_port)
    chosen = port_in(bench.call("ui").stdout)
    assert chosen != taken_port
    assert str(chosen) in server.commands[0]


def test_the_address_is_printed_before_the_server_starts(
    database: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed: list[tuple[str, int]] = []
    monkeypatch.chdir(database.parent)
    ui.serve("sqlite:///mlflow.db", None, lambda line: printed.append((line, len(server.commands))))
    ((line, started),) = printed
    assert started == 0
    assert port_in(line)
    assert len(server.commands) == 1


def test_a_password_is_neither_printed_nor_on_the_command_line(
    bench: Bench, server: Server, taken_port: int
) -> None:
    uri = f"postgresql://somebody:{SECRET}@127.0.0.1:{taken_port}/runs"
    server.end = 1
    ended = bench.call("ui", "--port", str(free_port()), MLFLOW_TRACKING_URI=uri)
    assert SECRET not in " ".join(server.commands[0])
    assert SECRET not in ended.stdout + ended.stderr
    assert server.environments[0]["MLFLOW_BACKEND_STORE_URI"] == uri


# The end


def test_a_server_that_fails(bench: Bench, database: Path, server: Server) -> None:
    server.end = 3
    ended = bench.call("ui", "--port", str(free_port()))
    assert ended.status == 1
    assert len(ended.stderr.splitlines()) == 1
    for words in ("exit status 3", "`mlflow db upgrade sqlite:///mlflow.db`"):
        assert words in ended.error_line
    assert server.ended == 1


@pytest.mark.parametrize(
    ("end", "status", "word"),
    [(KeyboardInterrupt, 130, "interrupted"), (Terminated, 143, "terminated")],
)
def test_an_interruption_ends_the_server(
    bench: Bench, database: Path, server: Server, end: type[BaseException], status: int, word: str
) -> None:
    server.end = end
    ended = bench.call("ui", "--port", str(free_port()))
    assert ended.status == status
    assert ended.stderr.strip() == f"mnist-bench: {word}"
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


def test_studies_need_the_dashboard(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ui, "find_spec", lambda _name: None)
    ended = bench.call("ui", "--studies")
    assert ended.status == 2
    assert "pip install 'mnist-bench[dashboard]'" in ended.error_line


def test_studies_must_exist(bench: Bench) -> None:
    ended = bench.call("ui", "--studies")
    assert (ended.status, "no studies are recorded yet" in ended.error_line) == (2, True)


def test_studies_are_served_to_this_machine(bench: Bench) -> None:
    restore_recorded_store(bench.folder)
    port = free_port()
    with bench.started("ui", "--studies", "--port", str(port)) as running:
        running.until(lambda: f"http://127.0.0.1:{port}" in running.stdout(), 60)
        answer = running.until(lambda: get(port, "/api/studies"), 60)
        assert [study["study_name"] for study in json.loads(answer)["study_summaries"]] == ["small"]
        if sys.platform != "win32":  # Ctrl-C reaches a whole console there, the tests too
            running.process.send_signal(signal.SIGINT)
            assert running.ended(60).status == 130


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
