"""Claim 11: size of the images as files and as arrays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mnist_bench.data import idx, mnist
from mnist_bench.data.dataset import Source
from mnist_bench.data.idx import IdxFile
from mnist_bench.data.mnist import MNIST
from mnist_bench.results.experiments import DatasetSize, ImageBytes, Representation, Subset

TRAIN_FILE, TEST_FILE = MNIST.files[0], MNIST.files[2]
PUBLISHED_GZIP_BYTES = {TRAIN_FILE.name: 9_912_422, TEST_FILE.name: 1_648_877}
"""Sizes of the image files as first published, from the authors' page (Y. LeCun, C. Cortes,
C. Burges, "The MNIST database of handwritten digits"); recompressed files have other sizes."""
_BYTES_A_PIXEL: dict[Representation, int] = {"uint8": 1, "float32": 4, "float64": 8}


def measure(source: Source) -> DatasetSize:
    """Measure the size of the images in each representation."""
    dataset = mnist.load(source)
    train, test = dataset.train.pixels, dataset.test_images.pixels
    every = len(train) + len(dataset.validation.pixels)
    return DatasetSize(
        sizes=(
            *_file_sizes(source, "training", TRAIN_FILE),
            *_array_sizes("training", every, train[0].size),
            *_array_sizes("training without validation", len(train), train[0].size),
            *_file_sizes(source, "test", TEST_FILE),
            *_array_sizes("test", len(test), test[0].size),
        )
    )


def _file_sizes(source: Source, part: Subset, file: IdxFile) -> Iterator[ImageBytes]:
    """Sizes of the IDX file of the images; empty if the source has no IDX files."""
    folder = Path(source.location)
    if not folder.is_dir():  # the sample has another file format
        return
    sizes: dict[Representation, int | None] = {
        "gzip as found": idx.gzip_bytes(folder, file),
        "IDX file": file.size_bytes,
    }
    if source.digest == MNIST.digest:
        sizes = {"gzip as published": PUBLISHED_GZIP_BYTES[file.name], **sizes}
    for name, size in sizes.items():
        yield ImageBytes(part=part, images=file.count, representation=name, size_bytes=size)


def _array_sizes(part: Subset, images: int, pixels: int) -> Iterator[ImageBytes]:
    for name, width in _BYTES_A_PIXEL.items():
        size_bytes = images * pixels * width
        yield ImageBytes(part=part, images=images, representation=name, size_bytes=size_bytes)
