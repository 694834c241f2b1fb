"""IDX files: read from a folder, decompressed and validated.

The format is a header of big-endian 4-byte numbers, then one byte per pixel or label.
"""

from __future__ import annotations

import gzip
import hashlib
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from mnist_bench.core import files
from mnist_bench.core.errors import BenchError

SIDE = 28
"""Pixels along each side of an image."""
CLASSES = 10

_HINT = "replace it with MNIST's file, or leave out --data and MNIST_BENCH_DATA"
_GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True)
class IdxFile:
    """Description of an IDX file of images or labels.

    Attributes:
        name: File name on the mirrors, without `.gz`.
        count: Number of images or labels.
        digest: SHA-256 of the uncompressed bytes.
    """

    name: str
    count: int
    digest: str

    @property
    def header(self) -> dict[str, int]:
        """Names and expected values of the header's numbers, 4 bytes each, big-endian."""
        if "images" in self.name:
            return {"magic number": 2051, "images": self.count, "rows": SIDE, "columns": SIDE}
        return {"magic number": 2049, "labels": self.count}

    @property
    def header_bytes(self) -> int:
        """Length of the header."""
        return 4 * len(self.header)

    @property
    def size_bytes(self) -> int:
        """Length of the uncompressed file."""
        per_item = SIDE * SIDE if "images" in self.name else 1
        return self.header_bytes + self.count * per_item


def read_folder(
    folder: Path, files: tuple[IdxFile, ...], log: Callable[[str], None] | None = None
) -> list[bytes]:
    """Read and validate the files of a folder; uncompressed bytes in the order of `files`.

    If a file is damaged and its other form, uncompressed or .gz, is whole, that one is read.

    Args:
        log: Receives a line about each damaged file that is not needed.
    """
    with reading(folder):
        paths = [existing_paths(folder, file) for file in files]
    missing = [file.name for file, found in zip(files, paths, strict=True) if not found]
    if missing:
        verb, what = ("are", "them") if missing[1:] else ("is", "it")
        raise BenchError(
            f"{', '.join(missing)} {verb} missing in {folder}",
            f"put {what} there, uncompressed or as .gz",
        )
    return [_read_first(each, file, log) for each, file in zip(paths, files, strict=True)]


def _read_first(paths: Sequence[Path], file: IdxFile, log: Callable[[str], None] | None) -> bytes:
    """Content of the first file that is valid; if none is, the error of the first."""
    faults: list[BenchError] = []
    for path in paths:
        try:
            content = read_file(path, file)
        except BenchError as error:
            faults.append(error)
            continue
        if faults and log:
            log(f"{faults[0].message}: {path.name} is read instead")
        return content
    raise faults[0]


def gzip_bytes(folder: Path, file: IdxFile) -> int | None:
    """Size of the compressed file in a folder; None if there is none."""
    with reading(folder):
        for path in _candidate_paths(folder, file, ".gz"):
            if path.is_file():
                with files.open_regular(path) as stream:
                    if stream.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC:
                        return path.stat().st_size
    return None


def _candidate_paths(folder: Path, file: IdxFile, suffix: str) -> list[Path]:
    """Possible paths of a file: both spellings are in use."""
    return [folder / f"{name}{suffix}" for name in (file.name, file.name.replace("-idx", ".idx"))]


def existing_paths(folder: Path, file: IdxFile) -> list[Path]:
    """Where a folder has the file: uncompressed, then as .gz."""
    paths = _candidate_paths(folder, file, "") + _candidate_paths(folder, file, ".gz")
    return [path for path in paths if path.is_file()]


def read_file(path: Path, file: IdxFile) -> bytes:
    """Read and validate a file, without checking its digest; uncompressed bytes."""
    with reading(path), files.open_regular(path) as stream:
        return read_stream(stream, file, str(path))


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn an `OSError` into a `BenchError` that names the file or folder."""
    try:
        yield
    except OSError as error:
        raise BenchError(
            f"can't read {path}: {error.strerror or error}", "make it readable"
        ) from error


def read_stream(stream: IO[bytes], file: IdxFile, source: str) -> bytes:
    """Read and validate a stream; uncompressed bytes.

    At most one byte past the expected size is decompressed: a small file may expand to gigabytes.

    Args:
        stream: Raw or gzip, detected by content.
        file: The expected file.
        source: Name of the stream in error messages.
    """
    content = _decompressed(stream, file.size_bytes + 1, source)
    if len(content) < file.header_bytes:
        raise BenchError(f"{source} is too short for an IDX file", _HINT)
    actual = struct.unpack_from(f">{len(file.header)}I", content)
    for value, (name, expected) in zip(actual, file.header.items(), strict=True):
        if value != expected:
            raise BenchError(f"{source}: {name} {value}, expected {expected}", _HINT)
    if len(content) != file.size_bytes:
        difference = "shorter" if len(content) < file.size_bytes else "longer"
        raise BenchError(f"{source} is {difference} than its header says", _HINT)
    if "labels" in file.name and (largest := max(content[file.header_bytes :])) >= CLASSES:
        raise BenchError(f"{source}: label {largest}, expected 0 to 9", _HINT)
    return content


def _decompressed(stream: IO[bytes], limit: int, source: str) -> bytes:
    """Up to `limit` bytes, decompressed if the content is gzip."""
    magic = stream.read(len(_GZIP_MAGIC))
    stream.seek(0)
    if magic != _GZIP_MAGIC:
        return stream.read(limit)
    try:
        with gzip.GzipFile(fileobj=stream) as decompressed:
            return decompressed.read(limit)
    except EOFError as error:
        raise BenchError(f"{source} is truncated", _HINT) from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise BenchError(f"{source} is corrupt gzip: {error}", _HINT) from error


def sha256(content: bytes) -> str:
    """SHA-256 in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()
