"""What MNIST's images take, and what a size that is stated of them could mean. Pure."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from pydantic import Field

from mnist_bench.core.records import Record

Part = Literal["training", "training without validation", "test"]
"""All the training images; without those that are kept for validation; the test images."""
Representation = Literal[
    "gzip as published", "gzip as found", "IDX file", "uint8", "float32", "float64"
]


class ImageBytes(Record):
    """What images take.

    Attributes:
        part: Which of them.
        images: How many.
        representation: Compressed file, the file unpacked, or an array of that type.
        size_bytes: None where no such file is at hand.
    """

    part: Part
    images: int
    representation: Representation
    size_bytes: int | None


class Reading(Record):
    """Under which a stated size is true to its last digit.

    Attributes:
        part: Of the images.
        representation: In which they are counted.
        unit: In which the statement is taken.
        value: What they take in that unit.
    """

    part: Part
    representation: Representation
    unit: Literal["GB", "GiB", "Gbit"]
    value: float


class DatasetSize(Record):
    """Claim 11: what the images take.

    Attributes:
        sizes: In each representation.
    """

    kind: Literal["sizes"] = "sizes"
    sizes: tuple[ImageBytes, ...] = Field(min_length=1)

    def readings(self, stated: str) -> tuple[Reading, ...]:
        """Under which representation and unit a stated size of the training images is true.

        Args:
            stated: The number as it is printed, such as `0.099`: true is what rounds to it.
        """
        return tuple(
            Reading(
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
"""Bytes that each may mean where something is said to be so many gigabytes."""


def rounds_to(value: float, stated: str) -> bool:
    """Whether a value is the stated number to its last digit; halves count on either side."""
    printed = Decimal(stated)
    half = Decimal(1).scaleb(int(printed.as_tuple().exponent)) / 2
    return abs(Decimal(repr(value)) - printed) <= half
