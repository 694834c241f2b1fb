"""`mnist-bench` as people start it: in a folder and a home of its own, and without a network."""

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
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

import psutil
import pytest
from factories import bundle

from mnist_bench.cli import main
from mnist_bench.data import mnist
from mnist_bench.results.run import RunResult

Answer = TypeVar("Answer")

RUN_ARTIFACTS = {"result.json", "scenario.toml", "machine.json", "worker.log", "predictions.npz"}
"""What MLflow keeps of a finished run."""
PROGRAM = (sys.executable, "-m", "mnist_bench")
"""What starts it."""

_CLOSED_PROXY = "http://127.0.0.1:9"
"""Nobody listens there, so that nothing gets out."""
_PROXIES = ("http_proxy", "https_proxy", "all_proxy")
_OF_THE_USER = ("MLFLOW_", "_MLFLOW_", "MNIST_BENCH_")
_OF_THE_TERMINAL = frozenset(
    {"COLUMNS", "LINES", "FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"}
    | {"DO_NOT_TRACK", "PYTHONWARNINGS"}
)


def altered(before: str) -> tuple[str, ...]:
    """The program with something else done first, in the same process.

    Args:
        before: Python that puts a stand-in where the test needs one.
    """
    return (sys.executable, "-c", f"{before}\nfrom mnist_bench.cli.main import main\nmain()\n")


def wait_until(condition: Callable[[], Answer], seconds: float) -> Answer:
    """Ask again and again until the answer is something; fail after so many seconds."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"waited {seconds:g} s in vain")
        time.sleep(0.05)
    return answer


def free_port() -> int:
    """A port where nobody listens yet."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_up(port: int) -> bool:
    """Whether an MLflow server answers there; no proxy stands between."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def is_alive(process: psutil.Process) -> bool:
    """Whether it still runs; one that has ended and was not asked for its status does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@dataclass(frozen=True)
class Ended:
    """What came of a command.

    Attributes:
        status: Its exit status.
        stdout: All that it printed for whom it may concern.
        stderr: All that it printed beside.
    """

    status: int
    stdout: str
    stderr: str

    @property
    def document(self) -> Any:
        """Its standard output, which must be one JSON document and nothing else."""
        return json.loads(self.stdout)

    @property
    def complaint(self) -> str:
        """The line that says what is wrong; there must be one and no more."""
        lines = self.stderr.splitlines()
        found = [line for line in lines if line.startswith("mnist-bench: ")]
        assert len(found) == 1, self.stderr
        assert "Traceback" not in self.stderr, self.stderr
        return found[0]

    @property
    def told(self) -> str:
        """Standard error as one line: a console breaks lines where it likes."""
        return " ".join(self.stderr.split())


@dataclass(frozen=True)
class Running:
    """A command that goes on; its output goes to files, since a full pipe would stop it.

    Attributes:
        process: Of it.
        out: File of its standard output.
        err: File of its standard error.
    """

    process: subprocess.Popen[bytes]
    out: Path
    err: Path

    def stdout(self) -> str:
        """What it has printed so far."""
        return self.out.read_text(encoding="utf-8", errors="replace")

    def stderr(self) -> str:
        """What it has printed beside so far."""
        return self.err.read_text(encoding="utf-8", errors="replace")

    def family(self) -> list[psutil.Process]:
        """The processes that it has started, and those that these have."""
        try:
            return psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def until(self, condition: Callable[[], Answer], seconds: float) -> Answer:
        """Wait for what must happen while it goes on."""

        def asked() -> Answer:
            status = self.process.poll()
            assert status is None, f"it ended with {status}: {self.stderr()}"
            return condition()

        return wait_until(asked, seconds)

    def ended(self, seconds: float) -> Ended:
        """Wait for its end."""
        status = self.process.wait(seconds)
        return Ended(status, self.stdout(), self.stderr())


