"""A lock that lets one benchmark of this user run on this machine at a time."""

from __future__ import annotations

import contextlib
import datetime as dt
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import platformdirs
from filelock import FileLock
from pydantic import TypeAdapter, ValidationError

from mnist_bench.core import files
from mnist_bench.core.errors import BenchError
from mnist_bench.core.process_identity import ProcessIdentity, current_process
from mnist_bench.core.records import Record

_FILE = "running.json"
_GUARD = "running.lock"
_GUARD_SECONDS = 10.0
"""Timeout of the file lock, which is held for a few milliseconds."""


class Holder(Record):
    """A running benchmark, as listed in the lock file.

    Attributes:
        owner: Its process.
        began_at: Start of the benchmark, Unix time in seconds.
    """

    owner: ProcessIdentity
    began_at: float

    def __str__(self) -> str:
        began = dt.datetime.fromtimestamp(self.began_at).astimezone()
        return f"process {self.owner.pid}, since {began:%Y-%m-%d %H:%M}"


_HOLDERS: TypeAdapter[tuple[Holder, ...]] = TypeAdapter(tuple[Holder, ...])


@contextlib.contextmanager
def benchmark_lock(
    machine_id: str | None, *, exclusive: bool, warn: Callable[[str], None]
) -> Iterator[bool]:
    """Prevent other benchmarks of this user on this machine while the context is active.

    Args:
        machine_id: Id of this machine.
        exclusive: Whether to raise if another benchmark is running. A benchmark that runs with
            False is still listed, so that exclusive ones do not start.
        warn: Receives one line if the lock file can't be used.

    Yields:
        Whether this benchmark has the machine to itself.

    Raises:
        BenchError: Another benchmark is running.
    """
    me = Holder(owner=current_process(machine_id), began_at=time.time())
    entered = False
    try:
        _enter(me, exclusive=exclusive)
        entered = True
    except (OSError, NotImplementedError) as error:  # file systems without locks give the latter
        reason = getattr(error, "strerror", None) or f"{error}"
        warn(
            f"can't lock out other benchmarks: the state folder can't be used ({reason}); "
            "the runs are recorded as suspect: not exclusive"
        )
    try:
        yield entered and exclusive
    finally:
        if entered:
            with contextlib.suppress(OSError):  # an entry of a gone process is ignored
                _leave(me)


def running() -> tuple[Holder, ...]:
    """Benchmarks of this user that are running on this machine."""
    return tuple(holder for holder in _read(_folder() / _FILE) if not holder.owner.is_gone)


def _enter(me: Holder, *, exclusive: bool) -> None:
    with _guarded() as path:
        others = running()
        if others and exclusive:
            raise BenchError(
                f"another benchmark of yours is running on this machine ({others[0]}), "
                "and they would disturb each other's measurements",
                "wait until it ends or stop it; --no-exclusive runs anyway and marks every run "
                "suspect",
            )
        files.write_atomically(path, _HOLDERS.dump_json((*others, me)))


def _leave(me: Holder) -> None:
    with _guarded() as path:
        others = tuple(holder for holder in running() if holder.owner != me.owner)
        if others:
            files.write_atomically(path, _HOLDERS.dump_json(others))
        else:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def _guarded() -> Iterator[Path]:
    """The path of the lock file, with its guard held: only one process reads and writes it."""
    folder = _folder()
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / _GUARD, timeout=_GUARD_SECONDS):
        yield folder / _FILE


def _folder() -> Path:
    return platformdirs.user_state_path("mnist-bench", appauthor=False)


def _read(path: Path) -> tuple[Holder, ...]:
    """The holders in the file; none if it is missing or can't be parsed."""
    try:
        return _HOLDERS.validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return ()
