"""A study's search that machines share: what whoever joins must know of it; pure."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, ValidationError

from mnist_bench.core.errors import another_version
from mnist_bench.core.records import Record


class SharedStudy(Record):
    """What a search asks of every machine, beside its study's question.

    Attributes:
        schema_version: Of this format; called `schema` in its text.
        trials: So many that finished or were pruned.
        dataset: Name of the images.
        dataset_digest: Of these.
        experiment: MLflow's experiment.
        machine_kind: What the machine that began it is made of.
        is_open: Whether trials are still asked for.
    """

    schema_version: Literal[1] = Field(default=1, alias="schema")
    trials: int
    dataset: str
    dataset_digest: str
    experiment: str
    machine_kind: str
    is_open: bool

    @classmethod
    def told(cls, study: str, text: str) -> Self:
        """As its storage keeps it.

        Args:
            study: Its name.
            text: What is kept with it.

        Raises:
            BenchError: Another version wrote it.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise another_version(f"the study {study}") from error

    def to_text(self) -> str:
        """As its storage keeps it."""
        return self.model_dump_json(by_alias=True)
