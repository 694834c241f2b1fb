"""`mnist-bench` as users start it: in its own folder and home, without network access."""

from __future__ import annotations

import contextlib
import functools
import http.client
import io
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

import isolation
import psutil
import pytest
from factories import bundle

from mnist_bench.cli import main
from mnist_bench.core import locks
from mnist_bench.results.run import RunResult

Answer = TypeVar("Answer")

RUN_ARTIFACTS = {"result.json", "scenario.toml", "machine.json", "worker.log", "predictions.npz"}
"""Artifacts of a finished run in MLflow."""
RECORDED_BY_0_1_0 = Path(__file__).parent / "contract" / "recorded"
PROGRAM = (sys.executable, "-m", "mnist_bench")
"""Command line of the program."""

_CLOSED_PROXY = "http://127.0.0.1:9"
"""Nothing listens there, so that no request leaves the machine."""
_PROXIES = ("http_proxy", "https_proxy", "all_proxy")
_USER_PREFIXES = (
    *("TF_", "XLA_", "ONEDNN_", "DNNL_", "OMP_", "KMP_", "MKL_", "MALLOC_"),
    *("MLFLOW_", "_MLFLOW_", "MNIST_BENCH_"),
)
_TERMINAL_VARIABLES = frozenset(
    {"COLUMNS", "LINES", "FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"}
    | {"DO_NOT_TRACK", "PYTHONWARNINGS"}
)


def patched_program(code: str) -> tuple[str, ...]:
    """Command of the program that first runs some Python code in its process.

    Args:
        code: For example, code that patches a module.
    """
    return (sys.executable, "-c", f"{code}\nfrom mnist_bench.cli.main import main\nmain()\n")


def wait_until(condition: Callable[[], Answer], seconds: float) -> Answer:
    """Poll a condition until its result is true, and return it; fail after some seconds."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"waited {seconds:g} s without success")
        time.sleep(0.05)
    return answer


def free_port() -> int:
    """A free TCP port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_up(port: int) -> bool:
    """Whether an MLflow server answers on a local port; proxies are bypassed."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def is_alive(process: psutil.Process) -> bool:
    """Whether a process is running; a zombie is not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@dataclass(frozen=True)
class Ended:
    """Exit status and output of a command."""

    status: int
    stdout: str
    stderr: str

    @property
    def document(self) -> Any:
        """Standard output parsed as a single JSON document."""
        return json.loads(self.stdout)

    @property
    def error_line(self) -> str:
        """The error message: exactly one line of standard error, and no traceback."""
        lines = self.stderr.splitlines()
        found = [line for line in lines if line.startswith("mnist-bench: ")]
        assert len(found) == 1, self.stderr
        assert "Traceback" not in self.stderr, self.stderr
        return found[0]

    @property
    def stderr_line(self) -> str:
        """Standard error with line breaks removed, since the console wraps lines."""
        return " ".join(self.stderr.split())


@dataclass(frozen=True)
class Running:
    """A running command. Its output goes to files, since a full pipe would block it."""

    process: subprocess.Popen[bytes]
    out: Path
    err: Path

    def stdout(self) -> str:
        """Standard output so far."""
        return self.out.read_text(encoding="utf-8", errors="replace")

    def stderr(self) -> str:
        """Standard error so far."""
        return self.err.read_text(encoding="utf-8", errors="replace")

    def descendants(self) -> list[psutil.Process]:
        """Its child processes, recursively."""
        try:
            return psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def until(self, condition: Callable[[], Answer], seconds: float) -> Answer:
        """Wait for a condition; fail if the command ends first."""

        def check() -> Answer:
            status = self.process.poll()
            assert status is None, f"it ended with {status}: {self.stderr()}"
            return condition()

        return wait_until(check, seconds)

    def ended(self, seconds: float) -> Ended:
        """Wait for its end."""
        status = self.process.wait(seconds)
        return Ended(status, self.stdout(), self.stderr())


