"""Sizes of the images as files and as arrays."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from mnist_bench.data import mnist
from mnist_bench.data.dataset import Source
from mnist_bench.results.experiments import DatasetSize
from mnist_bench.worker.experiments import dataset_size
from mnist_bench.worker.experiments.dataset_size import TEST_FILE, TRAIN_FILE

GZIP = "gzip as found"


def sizes_by_form(measured: DatasetSize) -> dict[tuple[str, str], int | None]:
    return {(size.part, size.representation): size.size_bytes for size in measured.sizes}


@pytest.fixture(scope="module")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of four blank files of MNIST's shape, the test images compressed."""
    folder = tmp_path_factory.mktemp("blank")
    for file in mnist.MNIST.files:
        header = b"".join(number.to_bytes(4, "big") for number in file.header.values())
        content = header + bytes(file.size_bytes - len(header))
        if file is TEST_FILE:
            (folder / f"{file.name}.gz").write_bytes(gzip.compress(content, 1))
        else:
            (folder / file.name).write_bytes(content)
    return folder


def test_files_and_arrays(blank: Path) -> None:
    found = dataset_size.measure(mnist.find("auto", blank, log=lambda _: None))
    gzip_bytes = (blank / f"{TEST_FILE.name}.gz").stat().st_size
    assert sizes_by_form(found) == {
        ("training", GZIP): None,
        ("training", "IDX file"): 47_040_016,
        ("training", "uint8"): 47_040_000,
        ("training", "float32"): 188_160_000,
        ("training", "float64"): 376_320_000,
        ("training without validation", "uint8"): 43_120_000,
        ("training without validation", "float32"): 172_480_000,
        ("training without validation", "float64"): 344_960_000,
        ("test", GZIP): gzip_bytes,
        ("test", "IDX file"): 7_840_016,
        ("test", "uint8"): 7_840_000,
        ("test", "float32"): 31_360_000,
        ("test", "float64"): 62_720_000,
    }
    assert {size.part: size.images for size in found.sizes} == {
        "training": 60_000, "training without validation": 55_000, "test": 10_000,
    }  # fmt: skip


def test_other_images_have_no_published_size(blank: Path) -> None:
    source = mnist.find("auto", blank, log=lambda _: None)
    forms = [
        size.representation for size in dataset_size._file_sizes(source, "training", TRAIN_FILE)
    ]
    assert forms == [GZIP, "IDX file"]
    mnist_source = source.model_copy(update={"digest": mnist.MNIST.digest})
    published = next(dataset_size._file_sizes(mnist_source, "training", TRAIN_FILE))
    assert (published.representation, published.size_bytes) == ("gzip as published", 9_912_422)


def test_the_sample_has_no_idx_files(sample: Source) -> None:
    found = dataset_size.measure(sample)
    assert {size.representation for size in found.sizes} == {"uint8", "float32", "float64"}
    sizes = sizes_by_form(found)
    assert sizes["training", "uint8"] == 4_500 * 784
    assert sizes["training without validation", "float32"] == 4_000 * 784 * 4
    pixels = mnist.load(sample).test_images.pixels
    for name in ("uint8", "float32", "float64"):
        assert sizes["test", name] == pixels.astype(np.dtype(name)).nbytes
