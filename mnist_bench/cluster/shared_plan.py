"""Records of a shared plan: the plan, and the shares that machines train."""

from __future__ import annotations

import hashlib
from typing import Literal

from pydantic import Field

from mnist_bench.core.limits import DeviceChoice, Precision
from mnist_bench.core.records import Record


class Share(Record):
    """A training for one machine.

    Attributes:
        seed: Seed number, as on the command line.
        rows: Step counts, rising.
    """

    seed: int
    rows: tuple[int, ...] = Field(min_length=1)

    def __str__(self) -> str:
        return f"seed {self.seed}"


class SharedPlan(Record):
    """A plan, the same for every machine that works on it.

    Attributes:
        schema_version: Of this format; called `schema` in its text.
        name: Of the scenario.
        scenario: The scenario as TOML.
        dataset: Name of the images.
        dataset_digest: Digest of the images.
        experiment: Name of the MLflow experiment.
        threads: Of each training; None takes all cores of the machine.
        precision: Of the arithmetic.
        independent: Whether each step count is trained from step 0.
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
        """Identifies the plan: equal plans have equal digests."""
        return hashlib.sha256(self.to_text().encode()).hexdigest()[:16]

    @property
    def study(self) -> str:
        """Name of the plan's Optuna study."""
        return f"plan-{self.name}-{self.digest}"

    def tag(self, share: Share) -> str:
        """Tag of the runs of a share, from whichever machine."""
        return "-".join(map(str, (self.digest, share.seed, *share.rows)))

    def to_text(self) -> str:
        """JSON for the study attribute."""
        return self.model_dump_json(by_alias=True)
