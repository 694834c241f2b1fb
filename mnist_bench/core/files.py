"""Atomic writing of files, and bounded reading of those that others may have made.

A file is written to a temporary name, then renamed. What is read is a regular file of a limited
size: never a FIFO, a device or a folder, whatever a name leads to.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from mnist_bench.core.errors import EXIT_FAILURE, BenchError

_TEMPORARY_SUFFIX = ".part"
_ABANDONED_SECONDS = 3600
"""A temporary file this old has no writer any more: writing takes well under a minute."""
_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)  # a FIFO without a writer
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)
NO_FOLLOW: int = getattr(os, "O_NOFOLLOW", 0)
"""Flag of `os.open` that refuses a symbolic link; 0 on Windows."""


@dataclass(frozen=True)
class File:
    """One file to write.

    Attributes:
        suffix: Follows the common stem, with its dot.
        content: Bytes, or text that is written as UTF-8, or a function that yields the text in
            chunks, so that a large file is never in memory as a whole.
    """

    suffix: str
    content: str | bytes | Callable[[], Iterable[str]]

    @property
    def chunks(self) -> Iterator[bytes]:
        """The encoded content."""
        if isinstance(self.content, bytes):
            yield self.content
        elif isinstance(self.content, str):
            yield self.content.encode("utf-8")
        else:
            yield from (chunk.encode("utf-8") for chunk in self.content())


@contextlib.contextmanager
def open_regular(path: Path, *, follow: bool = True) -> Iterator[IO[bytes]]:
    """Open a regular file for reading.

    Args:
        follow: Whether the name may be a symbolic link.

    Raises:
        OSError: The file can't be opened, or is of another kind.
    """
    if not follow and path.is_symlink():
        raise OSError(errno.EINVAL, "it is a symbolic link", str(path))
    _require_regular(path.stat(), path)  # before it is opened: to open a device may do something
    descriptor = os.open(path, _FLAGS | (0 if follow else NO_FOLLOW))
    with os.fdopen(descriptor, "rb") as file:
        _require_regular(os.fstat(descriptor), path)
        yield file


def read_bounded(path: Path, max_bytes: int, *, follow: bool = True) -> bytes:
    """Content of a regular file.

    Raises:
        OSError: The file can't be read, is of another kind, or is larger.
    """
    with open_regular(path, follow=follow) as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise OSError(errno.EFBIG, f"it is larger than {_size(max_bytes)}", str(path))
    return content


def copy_inside(folder: Path, name: str, target: Path, max_bytes: int) -> bool:
    """Copy a file that others may have put into a folder; whether there was one to copy.

    Nothing is copied if a part of its path below the folder, or the folder itself, is a link, if it
    has a second name elsewhere, or if it is larger.

    Raises:
        OSError: The copy can't be written.
    """
    path = folder / name
    with contextlib.ExitStack() as stack:
        try:
            if path.resolve() != folder.parent.resolve() / folder.name / name:
                return False
            source = stack.enter_context(open_regular(path, follow=False))
        except OSError:
            return False
        found = os.fstat(source.fileno())
        if found.st_size > max_bytes or found.st_nlink > 1:
            return False
        with target.open("wb") as copy:
            shutil.copyfileobj(source, copy)
    return True


def user_folder(kind: Literal["cache", "config", "state"]) -> Path:
    """The user's folder for caches, configuration or state.

    Without a home folder: a temporary one, and for the configuration, which lasts, none that can be
    used.
    """
    import platformdirs

    of_kind = {
        "cache": platformdirs.user_cache_path,
        "config": platformdirs.user_config_path,
        "state": platformdirs.user_state_path,
    }[kind]
    try:
        return of_kind("mnist-bench", appauthor=False)
    except (RuntimeError, KeyError):  # no HOME, and no entry of the user in the system's list
        temporary = private_temporary_folder() if kind != "config" else None
        return (temporary or Path(os.devnull)) / kind


def private_temporary_folder() -> Path | None:
    """A folder below the system's temporary one that only this user can write to; None if not.

    Others may have made one of that name: it is used only if it is this user's, and closed to them.
    """
    if not hasattr(os, "getuid"):  # Windows, whose temporary folder is the user's own
        return Path(tempfile.gettempdir()) / "mnist-bench"
    folder = Path(tempfile.gettempdir()) / f"mnist-bench-{os.getuid()}"
    try:
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        found = folder.lstat()
    except OSError:
        return None
    is_own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
    return folder if is_own and not found.st_mode & 0o022 else None


def _require_regular(found: os.stat_result, path: Path) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:,.0f} MiB" if size_bytes >= 2**20 else f"{size_bytes:,} bytes"


def write(folder: Path, stem: str, contents: Sequence[File]) -> tuple[Path, ...]:
    """Write files with a common stem; older files are replaced only once all are on disk.

    Args:
        folder: Created if it is missing.
        stem: Name without suffix.
        contents: The files.

    Raises:
        BenchError: A file can't be written; older files and no temporary ones are left.
    """
    targets = tuple(folder / f"{stem}{file.suffix}" for file in contents)
    temporaries = [folder / f".{path.name}.{secrets.token_hex(4)}.tmp" for path in targets]
    try:
        with _naming_path(folder):
            folder.mkdir(parents=True, exist_ok=True)
        for target, temporary, file in zip(targets, temporaries, contents, strict=True):
            with _naming_path(target):
                _write_and_sync(temporary, file.chunks)
        for target, temporary in zip(targets, temporaries, strict=True):
            with _naming_path(target):
                os.replace(temporary, target)  # noqa: PTH105 - patched by tests
    finally:
        for temporary in temporaries:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
    return targets


def check_writable(folder: Path, remedy: str) -> None:
    """Check that files can be written to a folder, or that it can be created.

    Raises:
        BenchError: They can't; the request is wrong.
    """
    places = (folder, *folder.absolute().parents)
    try:
        existing = next((path for path in places if path.exists()), folder)
        tempfile.TemporaryFile(dir=existing).close()
    except OSError as error:
        raise BenchError(f"can't write to {folder}: {error.strerror or error}", remedy) from error


@contextlib.contextmanager
def _naming_path(path: Path) -> Iterator[None]:
    """Turn an `OSError` into a `BenchError` that names the file."""
    try:
        yield
    except OSError as error:
        raise BenchError(f"can't write {path}: {error.strerror or error}", _hint(error),
                         exit_status=EXIT_FAILURE) from error  # fmt: skip


def _write_and_sync(path: Path, chunks: Iterable[bytes]) -> None:
    """Write and sync, so that a full disk raises here."""
    with path.open("xb") as file:
        file.writelines(chunks)
        file.flush()
        os.fsync(file.fileno())


def _hint(error: OSError) -> str:
    if error.errno in {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}:
        return "free some disk space; the runs are recorded"
    if error.errno == errno.EROFS:
        return "choose another folder"
    if isinstance(error, PermissionError):
        # Windows reports so that another program has the file open.
        is_open = ", and close programs that have the file open" if os.name == "nt" else ""
        return f"make the folder writable{is_open}"
    if isinstance(error, (FileExistsError, NotADirectoryError, IsADirectoryError)):
        return "move away what is in its place"
    return "the runs are recorded"


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that readers never see it incomplete; concurrent writers are safe.

    Raises:
        OSError: The file can't be written; no temporary file is left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(path.parent)
    handle, name = tempfile.mkstemp(
        dir=path.parent, prefix=f"{path.name}-", suffix=_TEMPORARY_SUFFIX
    )
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        temporary.replace(path)
    except PermissionError:
        # Windows can't replace a file that is being read: another process wrote it first.
        if not path.is_file() or read_bounded(path, len(content)) != content:
            raise
    finally:
        temporary.unlink(missing_ok=True)


def _remove_abandoned(folder: Path) -> None:
    """Remove temporary files of processes that were killed while writing."""
    for path in folder.glob(f"*{_TEMPORARY_SUFFIX}"):
        try:
            if time.time() - path.stat().st_mtime > _ABANDONED_SECONDS:
                path.unlink()
        except OSError:  # another process removed it, or it belongs to another user
            continue
