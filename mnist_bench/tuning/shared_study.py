"""What machines that join a study need to know about its search."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, ValidationError

from mnist_bench.core.errors import version_mismatch
from mnist_bench.core.records import Record


class SharedStudy(Record):
    """Search of a shared study, beyond its space and goal.

    Attributes:
        schema_version: Of this format; called `schema` in its text.
        trials: Number of trials that finish or are pruned.
        dataset: Name of the images.
        dataset_digest: Digest of the images.
        experiment: Name of the MLflow experiment.
        machine_kind: Kind of the machine that started the study.
        is_open: Whether more trials are requested.
    """

    schema_version: Literal[1] = Field(default=1, alias="schema")
    trials: int
    dataset: str
    dataset_digest: str
    experiment: str
    machine_kind: str
    is_open: bool

    @classmethod
    def from_text(cls, study: str, text: str) -> Self:
        """Parse the study attribute.

        Args:
            study: Name of the study.
            text: JSON.

        Raises:
            BenchError: Another version wrote it.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise version_mismatch(f"the study {study}") from error

    def to_text(self) -> str:
        """JSON for the study attribute."""
        return self.model_dump_json(by_alias=True)
