"""Takes the disk, the database or the server away while a training runs."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from invariants import Findings
from place import Training, WorkFolder, still_runs_when
from program import Bench, Ended, Running, free_port
from servers import tracking_server
from table import Line
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


def _training(images: Path | None, *, long: bool = False) -> Training:
    steps = (_LONG_STEPS // 2, _LONG_STEPS) if long else (60, 120)
    return Training(steps=steps, every=100 if long else 10, images=images)


def database_locked(folder: Path, images: Path | None, seconds: float | None) -> Line:
    """Another process locks the database for some seconds, or until the command ends."""
    work_folder = WorkFolder(folder, _training(images, long=seconds is not None))
    work_folder.first_command()
    with work_folder.started() as (running, recording):
        before = _wait_for_evaluations(running, recording)
        with _locked(work_folder.folder / "mlflow.db", seconds):
            if seconds is None:
                running.ended(_LONG_SECONDS)
        shown = f"{recording.count('scored')} scorings shown when the lock was released"
        ended = running.ended(_LONG_SECONDS)
    recording.add_to(work_folder.expected, "KILLED")
    notes = (shown, *_notes(ended, recording, before))
    return _line(ended, work_folder.settle_and_check(), notes)


def server_gone(folder: Path, images: Path | None, *, comes_back: bool) -> Line:
    """The tracking server dies during a training, and comes back during or after it."""
    (folder / "server").mkdir(parents=True)
    bench, port = Bench(folder / "server"), free_port()
    database = bench.folder / "served.db"
    serve = functools.partial(tracking_server, bench, port, "sqlite:///served.db")
    with contextlib.ExitStack() as served:
        served.enter_context(serve())
        uri = f"http://127.0.0.1:{port}"
        work_folder = WorkFolder(folder / "user", _training(images, long=comes_back), uri)
        work_folder.first_command()
        with work_folder.started() as (running, recording):
            before = _wait_for_evaluations(running, recording)
            served.close()
            if comes_back:
                still_runs_when(running, lambda: recording.count("scored") > before + 1, 120)
                served.enter_context(serve())
            ended = running.ended(_LONG_SECONDS)
        if not comes_back:
            served.enter_context(serve())
        recording.add_to(work_folder.expected, "KILLED")
        findings = work_folder.settle_and_check(database)
    return _line(ended, findings, _notes(ended, recording, before))


def disk_full(folder: Path, images: Path | None) -> Line:
    """The disk of the working folder is full from the first evaluation on."""
    with contextlib.ExitStack() as stack:
        try:
            disk = stack.enter_context(_small_disk(folder))
        except OSError as error:
            return Line(skipped=f"no small disk can be made here: {error}")
        work_folder = WorkFolder(folder / "user", _training(images), disk=disk)
        work_folder.first_command()
        with work_folder.started() as (running, recording):
            before = _wait_for_evaluations(running, recording)
            recording.add_to(work_folder.expected, "KILLED")
            with _filled(disk):
                ended = running.ended(_LONG_SECONDS)
        # The end could not be recorded: any status but RUNNING is allowed.
        for row in work_folder.expected.statuses:
            work_folder.expected.statuses[row] = frozenset({"FINISHED", "KILLED", "FAILED"})
        findings = Findings(lost=tuple(_printed_without_figures(ended)))
        findings += work_folder.settle_and_check()
    return _line(ended, findings, _notes(ended, recording, before))


FAULTS: dict[str, Callable[[Path, Path | None], Line]] = {
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


def _line(ended: Ended, findings: Findings, notes: tuple[str, ...]) -> Line:
    """Errors of the store must not be shown as a traceback."""
    words = ("the command ended in a traceback",) if "Traceback" in ended.stderr else ()
    return Line(tried=1, findings=findings + Findings(damaged=words), notes=notes)


def _notes(ended: Ended, recording: Recording, before: int) -> tuple[str, ...]:
    """The command's exit status, progress and warnings."""
    shown = f"{recording.count('scored')} scorings shown, {before} of them before the fault"
    lines = (line for line in ended.stderr.splitlines() if "MLflow" in line or "mlruns" in line)
    return (f"exit status {ended.status}, {shown}", *lines)


def _printed_without_figures(ended: Ended) -> Iterator[str]:
    """Runs that can't be recorded must be printed with their values."""
    try:
        runs = ended.document["runs"]
    except ValueError:
        yield f"no document was printed: {ended.stderr[-300:]}"
        return
    for run in runs:
        if run["max_test_accuracy"] is None:
            yield f"row {run['steps']} was printed without figures"


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
    command = ("mount", "-t", "tmpfs", "-o", f"size={_DISK_BYTES}", "tmpfs", str(disk))
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
