"""Takes the disk, the database or the server away while a training runs."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from invariants import Findings
from place import Training, WorkFolder, still_runs_when
from program import Bench, Ended, Running, free_port, is_up
from witness import Recording

_LONG_SECONDS = 600.0
_LOCK_SECONDS = 30.0
_DISK_BYTES = 96 * 2**20
_LONG_STEPS = 2_400
"""Long enough that the training usually outlasts an outage of half a minute."""

_LOCK_SCRIPT = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
if sys.argv[2] != "None":
    time.sleep(float(sys.argv[2]))
else:
    sys.stdin.read()
connection.execute("ROLLBACK")
"""


@dataclass
class Outage:
    """Result of an outage.

    Attributes:
        skipped: Why it could not be tried here; empty if it was.
        findings: Faults found after the next command.
        notes: Other observations.
    """

    skipped: str = ""
    findings: Findings = field(default_factory=Findings)
    notes: list[str] = field(default_factory=list)

    def add_notes(self, ended: Ended, recording: Recording, before: int) -> None:
        """Add the command's exit status, progress and warnings."""
        self.notes.append(
            f"exit status {ended.status}, {recording.count('scored')} scorings shown, "
            f"{before} of them before the fault"
        )
        self.notes += [
            line for line in ended.stderr.splitlines() if "MLflow" in line or "mlruns" in line
        ]


def training(images: Path | None, *, long: bool = False) -> Training:
    """The training during an outage."""
    steps = (_LONG_STEPS // 2, _LONG_STEPS) if long else (60, 120)
    return Training(steps=steps, every=100 if long else 10, images=images)


def database_locked(folder: Path, images: Path | None, seconds: float | None) -> Outage:
    """Another process locks the database for some seconds, or until the command ends."""
    work_folder, outage = WorkFolder(folder, training(images, long=seconds is not None)), Outage()
    work_folder.first_command()
    with work_folder.started() as (running, recording):
        before = _wait_for_evaluations(running, recording)
        with _locked(work_folder.folder / "mlflow.db", seconds):
            if seconds is None:
                running.ended(_LONG_SECONDS)
        outage.notes.append(
            f"{recording.count('scored')} scorings shown when the lock was released"
        )
        ended = running.ended(_LONG_SECONDS)
    outage.add_notes(ended, recording, before)
    recording.add_to(work_folder.expected, unfinished="KILLED")
    outage.findings += _check_no_traceback(ended) + work_folder.settle_and_check()
    return outage


def server_gone(folder: Path, images: Path | None, *, comes_back: bool) -> Outage:
    """The tracking server dies during a training, and comes back during or after it."""
    server = _Server(folder / "server")
    outage = Outage()
    with contextlib.ExitStack() as served:
        served.enter_context(server.running())
        work_folder = WorkFolder(folder / "user", training(images, long=comes_back), server.address)
        work_folder.first_command()
        with work_folder.started() as (running, recording):
            before = _wait_for_evaluations(running, recording)
            served.close()
            if comes_back:
                still_runs_when(running, lambda: recording.count("scored") > before + 1, 120)
                served.enter_context(server.running())
            ended = running.ended(_LONG_SECONDS)
        if not comes_back:
            served.enter_context(server.running())
        outage.add_notes(ended, recording, before)
        recording.add_to(work_folder.expected, unfinished="KILLED")
        outage.findings += _check_no_traceback(ended) + work_folder.settle_and_check(
            server.database
        )
    return outage


def disk_full(folder: Path, images: Path | None) -> Outage:
    """The disk of the working folder is full from the first evaluation on."""
    outage = Outage()
    with contextlib.ExitStack() as stack:
        try:
            disk = stack.enter_context(_small_disk(folder))
        except OSError as error:
            return Outage(skipped=f"no small disk can be made here: {error}")
        work_folder = WorkFolder(folder / "user", training(images), disk=disk)
        work_folder.first_command()
        with work_folder.started() as (running, recording):
            before = _wait_for_evaluations(running, recording)
            recording.add_to(work_folder.expected, unfinished="KILLED")
            with _filled(disk):
                ended = running.ended(_LONG_SECONDS)
        outage.add_notes(ended, recording, before)
        # The end could not be recorded: any status but RUNNING is allowed.
        for row in work_folder.expected.statuses:
            work_folder.expected.statuses[row] = frozenset({"FINISHED", "KILLED", "FAILED"})
        outage.findings += (
            _check_no_traceback(ended) + _check_printed_runs(ended) + work_folder.settle_and_check()
        )
    return outage


FAULTS: dict[str, Callable[[Path, Path | None], Outage]] = {
    "disk full": disk_full,
    "database locked for 30 s": functools.partial(database_locked, seconds=_LOCK_SECONDS),
    "database locked to the command's end": functools.partial(database_locked, seconds=None),
    "server dies, comes back amid the training": functools.partial(server_gone, comes_back=True),
    "server dies, is back for the next command": functools.partial(server_gone, comes_back=False),
}


def _wait_for_evaluations(running: Running, recording: Recording) -> int:
    """Wait for the first evaluations; return their number."""
    if not still_runs_when(running, lambda: recording.count("scored") > 1, _LONG_SECONDS):
        raise RuntimeError(f"the command ended before the fault: {running.stderr()}")
    return recording.count("scored")


def _check_no_traceback(ended: Ended) -> Findings:
    """Errors of the store must not be shown as a traceback."""
    words = ("the command ended in a traceback",) if "Traceback" in ended.stderr else ()
    return Findings(damaged=words)


def _check_printed_runs(ended: Ended) -> Findings:
    """Runs that can't be recorded must be printed with their values."""
    try:
        runs: list[dict[str, Any]] = ended.document["runs"]
    except ValueError:
        return Findings(lost=(f"no document was printed: {ended.stderr[-300:]}",))
    without_accuracy = [run["steps"] for run in runs if run["max_test_accuracy"] is None]
    return Findings(
        lost=tuple(f"row {steps} was printed without figures" for steps in without_accuracy)
    )


@contextlib.contextmanager
def _locked(database: Path, seconds: float | None) -> Iterator[None]:
    """Lock a database for some seconds, or until the context exits."""
    command = (sys.executable, "-c", _LOCK_SCRIPT, str(database), str(seconds))
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe) as holder:
        if holder.stdout is None or not holder.stdout.readline():
            raise RuntimeError("the database could not be locked")
        yield


