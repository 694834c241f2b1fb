"""Takes away what the suite writes to while it trains: the disk, the database, the server."""

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
from place import Place, Training, still_runs_when
from program import Bench, Ended, Running, free_port, is_up
from witness import Witness

_LONG_SECONDS = 600.0
_LOCK_SECONDS = 30.0
_DISK_BYTES = 96 * 2**20
_LONG_STEPS = 2_400
"""So long that an outage of half a minute ends before its training does, more or less."""

_HOLD = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
if sys.argv[2] != "None":
    time.sleep(float(sys.argv[2]))
else:
    sys.stdin.read()
connection.execute("ROLLBACK")
"""


@dataclass
class Outage:
    """What came of a fault.

    Attributes:
        skipped: Why it could not be tried here; empty where it was.
        findings: What was wrong after the next command.
        notes: What else was seen.
    """

    skipped: str = ""
    findings: Findings = field(default_factory=Findings)
    notes: list[str] = field(default_factory=list)

    def saw(self, ended: Ended, noted: Witness, before: int) -> None:
        """Keep how the command went on and what it said, but for its document."""
        self.notes.append(
            f"exit status {ended.status}, {noted.count('scored')} scorings shown, "
            f"{before} of them before the fault"
        )
        self.notes += [
            line for line in ended.stderr.splitlines() if "MLflow" in line or "mlruns" in line
        ]


def training(images: Path | None, *, long: bool = False) -> Training:
    """What is trained under a fault."""
    steps = (_LONG_STEPS // 2, _LONG_STEPS) if long else (60, 120)
    return Training(steps=steps, every=100 if long else 10, images=images)


def database_locked(folder: Path, images: Path | None, seconds: float | None) -> Outage:
    """Another process holds the database: for so long, or until the command has ended."""
    place, outage = Place(folder, training(images, long=seconds is not None)), Outage()
    place.first_command()
    with place.started() as (running, noted):
        before = _once_shown(running, noted)
        with _held(place.folder / "mlflow.db", seconds):
            if seconds is None:
                running.ended(_LONG_SECONDS)
        outage.notes.append(f"{noted.count('scored')} scorings shown when the lock was released")
        ended = running.ended(_LONG_SECONDS)
    outage.saw(ended, noted, before)
    noted.testify(place.evidence, unfinished="KILLED")
    outage.findings += _about(ended) + place.settle_and_check()
    return outage


def server_gone(folder: Path, images: Path | None, *, comes_back: bool) -> Outage:
    """The tracking server dies while a training goes on, and comes back in it or after it."""
    server = _Server(folder / "server")
    outage = Outage()
    with contextlib.ExitStack() as served:
        served.enter_context(server.running())
        place = Place(folder / "user", training(images, long=comes_back), server.address)
        place.first_command()
        with place.started() as (running, noted):
            before = _once_shown(running, noted)
            served.close()
            if comes_back:
                still_runs_when(running, lambda: noted.count("scored") > before + 1, 120)
                served.enter_context(server.running())
            ended = running.ended(_LONG_SECONDS)
        if not comes_back:
            served.enter_context(server.running())
        outage.saw(ended, noted, before)
        noted.testify(place.evidence, unfinished="KILLED")
        outage.findings += _about(ended) + place.settle_and_check(server.database)
    return outage


def disk_full(folder: Path, images: Path | None) -> Outage:
    """The disk that holds the user's folder has no byte left from the first scoring on."""
    outage = Outage()
    with contextlib.ExitStack() as stack:
        try:
            disk = stack.enter_context(_small_disk(folder))
        except OSError as error:
            return Outage(skipped=f"no small disk can be made here: {error}")
        place = Place(folder / "user", training(images), disk=disk)
        place.first_command()
        with place.started() as (running, noted):
            before = _once_shown(running, noted)
            noted.testify(place.evidence, unfinished="KILLED")
            with _filled(disk):
                ended = running.ended(_LONG_SECONDS)
        outage.saw(ended, noted, before)
        # How its rows ended nobody could write down: none may go on, no more can be asked.
        for row in place.evidence.ended:
            place.evidence.ended[row] = frozenset({"FINISHED", "KILLED", "FAILED"})
        outage.findings += _about(ended) + _printed(ended) + place.settle_and_check()
    return outage


FAULTS: dict[str, Callable[[Path, Path | None], Outage]] = {
    "disk full": disk_full,
    "database locked for 30 s": functools.partial(database_locked, seconds=_LOCK_SECONDS),
    "database locked to the command's end": functools.partial(database_locked, seconds=None),
    "server dies, comes back amid the training": functools.partial(server_gone, comes_back=True),
    "server dies, is back for the next command": functools.partial(server_gone, comes_back=False),
}


def _once_shown(running: Running, noted: Witness) -> int:
    """Wait for the first scorings; how many were shown."""
    if not still_runs_when(running, lambda: noted.count("scored") > 1, _LONG_SECONDS):
        raise RuntimeError(f"the command ended before the fault: {running.stderr()}")
    return noted.count("scored")


def _about(ended: Ended) -> Findings:
    """A fault of the store must reach the user as words."""
    words = ("the command ended in a traceback",) if "Traceback" in ended.stderr else ()
    return Findings(damaged=words)


def _printed(ended: Ended) -> Findings:
    """What can't be written down must be printed: every row with its figures."""
    try:
        runs: list[dict[str, Any]] = ended.document["runs"]
    except ValueError:
        return Findings(lost=(f"no document was printed: {ended.stderr[-300:]}",))
    bare = [run["steps"] for run in runs if run["max_test_accuracy"] is None]
    return Findings(lost=tuple(f"row {steps} was printed without figures" for steps in bare))


@contextlib.contextmanager
def _held(database: Path, seconds: float | None) -> Iterator[None]:
    """Keep a database from everybody else for so long, and to the block's end."""
    command = (sys.executable, "-c", _HOLD, str(database), str(seconds))
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe) as holder:
        if holder.stdout is None or not holder.stdout.readline():
            raise RuntimeError("the database could not be locked")
        yield


@contextlib.contextmanager
def _small_disk(folder: Path) -> Iterator[Path]:
    """A small file system in memory, where the system and its rights allow one."""
    disk = folder / "disk"
    disk.mkdir(parents=True)
    options = f"size={_DISK_BYTES}"
    command = ("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk))
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode:
        raise OSError(errno.EPERM, " ".join(made.stderr.split()) or "mount refused")
    try:
        yield disk
    finally:
        subprocess.run(("umount", "-l", str(disk)), check=True)  # noqa: S607


@contextlib.contextmanager
def _filled(disk: Path) -> Iterator[None]:
    """Leave no byte free."""
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
    """MLflow's tracking server on this machine, started and ended as often as asked.

    Args:
        folder: Of its database and its artifacts; made here.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._bench = Bench(folder)
        self._port = free_port()

    @property
    def address(self) -> str:
        """For MLFLOW_TRACKING_URI."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def database(self) -> Path:
        """What it writes to."""
        return self._bench.folder / "served.db"

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """The server, until it is killed with all its processes."""
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
