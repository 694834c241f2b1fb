"""Atomic writing of files: to a temporary name, then renamed."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mnist_bench.core.errors import EXIT_FAILURE, BenchError

_TEMPORARY_SUFFIX = ".part"
_ABANDONED_SECONDS = 3600
"""A temporary file this old has no writer any more: writing takes well under a minute."""


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
        if not path.is_file() or path.read_bytes() != content:
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
