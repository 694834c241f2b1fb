"""Records of a dataset: its source and its loaded splits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnist_bench.core.records import Record

if TYPE_CHECKING:  # slow to import, and `scenarios` needs only image counts
    import numpy as np
    import numpy.typing as npt


class Source(Record):
    """Location, identity and split sizes of a verified dataset.

    Attributes:
        name: `mnist`, `mnist-5k` or `custom:<first 12 digits of digest>`.
        digest: SHA-256 in hexadecimal digits over all images and labels.
        train_digest: SHA-256 over the files that contain the train and validation images.
        location: The folder with the four IDX files, or the sample's file.
    """

    name: str
    digest: str
    train_digest: str
    location: str
    train_images: int
    validation_images: int
    test_images: int

    @property
    def scored_images(self) -> int:
        """Images per evaluation: validation and test."""
        return self.validation_images + self.test_images

    @property
    def comparable(self) -> bool:
        """Whether this is the dataset of Table I."""
        return self.name == "mnist"


@dataclass(frozen=True, eq=False)
class Images:
    """Images with their labels, read-only."""

    pixels: npt.NDArray[np.uint8]
    """(n, 28, 28); 0 is background."""
    labels: npt.NDArray[np.uint8]
    """(n,), the digits 0 to 9."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """The splits, each in file order; `test` is None if it was not loaded."""

    train: Images
    validation: Images
    test: Images | None

    @property
    def scored(self) -> dict[str, Images]:
        """The splits that are evaluated, by name; without the test split if it was not loaded."""
        return {"validation": self.validation} | ({"test": self.test} if self.test else {})

    @property
    def test_images(self) -> Images:
        """The test split, which must have been loaded."""
        if self.test is None:
            raise ValueError("the test split was not loaded")
        return self.test
