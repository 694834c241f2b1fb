"""Sizes of MNIST's images in several representations, compared with a stated size."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from pydantic import Field

from mnist_bench.core.records import Record

Subset = Literal["training", "training without validation", "test"]
"""All training images; training images without the validation split; test images."""
Representation = Literal[
    "gzip as published", "gzip as found", "IDX file", "uint8", "float32", "float64"
]


class ImageBytes(Record):
    """Size of a set of images in one representation.

    Attributes:
        part: Which images.
        images: Number of images.
        representation: Compressed file, uncompressed file, or an array of that type.
        size_bytes: None if there is no such file here.
    """

    part: Subset
    images: int
    representation: Representation
    size_bytes: int | None


class SizeMatch(Record):
    """A representation and unit in which a stated size is correct to its last digit.

    Attributes:
        part: Which images.
        representation: File or array type.
        unit: Unit that makes the stated number correct.
        value: Size in that unit.
    """

    part: Subset
    representation: Representation
    unit: Literal["GB", "GiB", "Gbit"]
    value: float


class DatasetSize(Record):
    """Claim 11: sizes of the images in each representation."""

    kind: Literal["sizes"] = "sizes"
    sizes: tuple[ImageBytes, ...] = Field(min_length=1)

    def readings(self, stated: str) -> tuple[SizeMatch, ...]:
        """Representations and units in which the training images have the stated size.

        Args:
            stated: The number as printed, such as `0.099`; a size matches if it rounds to it.
        """
        return tuple(
            SizeMatch(
                part=each.part,
                representation=each.representation,
                unit=unit,
                value=each.size_bytes / unit_bytes,
            )
            for each in self.sizes
            if each.part != "test" and each.size_bytes is not None
            for unit, unit_bytes in UNITS.items()
            if rounds_to(each.size_bytes / unit_bytes, stated)
        )


UNITS: dict[Literal["GB", "GiB", "Gbit"], float] = {"GB": 1e9, "GiB": 2.0**30, "Gbit": 1e9 / 8}
"""Bytes per unit; each may be meant by “gigabytes”."""


def rounds_to(value: float, stated: str) -> bool:
    """Whether a value rounds to the stated number; half a digit off is accepted on either side."""
    printed = Decimal(stated)
    half = Decimal(1).scaleb(int(printed.as_tuple().exponent)) / 2
    return abs(Decimal(repr(value)) - printed) <= half
