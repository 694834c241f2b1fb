"""Spec of a study, saved with it: it can only be resumed with the same one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from mnist_bench.tuning.objective import Goal
from mnist_bench.tuning.space import Space

_IMAGES = "images"


@dataclass(frozen=True)
class StudySpec:
    """What all trials of a study must have in common.

    Attributes:
        images: Digest of the images; None if unknown.
    """

    space: Space
    goal: Goal
    images: str | None

    @classmethod
    def from_attribute(cls, attribute: Mapping[str, str | None]) -> Self:
        """Parse the study attribute.

        Raises:
            ValidationError: Another version wrote it.
        """
        return cls(
            space=Space.model_validate_json(attribute["space"] or ""),
            goal=Goal.model_validate_json(attribute["goal"] or ""),
            images=attribute.get(_IMAGES),
        )

    def to_attribute(self) -> dict[str, str | None]:
        """Value of the study attribute."""
        current = (("space", self.space), ("goal", self.goal))
        return {name: model.model_dump_json() for name, model in current} | {_IMAGES: self.images}

    def difference(self, stored: Mapping[str, str | None]) -> str | None:
        """What differs from a stored spec, as text; None if nothing does."""
        current = self.to_attribute()
        if stored["space"] != current["space"]:
            return "search space"
        if stored["goal"] != current["goal"]:
            return "objective"
        # Studies of older versions have no digest.
        stored_images = stored.get(_IMAGES)
        return (
            "set of images"
            if None not in {stored_images, self.images} and stored_images != self.images
            else None
        )