class Bench:
    """A user's folder and home, with `mnist-bench` at hand and the sample in the cache.

    Args:
        parent: An empty folder for both.
    """

    def __init__(self, parent: Path) -> None:
        self.folder = parent / "here"
        self.home = parent / "home"
        self.temporary = parent / "tmp"
        for folder in (self.folder, self.home, self.temporary):
            folder.mkdir()
        with mock.patch.dict(os.environ, self.environment(), clear=True):
            cache = mnist.cache_folder()
        cache.mkdir(parents=True)
        shutil.copy(_sample_file(), cache)

    def environment(self, **variables: str) -> dict[str, str]:
        """The tests' own, less what would let a user's settings or a network in."""
        kept = {name: value for name, value in os.environ.items() if not _is_foreign(name)}
        folders = {
            "HOME": self.home,
            "USERPROFILE": self.home,
            "XDG_CACHE_HOME": self.home / ".cache",
            "XDG_CONFIG_HOME": self.home / ".config",
            "XDG_STATE_HOME": self.home / ".state",
            "APPDATA": self.home / "AppData" / "Roaming",
            "LOCALAPPDATA": self.home / "AppData" / "Local",
            # On Windows platformdirs asks the system and not the two above.
            "WIN_PD_OVERRIDE_LOCAL_APPDATA": self.home / "AppData" / "Local",
            "TMPDIR": self.temporary,
            "TEMP": self.temporary,
            "TMP": self.temporary,
        }
        proxies = dict.fromkeys((*_PROXIES, *map(str.upper, _PROXIES)), _CLOSED_PROXY)
        return (
            kept
            | {name: str(folder) for name, folder in folders.items()}
            | proxies
            | dict.fromkeys(("no_proxy", "NO_PROXY"), "127.0.0.1,localhost")
            | {"PYTHONUTF8": "1"}
            | variables
        )

    def call(self, *arguments: str, folder: Path | None = None, **variables: str) -> Ended:
        """The command inside this process, from the command line on: no second is lost.

        Args:
            arguments: After the program's name.
            folder: Where it is called, if not in `folder`.
            variables: More of its environment.
        """
        out, err = io.StringIO(), io.StringIO()
        with (
            _own_handlers(),
            _ready_made_tables(),
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

    def inside(self, *arguments: str) -> Ended:
        """`call` for commands that record something.

        MLflow keeps each database open by its name, and the default name is relative: it would be
        that of every test's database.
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
        """The command in a process of its own, from its start to its end."""
        with self.started(*arguments, program=program, **variables) as running:
            return running.ended(seconds)

    @contextlib.contextmanager
    def started(
        self, *arguments: str, program: Sequence[str] = PROGRAM, **variables: str
    ) -> Iterator[Running]:
        """The command in a process that does not outlive its test."""
        number = len(list(self.home.glob("*.out")))
        out, err = self.home / f"{number}.out", self.home / f"{number}.err"
        with out.open("wb") as stdout, err.open("wb") as stderr, _heeding_ctrl_c():
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
            for member in running.family():
                with contextlib.suppress(psutil.NoSuchProcess):
                    member.kill()
            process.kill()
            process.wait()


class RecordedRuns:
    """The runs in a folder's database, read with MLflow's own client."""

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

    def history(self, run_id: str, name: str) -> list[tuple[int, float]]:
        """A metric's values by step."""
        found = self._client.get_metric_history(run_id, name)
        return sorted((metric.step, metric.value) for metric in found)

    def artifacts(self, run_id: str) -> set[str]:
        return {file.path for file in self._client.list_artifacts(run_id)}

    def artifact(self, run_id: str, name: str) -> Path:
        return Path(self._client.download_artifacts(run_id, name))


def taken_in(bench: Bench, runs: list[RunResult], name: str = "theirs.zip", **of: Any) -> Ended:
    ended = bench.inside("import", bundle(bench.folder, name, runs, **of))
    assert ended.status == 0, ended.stderr
    return ended


def installed(*names: str) -> str:
    """The first of these programs that is there; CI must have one, a developer may not."""
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        debian = "apt-get install chromium chromium-driver default-jre-headless"
        told = f"{names[0]} is not installed (on Debian: {debian})"
        if os.environ.get("CI"):
            pytest.fail(told)
        pytest.skip(told)
    return path


def _is_foreign(name: str) -> bool:
    return name.upper().startswith(_OF_THE_USER) or name.upper() in _OF_THE_TERMINAL


@contextlib.contextmanager
def _ready_made_tables() -> Iterator[None]:
    """Spare new databases MLflow's own way to its tables, once it is loaded: it takes a second."""
    utils = sys.modules.get("mlflow.store.db.utils")
    if utils is None:
        yield
        return
    filled = functools.partial(_fill, utils._initialize_tables)
    with mock.patch.object(utils, "_initialize_tables", filled):
        yield


def _fill(make: Callable[[Any], None], engine: Any) -> None:
    """Copy MLflow's empty tables into a new database."""
    with contextlib.closing(sqlite3.connect(":memory:")) as empty:
        empty.deserialize(_empty_database(make))
        with contextlib.closing(engine.raw_connection()) as connection:
            empty.backup(connection.driver_connection)


@functools.cache
def _empty_database(make: Callable[[Any], None]) -> bytes:
    """MLflow's tables as MLflow makes them, and nothing in them."""
    import sqlalchemy

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "empty.db"
        engine = sqlalchemy.create_engine(f"sqlite:///{file.as_posix()}")
        make(engine)
        engine.dispose()
        return file.read_bytes()


@functools.cache
def _sample_file() -> Path:
    """The sample in the cache of whoever runs the tests: to parse it takes seconds."""
    return Path(mnist.find("mnist-5k", None, say=pytest.fail).location)


@contextlib.contextmanager
def _own_handlers() -> Iterator[None]:
    """Give the tests' process back its handlers, which the command replaces."""
    names = ("SIGTERM", "SIGHUP")  # Windows knows no SIGHUP
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    hook = sys.unraisablehook
    try:
        yield
    finally:
        sys.unraisablehook = hook
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _heeding_ctrl_c() -> Iterator[None]:
    """Let a child heed Ctrl-C: a shell that starts tests in the background has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
