"""A plan that several machines share: what it asks, and the parts it falls into; pure."""

from __future__ import annotations

import hashlib
from typing import Literal

from pydantic import Field

from mnist_bench.core.limits import DeviceChoice, Precision
from mnist_bench.core.records import Record


class Share(Record):
    """A training that one machine does.

    Attributes:
        seed: As the user counts seeds.
        rows: Step counts that are cut from it, rising.
    """

    seed: int
    rows: tuple[int, ...] = Field(min_length=1)

    def __str__(self) -> str:
        return f"seed {self.seed}"


class SharedPlan(Record):
    """What a plan asks, the same of every machine that works on it.

    Attributes:
        schema_version: Of this format; called `schema` in its text.
        name: Of the scenario.
        scenario: The scenario as TOML.
        dataset: Name of the images.
        dataset_digest: Of these.
        experiment: MLflow's experiment.
        threads: Of each training; None takes every core of the machine that does it.
        precision: Of the arithmetic.
        device: Where it is done.
        independent: Whether each row is trained from zero.
    """

    schema_version: Literal[1] = Field(default=1, alias="schema")
    name: str
    scenario: str
    dataset: str
    dataset_digest: str
    experiment: str
    threads: int | None
    precision: Precision
    device: DeviceChoice
    independent: bool

    @property
    def digest(self) -> str:
        """Stands for all that is asked: plans that ask the same are one."""
        return hashlib.sha256(self.to_text().encode()).hexdigest()[:16]

    @property
    def study(self) -> str:
        """What it is called in its storage."""
        return f"plan-{self.name}-{self.digest}"

    def tag(self, part: Share) -> str:
        """What the runs of a part are known by, whichever machine they come from."""
        return "-".join(map(str, (self.digest, part.seed, *part.rows)))

    def to_text(self) -> str:
        """As its storage keeps it."""
        return self.model_dump_json(by_alias=True)
