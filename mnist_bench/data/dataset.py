"""Images with their labels: where they are, and what was loaded of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnist_bench.core.records import Record

if TYPE_CHECKING:  # NumPy is loaded where images are read: `scenarios` only asks how many there are
    import numpy as np
    import numpy.typing as npt


class Source(Record):
    """Images that were found and verified.

    Attributes:
        name: `mnist`, `mnist-5k` or `custom:<first 12 digits of digest>`.
        digest: SHA-256 in hexadecimal digits that stands for all images and labels.
        train_digest: The same of the files that hold the train and validation images alone.
        location: The folder with the four IDX files, or the sample's file.
        train_images: Images to train on.
        validation_images: Images to choose by.
        test_images: Images to score on.
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
        """Images of one evaluation: validation and test."""
        return self.validation_images + self.test_images

    @property
    def comparable(self) -> bool:
        """Whether these are the images of Table I."""
        return self.name == "mnist"


@dataclass(frozen=True, eq=False)
class Images:
    """Some images with their labels.

    Attributes:
        pixels: uint8 (n, 28, 28), 0 is paper and 255 is ink; read-only.
        labels: uint8 (n,), the digits 0 to 9; read-only.
    """

    pixels: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Dataset:
    """The splits, each in its file's order.

    Attributes:
        train: Images to train on.
        validation: Images to choose by.
        test: Images to score on; None where nobody may look at them.
    """

    train: Images
    validation: Images
    test: Images | None

    @property
    def scored(self) -> dict[str, Images]:
        """What is scored, by the split's name: without the test split where it was not loaded."""
        return {"validation": self.validation} | ({"test": self.test} if self.test else {})

    @property
    def test_images(self) -> Images:
        """The test split, where it was loaded.

        Raises:
            ValueError: It was not.
        """
        if self.test is None:
            raise ValueError("the test split was not loaded")
        return self.test
