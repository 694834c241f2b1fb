"""Locks that the system frees when their process ends: who is alive, one benchmark at a time.

A process's name is `<pid>-<its start, Unix seconds>-<8 hex digits>`. It is alive if it holds the
lock file `<name>.lock` in one of the folders that it called `hold` for, and dead if that file is
there and free. Without such a file nothing is known of it.

Hosts may share a folder and not each other's locks, and a folder may be copied while its process
lives. So a lock file names the kernel that it was made on, and itself: a free one says that its
process is dead if it is no copy, and made since this machine was started, or before on a disk that
only this machine can have. Otherwise nothing is known.
"""

from __future__ import annotations

import atexit
import contextlib
import datetime as dt
import errno
import functools
import os
import platform
import re
import secrets
import threading
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import lock_descriptor

from mnist_bench.core import files
from mnist_bench.core.errors import BenchError

_NAME = re.compile(r"(\d{1,10})-(\d{1,12})-[0-9a-f]{8}")
_SUFFIX = ".lock"
_GUARD = "guard"
_GUARD_SECONDS = 10.0
"""Timeout of the guard, which is held for a few milliseconds."""
_POLL_SECONDS = 0.02
_OLD_SECONDS = 30 * 86_400
"""Age after which nobody asks any more whether a dead process is alive."""
_UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}
_UNSUPPORTED_ON_WINDOWS = {1, 50}
"""ERROR_INVALID_FUNCTION and ERROR_NOT_SUPPORTED."""

