"""One benchmark at a time: which others of this user measure on this machine now."""

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
from mnist_bench.core import process_identity as owner
from mnist_bench.core.errors import BenchError
from mnist_bench.core.process_identity import ProcessIdentity
from mnist_bench.core.records import Record

_FILE = "running.json"
_GUARD = "running.lock"
_GUARD_SECONDS = 10.0
"""The guard is held for some milliseconds; longer than this, and something is wrong with it."""


class Holder(Record):
    """A benchmark that measures.

    Attributes:
        owner: Its process.
        began_at: Unix time in seconds when it began to measure.
    """

    owner: ProcessIdentity
    began_at: float

    def __str__(self) -> str:
        began = dt.datetime.fromtimestamp(self.began_at).astimezone()
        return f"process {self.owner.pid}, since {began:%Y-%m-%d %H:%M}"


_HOLDERS: TypeAdapter[tuple[Holder, ...]] = TypeAdapter(tuple[Holder, ...])


@contextlib.contextmanager
def benchmark_lock(
    machine_id: str | None, *, exclusive: bool, say: Callable[[str], None]
) -> Iterator[bool]:
    """Measure, and keep other benchmarks of this user on this machine away meanwhile.

    Args:
        machine_id: Of this machine.
        exclusive: Whether to refuse where another one measures; who does without is still seen by
            those that do not.
        say: Told in one line where others can't be kept away.

    Yields:
        Whether others are kept away.

    Raises:
        BenchError: Another one measures now.
    """
    me = Holder(owner=owner.current_process(machine_id), began_at=time.time())
    entered = False
    try:
        _enter(me, exclusive=exclusive)
        entered = True
    except (OSError, NotImplementedError) as error:  # file systems without locks give the latter
        reason = getattr(error, "strerror", None) or f"{error}"
        say(
            f"other benchmarks can't be kept away, the state folder refuses ({reason}); "
            "the runs are recorded as suspect: not exclusive"
        )
    try:
        yield entered and exclusive
    finally:
        if entered:
            with contextlib.suppress(OSError):  # left behind it is void, since its owner is gone
                _leave(me)


def running() -> tuple[Holder, ...]:
    """Benchmarks of this user that measure on this machine now."""
    return tuple(holder for holder in _read(_folder() / _FILE) if not holder.owner.is_gone)


def _enter(me: Holder, *, exclusive: bool) -> None:
    with _guarded() as path:
        others = running()
        if others and exclusive:
            raise BenchError(
                f"another benchmark of yours is running here ({others[0]}), "
                "each would spoil the other's figures",
                "wait for its end or stop it; --no-exclusive trains beside it and marks every run "
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
    """The file of holders, while no other process reads and writes it: of two, one is first."""
    folder = _folder()
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / _GUARD, timeout=_GUARD_SECONDS):
        yield folder / _FILE


def _folder() -> Path:
    return platformdirs.user_state_path("mnist-bench", appauthor=False)


def _read(path: Path) -> tuple[Holder, ...]:
    """Who is in the file; nobody where it is missing or no text of ours."""
    try:
        return _HOLDERS.validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return ()
