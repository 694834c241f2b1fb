"""Find, download, verify and load MNIST and its embedded sample.

Every source is verified by the SHA-256 of its uncompressed bytes, so that compression makes no
difference and other images are detected.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from mnist_bench.core import files
from mnist_bench.core.errors import BenchError
from mnist_bench.core.limits import DatasetChoice
from mnist_bench.data import download, idx, sample
from mnist_bench.data.dataset import Dataset, Images, Source
from mnist_bench.data.idx import SIDE, IdxFile, sha256

MIRRORS: tuple[str, ...] = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
"""Addresses of folders with MNIST's files, in the order of use."""

_TRAIN_FILES = 2
"""The first two of the four files contain the train and validation images."""
_FOLDER_HINT = "set --data DIR or MNIST_BENCH_DATA to a folder with MNIST's four IDX files"
_TORCHVISION = ("MNIST/raw", "raw")
"""Where torchvision keeps the files, below its `root`."""
_KERAS_FILE = "mnist.npz"


@dataclass(frozen=True)
class IdxSet:
    """The four IDX files of a dataset.

    Attributes:
        files: Train images, train labels, test images, test labels.
        validation_images: Number of images at the start of the train files used for validation.
    """

    files: tuple[IdxFile, IdxFile, IdxFile, IdxFile]
    validation_images: int

    @property
    def digest(self) -> str:
        """SHA-256 over all four files."""
        return _combined_digest([file.digest for file in self.files])