@contextlib.contextmanager
def _small_disk(folder: Path) -> Iterator[Path]:
    """A small in-memory file system.

    Raises:
        OSError: The system does not permit it.
    """
    disk = folder / "disk"
    disk.mkdir(parents=True)
    options = f"size={_DISK_BYTES}"
    command = ("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk))
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        raise OSError(errno.EPERM, " ".join(mounted.stderr.split()) or "mount refused")
    try:
        yield disk
    finally:
        subprocess.run(("umount", "-l", str(disk)), check=True)  # noqa: S607


@contextlib.contextmanager
def _filled(disk: Path) -> Iterator[None]:
    """Fill a disk completely."""
    path = disk / "filler"
    with path.open("wb", buffering=0) as file:
        for size in (2**20, 2**12, 1):
            with contextlib.suppress(OSError):
                while file.write(bytes(size)) == size:
                    pass
        os.fsync(file.fileno())
    try:
        yield
    finally:
        path.unlink()


class _Server:
    """A local MLflow tracking server that can be started repeatedly.

    Args:
        folder: Of its database and artifacts; created here.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._bench = Bench(folder)
        self._port = free_port()

    @property
    def address(self) -> str:
        """Value of MLFLOW_TRACKING_URI."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def database(self) -> Path:
        """Its SQLite file."""
        return self._bench.folder / "served.db"

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Run the server; it is killed on exit."""
        command = (sys.executable, "-P", "-m", "mlflow", "server", "--host", "127.0.0.1")
        with self._bench.started(
            *("--port", str(self._port), "--workers", "1"),
            *("--backend-store-uri", "sqlite:///served.db"),
            program=command,
            MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false",
            MLFLOW_DISABLE_TELEMETRY="true",
        ) as server:
            server.until(lambda: is_up(self._port), 180)
            yield
