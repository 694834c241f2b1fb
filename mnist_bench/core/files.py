"""Files that are whole or not there: written beside, then put in place."""

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

from mnist_bench.core.errors import EXIT_BROKE, BenchError

_BESIDE = ".part"
"""How names of files end while they are written."""
_ABANDONED_SECONDS = 3600
"""A file this old beside the others has lost its writer: writing takes well under a minute."""


@dataclass(frozen=True)
class File:
    """One file to write.

    Attributes:
        suffix: What follows the common stem, with its dot.
        content: What is in it, text as UTF-8; or what makes that piece by piece, so that the whole
            of a large file is never in memory.
    """

    suffix: str
    content: str | bytes | Callable[[], Iterable[str]]

    @property
    def pieces(self) -> Iterator[bytes]:
        """The content as it lies on the disk."""
        if isinstance(self.content, bytes):
            yield self.content
        elif isinstance(self.content, str):
            yield self.content.encode("utf-8")
        else:
            yield from (piece.encode("utf-8") for piece in self.content())


def write(folder: Path, stem: str, contents: Sequence[File]) -> tuple[Path, ...]:
    """Write files of one stem; none replaces its elder before all are on the disk.

    Args:
        folder: Made where it is missing.
        stem: Name without suffix.
        contents: The files.

    Raises:
        BenchError: One can't be written; the elder ones stay whole and nothing is left over.
    """
    targets = tuple(folder / f"{stem}{file.suffix}" for file in contents)
    beside = [folder / f".{path.name}.{secrets.token_hex(4)}.tmp" for path in targets]
    try:
        with _naming(folder):
            folder.mkdir(parents=True, exist_ok=True)
        for target, temporary, file in zip(targets, beside, contents, strict=True):
            with _naming(target):
                _write_through(temporary, file.pieces)
        for target, temporary in zip(targets, beside, strict=True):
            with _naming(target):
                os.replace(temporary, target)  # noqa: PTH105 - the name the system calls it by
    finally:
        for temporary in beside:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
    return targets


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Turn the system's refusal into one line that names the file meant."""
    try:
        yield
    except OSError as error:
        raise BenchError(f"can't write {path}: {error.strerror or error}", _remedy(error),
                         exit_status=EXIT_BROKE) from error  # fmt: skip


def _write_through(path: Path, pieces: Iterable[bytes]) -> None:
    """Write and wait for the disk: a disk that is full says so here."""
    with path.open("xb") as file:
        file.writelines(pieces)
        file.flush()
        os.fsync(file.fileno())


def _remedy(error: OSError) -> str:
    if error.errno in {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}:
        return "free some space there; the runs themselves are recorded"
    if isinstance(error, PermissionError) or error.errno == errno.EROFS:
        return "make that folder writable, and close programs that hold the file open"
    if isinstance(error, (FileExistsError, NotADirectoryError, IsADirectoryError)):
        return "move what stands in its place out of the way"
    return "the runs themselves are recorded"


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that no one ever sees a part of it; several may do so at once.

    Raises:
        OSError: It can't be written; nothing is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path.parent)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}-", suffix=_BESIDE)
    beside = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        beside.replace(path)
    except PermissionError:
        # Windows replaces no file that is being read: another process was faster.
        if not path.is_file() or path.read_bytes() != content:
            raise
    finally:
        beside.unlink(missing_ok=True)


def _sweep(folder: Path) -> None:
    """Remove what processes that were killed while writing have left."""
    for path in folder.glob(f"*{_BESIDE}"):
        try:
            if time.time() - path.stat().st_mtime > _ABANDONED_SECONDS:
                path.unlink()
        except OSError:  # another process was faster, or it is not ours
            continue
