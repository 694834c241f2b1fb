"""The inputs of `mnist-bench run claims`: what is measured, for which claims, within a budget."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from mnist_bench.claims import declared
from mnist_bench.results.claims import IMAGE_CLAIMS, MeasuredClaim
from mnist_bench.scenarios import paper

ALL = "claims"
"""Argument of `run` for all claims; a single one is `claim-3`."""
BUDGET_SECONDS = 45 * 60.0
"""Default of `--budget`."""
TABLE_1, MARATHON, THREADS = "table-1", "marathon", "threads"
"""Names of packaged scenarios."""
TECHNIQUES = (
    "claim-6-neighbours",
    "claim-6-logistic",
    "claim-6-lenet-5",
    "claim-6-fully-connected-parameters",
    "claim-6-fully-connected-operations",
    "claim-6-svm",
)
"""Packaged scenarios of other techniques, fastest first."""
CONVOLUTIONAL_TECHNIQUE = "claim-6-lenet-5"
"""Reported but not compared: the claim is about techniques that are not convolutional."""
SMALL_TECHNIQUE, LARGE_TECHNIQUE = "claim-6-svm-small", "claim-6-svm"
"""The first replaces the second if that exceeds the budget."""
_THREADS_SEEDS = 3
_TECHNIQUE_SECONDS = (60.0, 70.0, 100.0, 260.0, 700.0, 700.0)
"""Assumed seconds of each of `TECHNIQUES`; one seed, since most are deterministic."""
_NEED_INDEPENDENT = frozenset({3, 4})
"""Claims that need independent trainings."""
_SHARED_SECONDS = 420.0
"""Assumed seconds of one training that yields all step counts of Table I."""


@dataclass(frozen=True)
class ClaimInput:
    """A training, an experiment, or the layer maps: one measurement for claims.

    It is the layer maps of Figures 1 to 4 if it has neither `scenario` nor `measures`.

    Attributes:
        claims: Numbers of the claims that use it.
        scenario: Packaged scenario to train; empty for none.
        seed: Of the training.
        independent: Whether each step count is trained from step 0.
        measures: Claim whose experiment it is; None for none.
        usual_seconds: Rough estimate on two cores, used if nothing similar was measured here.
        is_timed: Whether a claim uses its time, so that an invalid run is repeated.
        stands_in_for: Scenario that it replaces if that exceeds the budget; empty for none.
    """

    claims: tuple[int, ...]
    usual_seconds: float
    scenario: str = ""
    seed: int = 0
    independent: bool = False
    measures: MeasuredClaim | None = None
    is_timed: bool = False
    stands_in_for: str = ""

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


def _table_1(seed: int) -> ClaimInput:
    """Training of one seed. Table I needs one seed, a spread needs two, claims 2 to 4 need all."""
    claims = {0: (1, 2, 3, 4, 5, 6), 1: (2, 3, 4, 6)}.get(seed, (2, 3, 4))
    return ClaimInput(claims, 760.0, TABLE_1, seed, independent=True, is_timed=seed == 0)


_TECHNIQUE_INPUTS = tuple(
    ClaimInput((6,), seconds, name)
    for name, seconds in zip(TECHNIQUES, _TECHNIQUE_SECONDS, strict=True)
)
_QUICK = 4
"""Number of fast techniques; each of the others takes about ten minutes."""

INPUTS: tuple[ClaimInput, ...] = (
    ClaimInput((10,), 20.0, measures=10),
    ClaimInput((11,), 20.0, measures=11),
    ClaimInput((9,), 40.0),
    ClaimInput((7,), 120.0, measures=7),
    _table_1(0),
    *(ClaimInput((12,), 50.0, THREADS, seed, is_timed=True) for seed in range(_THREADS_SEEDS)),
    ClaimInput((8,), 700.0, measures=8),
    *_TECHNIQUE_INPUTS[:_QUICK],
    _table_1(1),  # claim 6 needs two seeds of the network, even with few other techniques
    *_TECHNIQUE_INPUTS[_QUICK:],
    ClaimInput((6,), 60.0, SMALL_TECHNIQUE, stands_in_for=LARGE_TECHNIQUE),
    *(_table_1(seed) for seed in range(2, paper.CLAIM_SEEDS)),
    ClaimInput((3,), 1_000.0, MARATHON),
)
"""In order of measurement: most useful per second first."""


def known_names() -> list[str]:
    """Arguments of `run` that name claims."""
    return [ALL, *(f"claim-{claim.number}" for claim in declared.CLAIMS)]


def numbers(names: Sequence[str]) -> tuple[int, ...] | None:
    """Numbers of the claims named by the arguments of `run`; None if none is named.

    Args:
        names: As given by the user.

    Raises:
        ValueError: Claims are mixed with scenarios, or there is no such claim.
    """
    found = [_numbers(name) for name in names]
    if all(each is None for each in found):
        return None
    if None in found:
        raise ValueError("claims can't be combined with other scenarios: run them separately")
    wanted = {number for each in found if each for number in each}
    unknown = sorted(wanted - {claim.number for claim in declared.CLAIMS})
    if unknown:
        raise ValueError(
            f"there is no claim {unknown[0]}: claims are numbered 1 to {len(declared.CLAIMS)}"
        )
    return tuple(sorted(wanted))


def _numbers(name: str) -> tuple[int, ...] | None:
    if name == ALL:
        return tuple(claim.number for claim in declared.CLAIMS)
    match = re.fullmatch(r"claim-(\d{1,3})", name)
    return (int(match[1]),) if match else None


def inputs_of(wanted: Collection[int]) -> tuple[ClaimInput, ...]:
    """Inputs of these claims, with independent trainings only if one of the claims needs them."""
    claims = frozenset(wanted)
    return tuple(_as_needed(each, claims) for each in INPUTS if claims.intersection(each.claims))


def _as_needed(claim_input: ClaimInput, wanted: frozenset[int]) -> ClaimInput:
    if not claim_input.independent or wanted.intersection(claim_input.claims) & _NEED_INDEPENDENT:
        return claim_input
    claims = tuple(claim for claim in claim_input.claims if claim not in _NEED_INDEPENDENT)
    return replace(claim_input, claims=claims, independent=False, usual_seconds=_SHARED_SECONDS)


def fitting(costs: Sequence[float], budget_seconds: float) -> tuple[bool, ...]:
    """Which inputs fit a budget: greedily, in order.

    Args:
        costs: Seconds of each input, in order of measurement.
        budget_seconds: For all of them.
    """
    remaining_seconds, fits = budget_seconds, []
    for cost in costs:
        fits.append(cost <= remaining_seconds)
        remaining_seconds -= cost if fits[-1] else 0.0
    return tuple(fits)