class Bench:
    """A user's working folder and home, with the sample in the cache.

    Args:
        parent: An empty folder.
    """

    def __init__(self, parent: Path) -> None:
        self.folder = parent / "here"
        self.home = parent / "home"
        self.temporary = parent / "tmp"
        for folder in (self.folder, self.home, self.temporary):
            folder.mkdir()
        with mock.patch.dict(os.environ, self.environment(), clear=True):
            isolation.copy_sample_to_cache()

    def environment(self, **variables: str) -> dict[str, str]:
        """Environment without the user's settings and without network access."""
        inherited = {name: value for name, value in os.environ.items() if not _is_removed(name)}
        proxies = dict.fromkeys((*_PROXIES, *map(str.upper, _PROXIES)), _CLOSED_PROXY)
        return (
            inherited
            | isolation.user_folders(self.home)
            | isolation.temporary_folder(self.temporary)
            | proxies
            | dict.fromkeys(("no_proxy", "NO_PROXY"), "127.0.0.1,localhost")
            | {"PYTHONUTF8": "1"}
            | variables
        )

    def call(self, *arguments: str, folder: Path | None = None, **variables: str) -> Ended:
        """Run the command in this process, which is faster than starting one.

        Args:
            arguments: After the program's name.
            folder: Working folder; `self.folder` by default.
            variables: Additional environment variables.
        """
        out, err = io.StringIO(), io.StringIO()
        with (
            _restored_signal_handlers(),
            _freed_locks(),
            prepared_tables(),
            mock.patch.dict(os.environ, self.environment(**variables), clear=True),
            mock.patch.object(sys, "argv", ["mnist-bench", *arguments]),
            contextlib.chdir(folder or self.folder),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            pytest.raises(SystemExit) as exit_,
        ):
            main.main()
        status = exit_.value.code or 0
        assert isinstance(status, int), status
        return Ended(status, out.getvalue(), err.getvalue())

    def call_with_store(self, *arguments: str) -> Ended:
        """`call` for commands that use MLflow, with an absolute database URL.

        MLflow caches databases by URL; the default URL is relative and the same in every test.
        """
        uri = f"sqlite:///{(self.folder / 'mlflow.db').as_posix()}"
        return self.call(*arguments, MLFLOW_TRACKING_URI=uri)

    def run(
        self,
        *arguments: str,
        seconds: float = 240,
        program: Sequence[str] = PROGRAM,
        **variables: str,
    ) -> Ended:
        """Run the command in a new process and wait for its end."""
        with self.started(*arguments, program=program, **variables) as running:
            return running.ended(seconds)

    @contextlib.contextmanager
    def started(
        self, *arguments: str, program: Sequence[str] = PROGRAM, **variables: str
    ) -> Iterator[Running]:
        """Start the command in a new process, which is killed on exit from the context."""
        number = len(list(self.home.glob("*.out")))
        out, err = self.home / f"{number}.out", self.home / f"{number}.err"
        with out.open("wb") as stdout, err.open("wb") as stderr, _ctrl_c_enabled():
            process = subprocess.Popen(
                (*program, *arguments),
                cwd=self.folder,
                env=self.environment(**variables),
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
            )
        running = Running(process, out, err)
        try:
            yield running
        finally:
            for child in running.descendants():
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()
            process.kill()
            process.wait()


