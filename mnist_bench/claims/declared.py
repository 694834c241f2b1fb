"""The paper's claims, and what is measured for them, as declared in `claims.toml`."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from importlib import resources

from mnist_bench.results.claims import IMAGE_CLAIMS, Claim, Criterion, MeasuredClaim

ALL = "claims"
"""Argument of `run` for all claims; a single one is `claim-3`."""
BUDGET_SECONDS = 45 * 60.0
"""Default of `--budget`."""
TABLE_1, MARATHON, THREADS = "table-1", "marathon", "threads"
"""Names of packaged scenarios."""
_NEED_INDEPENDENT = frozenset({3, 4})
"""Claims that need independent trainings."""
_SHARED_SECONDS = 420.0
"""Assumed seconds of one training that yields all step counts of Table I."""


@dataclass(frozen=True)
class ClaimInput:
    """A training, an experiment, or the layer maps: one measurement for claims.

    It is the layer maps of Figures 1 to 4 if it has neither `scenario` nor `measures`.

    Attributes:
        seconds: Rough estimate on two cores, used if nothing similar was measured here.
        scenario: Packaged scenario to train; empty for none.
        independent: Whether each step count is trained from step 0.
        measures: Claim whose experiment it is; None for none.
        is_timed: Whether a claim uses its time, so that an invalid run is repeated.
    """

    claims: tuple[int, ...]
    seconds: float
    scenario: str = ""
    seed: int = 0
    independent: bool = False
    measures: MeasuredClaim | None = None
    is_timed: bool = False

    @property
    def needs_images(self) -> bool:
        """Whether it needs the MNIST images."""
        return self.measures is None or self.measures in IMAGE_CLAIMS

    def __str__(self) -> str:
        if self.measures:
            return f"claim {self.measures} by itself"
        if not self.scenario:
            return "figures 1 to 4"
        rows = ", each row from zero" if self.independent else ""
        return f"{self.scenario}, seed {self.seed}{rows}"


_DECLARED = tomllib.loads(
    resources.files(__package__).joinpath("claims.toml").read_text(encoding="utf-8")
)
CLAIMS = tuple(
    Claim(**claim | {"criteria": tuple(Criterion(**each) for each in claim["criteria"])})
    for claim in _DECLARED["claims"]
)
"""By number, from 1 on."""
INPUTS = tuple(
    ClaimInput(**each | {"claims": tuple(each["claims"])}) for each in _DECLARED["inputs"]
)
"""In order of measurement."""
TECHNIQUES = tuple(each.scenario for each in INPUTS if each.scenario.startswith("claim-6-"))
"""Packaged scenarios of techniques other than Table I's network."""


def known_names() -> list[str]:
    """Arguments of `run` that name claims."""
    return [ALL, *(f"claim-{claim.number}" for claim in CLAIMS)]


def numbers(names: Sequence[str]) -> tuple[int, ...] | None:
    """Numbers of the claims named by the arguments of `run`; None if none is named.

    Raises:
        ValueError: Claims are mixed with scenarios, or there is no such claim.
    """
    named = [re.fullmatch(rf"{ALL}|claim-(\d{{1,3}})", name) for name in names]
    if not any(named):
        return None
    if None in named:
        raise ValueError("claims can't be combined with other scenarios: run them separately")
    last = len(CLAIMS)
    wanted = {int(each[1]) for each in named if each and each[1]}
    unknown = sorted(wanted - {*range(1, last + 1)})
    if unknown:
        raise ValueError(f"there is no claim {unknown[0]}: claims are numbered 1 to {last}")
    return tuple(range(1, last + 1)) if ALL in names else tuple(sorted(wanted))


def inputs_of(wanted: Collection[int]) -> tuple[ClaimInput, ...]:
    """Inputs of these claims, with independent trainings only if one of the claims needs them."""
    inputs = [each for each in INPUTS if not set(each.claims).isdisjoint(wanted)]
    if not _NEED_INDEPENDENT.isdisjoint(wanted):
        return tuple(inputs)
    return tuple(shared(each) if each.independent else each for each in inputs)


def shared(independent: ClaimInput) -> ClaimInput:
    """The input with one training for all step counts, for the claims that need no more."""
    claims = tuple(claim for claim in independent.claims if claim not in _NEED_INDEPENDENT)
    return replace(independent, claims=claims, independent=False, seconds=_SHARED_SECONDS)
