"""IDX files: their shape, read from a folder and checked.

The format is a header of big-endian numbers of 4 bytes and then a byte a pixel or label.
"""

from __future__ import annotations

import gzip
import hashlib
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from mnist_bench.core.errors import BenchError

SIDE = 28
"""Pixels along each side of an image."""
CLASSES = 10

_OWN_FILES = "put MNIST's own file there, or leave out --data and MNIST_BENCH_DATA"
_GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True)
class IdxFile:
    """One file of images or of labels in the IDX format.

    Attributes:
        name: As the mirrors call it, without `.gz`.
        count: Images or labels in it.
        digest: SHA-256 of its uncompressed bytes.
    """

    name: str
    count: int
    digest: str

    @property
    def header(self) -> dict[str, int]:
        """The numbers that such a file begins with, each 4 bytes, the highest first."""
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


def contents(folder: Path, files: tuple[IdxFile, ...]) -> list[bytes]:
    """Uncompressed bytes of the files in a folder, each of the right shape.

    Raises:
        BenchError: One of them is missing, unreadable or of another shape.
    """
    try:
        paths = [_located(folder, file) for file in files]
    except OSError as error:
        raise BenchError(
            f"can't read {folder}: {error.strerror or error}", "make it readable"
        ) from error
    return [read(path, file) for path, file in zip(paths, files, strict=True)]


def packed_bytes(folder: Path, file: IdxFile) -> int | None:
    """Length of the file as it lies compressed in a folder; None where it does not.

    Raises:
        BenchError: It can't be read.
    """
    try:
        for path in _places(folder, file, ".gz"):
            if path.is_file() and path.read_bytes().startswith(_GZIP_MAGIC):
                return path.stat().st_size
    except OSError as error:
        raise BenchError(
            f"can't read {folder}: {error.strerror or error}", "make it readable"
        ) from error
    return None


def _places(folder: Path, file: IdxFile, end: str) -> list[Path]:
    """Where the file may be: both spellings are in use."""
    return [folder / f"{name}{end}" for name in (file.name, file.name.replace("-idx", ".idx"))]


def _located(folder: Path, file: IdxFile) -> Path:
    """Where the file is; it is found packed too."""
    for path in _places(folder, file, "") + _places(folder, file, ".gz"):
        if path.is_file():
            return path
    raise BenchError(f"{file.name} is missing in {folder}", "put it there, as it is or as .gz")


def read(path: Path, file: IdxFile) -> bytes:
    """Uncompressed bytes of a file of the right shape; what it shows is not judged.

    Raises:
        BenchError: It is unreadable or of another shape.
    """
    try:
        with path.open("rb") as stream:
            return shaped(stream, file, str(path))
    except OSError as error:
        raise BenchError(
            f"can't read {path}: {error.strerror or error}", "make it readable"
        ) from error


def shaped(stream: IO[bytes], file: IdxFile, where: str) -> bytes:
    """Uncompressed bytes, if their shape is right.

    Not more than one byte past the right length is unpacked: a small file may hide gigabytes.

    Args:
        stream: Raw or gzip, whatever its name says.
        file: What it should be.
        where: Its name in messages.

    Raises:
        BenchError: It is of another shape.
    """
    content = _unpacked(stream, file.size_bytes + 1, where)
    if len(content) < file.header_bytes:
        raise BenchError(f"{where} is too short for an IDX file", _OWN_FILES)
    found = struct.unpack_from(f">{len(file.header)}I", content)
    for value, (name, expected) in zip(found, file.header.items(), strict=True):
        if value != expected:
            raise BenchError(f"{where}: {name} {value}, expected {expected}", _OWN_FILES)
    if len(content) != file.size_bytes:
        wrong = "shorter" if len(content) < file.size_bytes else "longer"
        raise BenchError(f"{where} is {wrong} than its header says", _OWN_FILES)
    if "labels" in file.name and (largest := max(content[file.header_bytes :])) >= CLASSES:
        raise BenchError(f"{where}: label {largest}, expected 0 to 9", _OWN_FILES)
    return content


def _unpacked(stream: IO[bytes], limit: int, where: str) -> bytes:
    """Up to `limit` bytes, unpacked where the stream is gzip by its content, not by its name."""
    magic = stream.read(len(_GZIP_MAGIC))
    stream.seek(0)
    if magic != _GZIP_MAGIC:
        return stream.read(limit)
    try:
        with gzip.GzipFile(fileobj=stream) as unpacking:
            return unpacking.read(limit)
    except EOFError as error:
        raise BenchError(f"{where} is cut off", _OWN_FILES) from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise BenchError(f"{where} is corrupt gzip: {error}", _OWN_FILES) from error


def sha256(content: bytes) -> str:
    """The digest in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()
