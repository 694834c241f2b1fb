"""What a study asks, as its storage keeps it: it goes on with the same question alone; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from mnist_bench.tuning.objective import Goal
from mnist_bench.tuning.space import Space

_IMAGES = "images"


@dataclass(frozen=True)
class StudySpec:
    """What must be the same for trials to belong to one study.

    Attributes:
        space: What may be tried.
        goal: What it is after.
        images: Digest of the images that its trials train on; None where they are not known.
    """

    space: Space
    goal: Goal
    images: str | None

    @classmethod
    def from_attribute(cls, kept: Mapping[str, str | None]) -> Self:
        """As it was kept with a study.

        Raises:
            ValidationError: Another version kept it.
        """
        return cls(
            space=Space.model_validate_json(kept["space"] or ""),
            goal=Goal.model_validate_json(kept["goal"] or ""),
            images=kept.get(_IMAGES),
        )

    def to_attribute(self) -> dict[str, str | None]:
        """As it is kept with the study."""
        asked = (("space", self.space), ("goal", self.goal))
        return {name: model.model_dump_json() for name, model in asked} | {_IMAGES: self.images}

    def difference(self, known: Mapping[str, str | None]) -> str | None:
        """What of a kept question is another one, in words; None where it is the same."""
        asked = self.to_attribute()
        if known["space"] != asked["space"]:
            return "search space"
        if known["goal"] != asked["goal"]:
            return "objective"
        # Studies of elder versions do not tell their images.
        told = known.get(_IMAGES)
        return "set of images" if None not in {told, self.images} and told != self.images else None