MNIST = IdxSet(
    files=(
        IdxFile(
            "train-images-idx3-ubyte",
            60_000,
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        ),
        IdxFile(
            "train-labels-idx1-ubyte",
            60_000,
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        ),
        IdxFile(
            "t10k-images-idx3-ubyte",
            10_000,
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        ),
        IdxFile(
            "t10k-labels-idx1-ubyte",
            10_000,
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
    ),
    validation_images=5_000,
)


def cache_folder() -> Path:
    """The user's cache folder."""
    return files.user_folder("cache")


def find(
    choice: DatasetChoice,
    folder: Path | None,
    *,
    log: Callable[[str], None],
    show_progress: bool = False,
) -> Source:
    """Find the images, download them if needed, and verify them.

    Args:
        choice: Which images.
        folder: The user's folder, the only place to search if given.
        log: Receives one line about a download or an unexpected dataset.
        show_progress: Whether downloads show a progress bar on standard error.
    """
    if folder is not None:
        return _from_folder(choice, folder, log)
    if choice == sample.NAME:
        return _sample_source()
    return _from_mirrors(choice, log, show_progress=show_progress)


def find_local(digest: str) -> Source | None:
    """The images with this digest, if they need no download; else None."""
    if digest == sample.DIGEST:
        return _sample_source()
    if digest == MNIST.digest:
        cache = cache_folder() / "mnist"
        if all(_is_cached(cache / file.name, file) for file in MNIST.files):
            return _idx_source("mnist", [file.digest for file in MNIST.files], cache)
    return None


def load(source: Source, *, with_test: bool = True) -> Dataset:
    """Load the images of a source as returned by `find`, unless they have changed since.

    Without the test split, its files are not opened.
    """
    location = Path(source.location)
    load_splits = _load_sample if source.name == sample.NAME else _load_idx
    dataset, digest = load_splits(location, with_test=with_test)
    if digest != (source.digest if with_test else source.train_digest):
        raise BenchError(
            f"the images in {location} have changed since they were verified",
            "don't change them during runs, and start the command again",
        )
    return dataset


# The user's folder


def _checked_folder(folder: Path) -> Path:
    """Absolute path of a folder that exists and is not empty."""
    try:
        folder = folder.expanduser().absolute()  # the worker may have another working folder
        if not folder.exists():
            raise BenchError(f"there is no folder {folder}", _FOLDER_HINT)
        if not folder.is_dir():
            raise BenchError(f"{folder} is not a folder", _FOLDER_HINT)
        if not any(folder.iterdir()):
            raise BenchError(f"the folder {folder} is empty", _FOLDER_HINT)
    except (OSError, RuntimeError) as error:
        raise BenchError(f"can't read the folder {folder}: {error}", _FOLDER_HINT) from error
    return folder


def _idx_folder(folder: Path) -> Path:
    """The folder itself, or the one below it where torchvision keeps the files."""
    with idx.reading(folder):
        for place in (folder, *(folder / name for name in _TORCHVISION)):
            if any(idx.existing_paths(place, file) for file in MNIST.files):
                return place
        if (folder / _KERAS_FILE).is_file():
            raise BenchError(
                f"{folder / _KERAS_FILE} is in the format of Keras, which is not supported",
                "leave out --data and unset MNIST_BENCH_DATA to download MNIST's IDX files",
            )
    return folder


def _from_folder(choice: DatasetChoice, folder: Path, log: Callable[[str], None]) -> Source:
    """The dataset in the user's folder, named by its digest."""
    if choice == sample.NAME:
        raise BenchError(
            f"the dataset {sample.NAME} is embedded and can't come from {folder}",
            "leave out --data and unset MNIST_BENCH_DATA, or choose another --dataset",
        )
    folder = _idx_folder(_checked_folder(folder))
    contents = idx.read_folder(folder, MNIST.files, log)
    digests = [sha256(content) for content in contents]
    digest = _combined_digest(digests)
    if digest == MNIST.digest:
        return _idx_source("mnist", digests, folder)
    if choice == "mnist":
        raise BenchError(
            f"{folder} contains other images or labels than MNIST's (digest {digest[:12]})",
            f"{_FOLDER_HINT}, or choose --dataset auto to run on these images",
        )
    name = f"custom:{digest[:12]}"
    log(f"{folder} is not MNIST: running as {name}, not comparable with Table I")
    return _idx_source(name, digests, folder)


def _idx_source(name: str, digests: Sequence[str], folder: Path) -> Source:
    return Source(
        name=name,
        digest=_combined_digest(digests),
        train_digest=_combined_digest(digests[:_TRAIN_FILES]),
        location=str(folder),
        train_images=MNIST.files[0].count - MNIST.validation_images,
        validation_images=MNIST.validation_images,
        test_images=MNIST.files[2].count,
    )


def _load_idx(folder: Path, *, with_test: bool) -> tuple[Dataset, str]:
    """Splits and digest of IDX files."""
    import numpy as np

    files = MNIST.files if with_test else MNIST.files[:_TRAIN_FILES]
    contents = idx.read_folder(folder, files)
    arrays = [
        np.frombuffer(content, np.uint8, offset=file.header_bytes)
        for file, content in zip(files, contents, strict=True)
    ]
    pixels, *test_pixels = (array.reshape(-1, SIDE, SIDE) for array in arrays[::2])
    labels, *test_labels = arrays[1::2]
    first = MNIST.validation_images
    dataset = Dataset(
        train=Images(pixels[first:], labels[first:]),
        validation=Images(pixels[:first], labels[:first]),
        test=Images(*test_pixels, *test_labels) if with_test else None,
    )
    return dataset, _combined_digest([sha256(content) for content in contents])


def _combined_digest(digests: Sequence[str]) -> str:
    """One digest over several, in their order."""
    return sha256("".join(digests).encode())


# Cache and mirrors


def _from_mirrors(
    choice: DatasetChoice, log: Callable[[str], None], *, show_progress: bool
) -> Source:
    """MNIST from the cache, downloaded if missing there."""
    folder = cache_folder() / "mnist"
    missing = [file for file in MNIST.files if not _is_cached(folder / file.name, file)]
    if missing:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass  # fails before a download whose result could not be written
            if not show_progress:
                log(f"downloading MNIST, 12 MB, to {folder}")
            failures = download.download(missing, folder, MIRRORS, show_progress=show_progress)
        except OSError as error:
            raise BenchError(
                f"can't write the cache folder {folder}: {error.strerror or error}",
                f"make it writable, or {_FOLDER_HINT}",
            ) from error
        if failures:
            return _fall_back_to_sample(choice, failures, log)
        log(f"downloaded MNIST to {folder}")
    return _idx_source("mnist", [file.digest for file in MNIST.files], folder)


def _is_cached(path: Path, file: IdxFile) -> bool:
    try:
        return sha256(idx.read_file(path, file)) == file.digest
    except BenchError:
        return False


def _fall_back_to_sample(
    choice: DatasetChoice, failures: dict[str, str], log: Callable[[str], None]
) -> Source:
    """The embedded sample, if the choice allows it."""
    reasons = ", ".join(f"{urlsplit(url).netloc}: {reason}" for url, reason in failures.items())
    problem = f"MNIST can't be downloaded ({reasons})"
    remedy = f"connect to the network, or {_FOLDER_HINT}"
    if choice == "mnist":
        raise BenchError(
            problem,
            f"{remedy}, or choose --dataset {sample.NAME}, which is not comparable with Table I",
        )
    log(
        f"{problem}: running on the embedded sample {sample.NAME} of {sample.SIZE:,} images, "
        f"not comparable with Table I; {remedy}"
    )
    return _sample_source()


# The embedded sample


def _sample_source() -> Source:
    train, validation, test = sample.SPLIT_SIZES
    return Source(
        name=sample.NAME,
        digest=sample.DIGEST,
        train_digest=sample.DIGEST,  # one file contains all splits
        location=str(sample.find_or_create(cache_folder())),
        train_images=train,
        validation_images=validation,
        test_images=test,
    )


def _load_sample(path: Path, *, with_test: bool) -> tuple[Dataset, str]:
    """Splits and digest of the sample's file."""
    splits, digest = sample.read(path)
    train, validation, test = (Images(*split) for split in splits)
    return Dataset(train, validation, test if with_test else None), digest