class RecordedRuns:
    """The runs in a folder's database, read with MLflow's client."""

    def __init__(self, folder: Path) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow import MlflowClient

        uri = f"sqlite:///{(folder / 'mlflow.db').as_posix()}"
        self._client = MlflowClient(tracking_uri=uri, registry_uri=uri)

    def runs(self) -> list[Any]:
        experiment = self._client.get_experiment_by_name("mnist-bench")
        return list(self._client.search_runs([experiment.experiment_id]))

    def run(self, run_id: str) -> Any:
        return self._client.get_run(run_id)

    def set_tag(self, run_id: str, key: str, text: str) -> None:
        self._client.set_tag(run_id, key, text)

    def history(self, run_id: str, name: str) -> list[tuple[int, float]]:
        """Steps and values of a metric."""
        found = self._client.get_metric_history(run_id, name)
        return sorted((metric.step, metric.value) for metric in found)

    def artifacts(self, run_id: str) -> set[str]:
        return {file.path for file in self._client.list_artifacts(run_id)}

    def artifact(self, run_id: str, name: str) -> Path:
        return Path(self._client.download_artifacts(run_id, name))


def import_runs(
    bench: Bench, runs: list[RunResult], name: str = "theirs.zip", **machine_fields: Any
) -> Ended:
    ended = bench.call_with_store("import", bundle(bench.folder, name, runs, **machine_fields))
    assert ended.status == 0, ended.stderr
    return ended


def installed(*names: str) -> str:
    """Path of the first installed program; if there is none, fail in CI and skip elsewhere."""
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        debian = "apt-get install chromium chromium-driver default-jre-headless"
        message = f"{names[0]} is not installed (on Debian: {debian})"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return path


def _is_removed(name: str) -> bool:
    return name.upper().startswith(_USER_PREFIXES) or name.upper() in _TERMINAL_VARIABLES


@contextlib.contextmanager
def prepared_tables() -> Iterator[None]:
    """Copy prepared tables into new databases: MLflow's migrations take a second each."""
    utils = sys.modules.get("mlflow.store.db.utils")
    if utils is None:
        yield
        return
    filled = functools.partial(_copy_tables, utils._initialize_tables)
    with mock.patch.object(utils, "_initialize_tables", filled):
        yield


def _copy_tables(make: Callable[[Any], None], engine: Any) -> None:
    """Copy MLflow's empty tables into a new database."""
    with contextlib.closing(sqlite3.connect(":memory:")) as empty:
        empty.deserialize(_empty_database(make))
        with contextlib.closing(engine.raw_connection()) as connection:
            empty.backup(connection.driver_connection)


@functools.cache
def _empty_database(make: Callable[[Any], None]) -> bytes:
    """A database with MLflow's empty tables."""
    import sqlalchemy

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "empty.db"
        engine = sqlalchemy.create_engine(f"sqlite:///{file.as_posix()}")
        make(engine)
        engine.dispose()
        return file.read_bytes()


@contextlib.contextmanager
def _freed_locks() -> Iterator[None]:
    """Free the lock files as the end of a process does; the next command has another name."""
    try:
        yield
    finally:
        locks.release_all()
        locks._names.clear()


@contextlib.contextmanager
def _restored_signal_handlers() -> Iterator[None]:
    """Restore the signal handlers that the command replaces."""
    names = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows knows no SIGHUP
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    hooks = sys.unraisablehook, threading.excepthook
    try:
        yield
    finally:
        sys.unraisablehook, threading.excepthook = hooks
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _ctrl_c_enabled() -> Iterator[None]:
    """Enable Ctrl-C in a child: it is ignored if a shell started the tests in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def restore_recorded_store(folder: Path) -> None:
    """Unpack the store that 0.1.0 recorded, as MLflow and Optuna would have left it there."""
    import mlflow.store.db.utils  # what prepared_tables patches

    database = folder / "mlflow.db"
    uri = f"sqlite:///{database.as_posix()}"
    with prepared_tables():
        mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri).search_experiments()
    with zipfile.ZipFile(RECORDED_BY_0_1_0 / "store.zip") as archive:
        archive.extractall(folder)
    text = (folder / "store.json").read_text(encoding="utf-8")
    tables = json.loads(text.replace("{root}", folder.as_uri()))
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        for table, rows in tables.items():
            for row in rows:
                names, marks = ", ".join(row), ", ".join("?" * len(row))
                connection.execute(
                    f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(row.values())
                )
