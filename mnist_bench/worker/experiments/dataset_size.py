"""Claim 11: what the images take, as files and as arrays. No TensorFlow is needed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_bench.data import idx, mnist
from mnist_bench.data.dataset import Source
from mnist_bench.data.idx import IdxFile
from mnist_bench.data.mnist import MNIST
from mnist_bench.results.dataset_size import DatasetSize, ImageBytes, Part, Representation

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

TRAIN_FILE, TEST_FILE = MNIST.files[0], MNIST.files[2]
PUBLISHED_GZIP_BYTES = {TRAIN_FILE.name: 9_912_422, TEST_FILE.name: 1_648_877}
"""Of the image files as their makers published them, by the figures on their own page (Y. LeCun,
C. Cortes, C. Burges, "The MNIST database of handwritten digits"); files that were packed again are
of other sizes."""
_TYPES: tuple[Representation, ...] = ("uint8", "float32", "float64")


def measured(source: Source) -> DatasetSize:
    """What the images take in each form.

    Args:
        source: Found and verified.

    Raises:
        BenchError: The images are gone or have changed.
    """
    dataset = mnist.load(source)
    train, validation = dataset.train.pixels, dataset.validation.pixels
    test = dataset.test_images.pixels
    return DatasetSize(
        sizes=(
            *_files(source, "training", TRAIN_FILE),
            *_arrays("training", train, validation),
            *_arrays("training without validation", train),
            *_files(source, "test", TEST_FILE),
            *_arrays("test", test),
        )
    )


def _files(source: Source, part: Part, file: IdxFile) -> Iterator[ImageBytes]:
    """Of the file that holds the images; nothing where they come in none of the kind."""
    folder = Path(source.location)
    if not folder.is_dir():  # the sample is a file of another format
        return
    if source.digest == MNIST.digest:
        published = PUBLISHED_GZIP_BYTES[file.name]
        yield _bytes(part, file.count, "gzip as published", published)
    yield _bytes(part, file.count, "gzip as found", idx.packed_bytes(folder, file))
    yield _bytes(part, file.count, "IDX file", file.size_bytes)


def _arrays(part: Part, *pixels: npt.NDArray[np.uint8]) -> Iterator[ImageBytes]:
    import numpy as np

    images, numbers = sum(len(each) for each in pixels), sum(each.size for each in pixels)
    for name in _TYPES:
        kind: np.dtype[Any] = np.dtype(name)
        yield _bytes(part, images, name, numbers * kind.itemsize)


def _bytes(
    part: Part, images: int, representation: Representation, size_bytes: int | None
) -> ImageBytes:
    return ImageBytes(
        part=part, images=images, representation=representation, size_bytes=size_bytes
    )
