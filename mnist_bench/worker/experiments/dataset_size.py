"""Claim 11: size of the images as files and as arrays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_bench.data import idx, mnist
from mnist_bench.data.dataset import Source
from mnist_bench.data.idx import IdxFile
from mnist_bench.data.mnist import MNIST
from mnist_bench.results.dataset_size import DatasetSize, ImageBytes, Representation, Subset

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

TRAIN_FILE, TEST_FILE = MNIST.files[0], MNIST.files[2]
PUBLISHED_GZIP_BYTES = {TRAIN_FILE.name: 9_912_422, TEST_FILE.name: 1_648_877}
"""Sizes of the image files as first published, from the authors' page (Y. LeCun, C. Cortes,
C. Burges, "The MNIST database of handwritten digits"); recompressed files have other sizes."""
_TYPES: tuple[Representation, ...] = ("uint8", "float32", "float64")


def measure(source: Source) -> DatasetSize:
    """Measure the size of the images in each representation.

    Raises:
        BenchError: The images are missing or have changed.
    """
    dataset = mnist.load(source)
    train, validation = dataset.train.pixels, dataset.validation.pixels
    test = dataset.test_images.pixels
    return DatasetSize(
        sizes=(
            *_file_sizes(source, "training", TRAIN_FILE),
            *_array_sizes("training", train, validation),
            *_array_sizes("training without validation", train),
            *_file_sizes(source, "test", TEST_FILE),
            *_array_sizes("test", test),
        )
    )


def _file_sizes(source: Source, part: Subset, file: IdxFile) -> Iterator[ImageBytes]:
    """Sizes of the IDX file of the images; empty if the source has no IDX files."""
    folder = Path(source.location)
    if not folder.is_dir():  # the sample has another file format
        return
    if source.digest == MNIST.digest:
        published = PUBLISHED_GZIP_BYTES[file.name]
        yield _image_bytes(part, file.count, "gzip as published", published)
    yield _image_bytes(part, file.count, "gzip as found", idx.gzip_bytes(folder, file))
    yield _image_bytes(part, file.count, "IDX file", file.size_bytes)


def _array_sizes(part: Subset, *pixels: npt.NDArray[np.uint8]) -> Iterator[ImageBytes]:
    import numpy as np

    images, values = sum(len(split) for split in pixels), sum(split.size for split in pixels)
    for name in _TYPES:
        dtype: np.dtype[Any] = np.dtype(name)
        yield _image_bytes(part, images, name, values * dtype.itemsize)


def _image_bytes(
    part: Subset, images: int, representation: Representation, size_bytes: int | None
) -> ImageBytes:
    return ImageBytes(
        part=part, images=images, representation=representation, size_bytes=size_bytes
    )