_LOCAL_FILE_SYSTEMS = frozenset(
    {"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "jfs", "reiserfs", "bcachefs"}
    | {"tmpfs", "overlay", "apfs", "hfs", "ufs", "ntfs", "refs", "exfat"}
)
"""Those of disks that no two machines use at once."""
_MARK_BYTES = 400

_names: dict[int, str] = {}
_held: dict[Path, int] = {}
"""Descriptors of the lock files that this process holds until its end."""
_held_lock = threading.Lock()
_unsettled: set[str] = set()


class LocksUnsupportedError(OSError):
    """The file system has no locks, or not for all that use it."""


def process_name() -> str:
    """The name of this process; a fork has another one."""
    return _names.setdefault(os.getpid(), _new_name())


def hold(folder: Path) -> str:
    """Hold this process's lock file in a folder until the process ends; returns the process's name.

    On a file system without locks there is the file at least: whoever looks at it learns that
    nothing can be known.

    Raises:
        OSError: The file can't be created.
    """
    name = process_name()
    path = folder.resolve() / f"{name}{_SUFFIX}"
    with _held_lock:
        if path in _held and not path.exists():  # the user removed the folder
            os.close(_held.pop(path))
        if path not in _held:
            _held[path] = _open(path)
            with contextlib.suppress(LocksUnsupportedError):
                _wait_for(_held[path], path, _GUARD_SECONDS)
            _write_mark(_held[path])
    return name


def unsettled(what: str) -> None:
    """Note something that others must settle if this process ends before it is `settled`."""
    _unsettled.add(what)


def settled(what: str) -> None:
    """Forget something that was `unsettled`."""
    _unsettled.discard(what)


@atexit.register
def release_all() -> None:
    """Free the lock files that `hold` created, and remove them unless something is unsettled.

    A file that stays says that the process is dead; without one it would be unknown.
    """
    for path, descriptor in _held.items():
        if path.stem != process_name():  # in a fork the others are the parent's
            continue
        if _unsettled:
            os.close(descriptor)
            continue
        _release(path, descriptor)
        with contextlib.suppress(OSError):  # folders that were created for it
            path.parent.rmdir()
            path.parent.parent.rmdir()
    _held.clear()
    _unsettled.clear()


def live_folders() -> tuple[Path, ...]:
    """The folders in which this user's processes on this machine hold a lock file.

    The one in the home folder, and one that is there without a home that can be written to, or
    with another one.
    """
    temporary = files.private_temporary_folder()
    return (state_folder() / "live", *([temporary / "live"] if temporary else []))


def is_alive(name: str, folders: Collection[Path]) -> bool:
    """Whether a process of that name holds its lock file in one of the folders.

    Raises:
        LocksUnsupportedError: Nobody knows.
    """
    return True in _states(name, folders)


def is_dead(name: str, folders: Collection[Path]) -> bool:
    """Whether a process of that name has ended without removing its lock file.

    Raises:
        LocksUnsupportedError: Nobody knows.
    """
    states = _states(name, folders)
    return False in states and True not in states


def is_another_alive(folder: Path) -> bool:
    """Whether another process holds its lock file in the folder, or may hold it."""
    others = [path for path in _lock_files(folder) if path.stem != process_name()]
    return any(_is_held_or(path, unknown=True) for path in others)


def remove_dead(folder: Path, names: Collection[str]) -> None:
    """Remove the lock files of dead processes: of those with these names, and old ones."""
    for path in _lock_files(folder):
        # Others are not touched: a new file is free for a moment before its process locks it.
        is_old = time.time() - _start_of(path) > _OLD_SECONDS
        if path.stem in names or is_old:
            with contextlib.suppress(OSError):
                if _is_held(path) is False:
                    path.unlink(missing_ok=True)


@contextlib.contextmanager
def lock_file(path: Path, seconds: float) -> Iterator[None]:
    """Hold a lock file while the context is active; the file stays.

    Args:
        path: The file; created if it is missing, its folder too.
        seconds: How long to wait for another process that holds it.

    Raises:
        LocksUnsupportedError: The file system has no locks.
        OSError: The file can't be opened, or was held for longer.
    """
    descriptor = _open(path)
    try:
        _wait_for(descriptor, path, seconds)
        yield
    finally:
        os.close(descriptor)


@dataclass(frozen=True)
class Holder:
    """A running benchmark.

    Attributes:
        pid: Process id.
        began_at: Start of the benchmark, Unix time in seconds.
    """

    pid: int
    began_at: int

    def __str__(self) -> str:
        began = dt.datetime.fromtimestamp(self.began_at).astimezone()
        return f"process {self.pid}, since {began:%Y-%m-%d %H:%M}"


@contextlib.contextmanager
def benchmark_lock(*, exclusive: bool, warn: Callable[[str], None]) -> Iterator[bool]:
    """Prevent other benchmarks of this user on this machine while the context is active.

    Args:
        exclusive: Whether to raise if another benchmark is running. A benchmark that runs with
            False is still listed, so that exclusive ones do not start.
        warn: Receives one line if the state folder can't be used.

    Yields:
        Whether this benchmark has the machine to itself.

    Raises:
        BenchError: Another benchmark is running.
    """
    entered: tuple[Path, int] | None = None
    try:
        entered = _enter(exclusive=exclusive)
    except OSError as error:
        reason = error.strerror or f"{error}"
        warn(
            f"can't lock out other benchmarks: the state folder can't be used ({reason}); "
            "the runs are recorded as suspect: not exclusive"
        )
    try:
        yield entered is not None and exclusive
    finally:
        if entered:
            _release(*entered)


def running() -> tuple[Holder, ...]:
    """Benchmarks of this user that are running on this machine, by start."""
    folder = _benchmarks_folder()
    if not folder.is_dir():
        return ()
    try:
        with lock_file(folder / _GUARD, _GUARD_SECONDS):
            return _running(folder)
    except OSError:
        return ()


def _enter(*, exclusive: bool) -> tuple[Path, int]:
    folder = _benchmarks_folder()
    with lock_file(folder / _GUARD, _GUARD_SECONDS):
        others = _running(folder)
        if others and exclusive:
            raise BenchError(
                f"another benchmark of yours is running on this machine ({others[0]}), "
                "and they would disturb each other's measurements",
                "wait until it ends or stop it; --no-exclusive runs anyway and marks every run "
                "suspect",
            )
        # Not the process's name: it may run several benchmarks at once.
        path = folder / f"{_new_name()}{_SUFFIX}"
        descriptor = _open(path)
        _wait_for(descriptor, path, _GUARD_SECONDS)
        return path, descriptor


def _running(folder: Path) -> tuple[Holder, ...]:
    """The benchmarks that hold their lock file; removes the others' files. Needs the guard."""
    holders = []
    for path in _lock_files(folder):
        held = _is_held_or(path, unknown=None)
        if held:
            holders.append(Holder(int(path.stem.partition("-")[0]), _start_of(path)))
        elif held is False:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
    return tuple(sorted(holders, key=lambda holder: holder.began_at))


def _new_name() -> str:
    return f"{os.getpid()}-{int(time.time())}-{secrets.token_hex(4)}"


def state_folder() -> Path:
    """The folder of this user's lock files."""
    return files.user_folder("state")


def _benchmarks_folder() -> Path:
    # Machines that share a home folder don't disturb each other's measurements.
    return state_folder() / "benchmarks" / (re.sub(r"[^\w.-]", "-", platform.node()) or "-")


def _lock_files(folder: Path) -> list[Path]:
    return [path for path in folder.glob(f"*{_SUFFIX}") if _NAME.fullmatch(path.stem)]


def _start_of(path: Path) -> int:
    return int(path.stem.split("-")[1])


def _states(name: str, folders: Collection[Path]) -> set[bool]:
    """Whether the lock file is held, in each folder that has it; at best in one that has locks."""
    states: set[bool] = set()
    if not _NAME.fullmatch(name):  # from a store that others write to: it must not name any path
        return states
    unsupported: LocksUnsupportedError | None = None
    for folder in folders:
        try:
            held = _is_held(folder / f"{name}{_SUFFIX}")
        except LocksUnsupportedError as error:
            unsupported = error
        else:
            states |= set() if held is None else {held}
    if unsupported and not states:
        raise unsupported
    return states


def _is_held(path: Path) -> bool | None:
    """Whether a process holds the lock file; None if there is none.

    Raises:
        LocksUnsupportedError: Nobody knows.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | files.NO_FOLLOW)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError as error:
        return _is_held_by_another_user(path, error)
    except OSError as error:
        raise LocksUnsupportedError(error.errno, f"{path.name} can't be opened") from error
    try:
        if not _try_lock(descriptor):
            return True
        _require_trusted(descriptor, path)
    finally:
        os.close(descriptor)  # frees the lock
    return False


def _is_held_by_another_user(path: Path, denied: PermissionError) -> bool:
    """Whether the lock file of another user is held; what they left is theirs to settle."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | files.NO_FOLLOW)
        try:
            if not _try_lock(descriptor):
                return True
        finally:
            os.close(descriptor)
    raise LocksUnsupportedError(denied.errno, "they are of another user") from denied


def _is_held_or(path: Path, *, unknown: bool | None) -> bool | None:
    try:
        return _is_held(path)
    except LocksUnsupportedError:
        return unknown


def _write_mark(descriptor: int) -> None:
    """Write which kernel made the lock file, and which file it is."""
    mark = f"{os.fstat(descriptor).st_ino} {_kernel()}\n"
    with contextlib.suppress(OSError):  # a full disk
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.write(descriptor, mark.encode()[:_MARK_BYTES])


def _require_trusted(descriptor: int, path: Path) -> None:
    """Check that a free lock file says that its process is dead.

    Raises:
        LocksUnsupportedError: It may be another machine's, or a copy of one that is held.
    """
    import psutil

    os.lseek(descriptor, 0, os.SEEK_SET)
    inode, _, kernel = os.read(descriptor, _MARK_BYTES).decode(errors="replace").partition(" ")
    if not kernel:  # written by an earlier version, or on a full disk
        return
    found = os.fstat(descriptor)
    is_copy = inode != str(found.st_ino)
    is_of_this_boot = kernel.strip() == _kernel()
    if is_copy and is_of_this_boot and not psutil.pid_exists(int(path.stem.partition("-")[0])):
        return
    if is_copy:
        raise LocksUnsupportedError(errno.EOPNOTSUPP, f"{path} is a copy")
    if not is_of_this_boot and (
        found.st_mtime > psutil.boot_time() or _file_system(path) not in _LOCAL_FILE_SYSTEMS
    ):
        raise LocksUnsupportedError(errno.EOPNOTSUPP, f"{path} was made on another machine")


@functools.cache
def _kernel() -> str:
    """What no two running systems share, and what changes when a machine is started."""
    with contextlib.suppress(OSError):
        content = files.read_bounded(Path("/proc/sys/kernel/random/boot_id"), 100)
        return content.decode(errors="replace").strip()
    return platform.node() or "unknown"


def _file_system(path: Path) -> str:
    """Type of the file system that a file lies in, in small letters; empty if unknown."""
    import psutil

    try:
        place = path.resolve()
        mounts = {Path(each.mountpoint): each.fstype for each in psutil.disk_partitions(all=True)}
    except (OSError, RuntimeError):
        return ""
    return next((mounts[parent].lower() for parent in place.parents if parent in mounts), "")


def _open(path: Path) -> int:
    for _ in range(3):
        path.parent.mkdir(parents=True, exist_ok=True)
        # Another process may remove the empty folder at this moment.
        with contextlib.suppress(FileNotFoundError):
            return os.open(path, os.O_RDWR | os.O_CREAT | files.NO_FOLLOW, 0o666)
    return os.open(path, os.O_RDWR | os.O_CREAT | files.NO_FOLLOW, 0o666)


def _wait_for(descriptor: int, path: Path, seconds: float) -> None:
    until = time.monotonic() + seconds
    while not _try_lock(descriptor):
        if time.monotonic() >= until:
            raise TimeoutError(errno.ETIMEDOUT, "another process holds its lock", str(path))
        time.sleep(_POLL_SECONDS)


def _try_lock(descriptor: int) -> bool:
    try:
        return lock_descriptor(descriptor, blocking=False)
    except OSError as error:
        windows_error = getattr(error, "winerror", None)
        if error.errno in _UNSUPPORTED or windows_error in _UNSUPPORTED_ON_WINDOWS:
            raise LocksUnsupportedError(error.errno, "the file system has no locks") from error
        raise


def _release(path: Path, descriptor: int) -> None:
    os.close(descriptor)
    with contextlib.suppress(OSError):  # Windows: another process looks at it, and removes it later
        path.unlink(missing_ok=True)
