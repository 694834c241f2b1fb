"""What `mnist-bench run claims` measures: its parts, what each serves, what fits a budget. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from mnist_bench.claims import declared
from mnist_bench.results.claims import ON_IMAGES, MeasuredClaim
from mnist_bench.scenarios import paper

ALL = "claims"
"""What `run` takes for all of them; one is `claim-3`."""
BUDGET_SECONDS = 45 * 60.0
"""Where the user names none."""
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
"""Names of the packaged scenarios of other techniques, the quick ones first."""
CONVOLUTIONAL_TECHNIQUE = "claim-6-lenet-5"
"""One of them that is told beside, and judged by nothing: the claim is about the others."""
SMALL_TECHNIQUE, LARGE_TECHNIQUE = "claim-6-svm-small", "claim-6-svm"
"""The first is measured where there is no room for the second."""
_THREADS_SEEDS = 3
_TECHNIQUE_SECONDS = (60.0, 70.0, 100.0, 260.0, 700.0, 700.0)
"""What each of `TECHNIQUES` is taken to take; one seed, since most leave nothing to chance."""
_WANT_INDEPENDENT = frozenset({3, 4})
"""Claims that are decided by trainings which share nothing."""
_SHARED_SECONDS = 420.0
"""What all rows of Table I take where they are cut from one training."""


@dataclass(frozen=True)
class ClaimInput:
    """One thing to measure.

    Attributes:
        claims: That it serves.
        scenario: Name of a packaged one; empty without one.
        seed: Of the training.
        independent: Whether each row is trained from zero.
        measures: The claim that is measured by itself; None where that is not what is done. Where
            nothing is trained either, the figures' network is looked through.
        usual_seconds: A rough guess of what it takes on two cores, for a budget, where nothing like
            it was measured here.
        is_timed: Whether its time decides something, so that a spoilt one is done again.
        stands_in_for: Scenario of the part that it is measured in the place of, where that one has
            no room; empty for most.
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
        """Whether it can't be measured without them."""
        return self.measures is None or self.measures in ON_IMAGES

    def __str__(self) -> str:
        if self.measures:
            return f"claim {self.measures} by itself"
        if not self.scenario:
            return "figures 1 to 4"
        rows = ", each row from zero" if self.independent else ""
        return f"{self.scenario}, seed {self.seed}{rows}"


def _table_1(seed: int) -> ClaimInput:
    """A seed: one is enough for Table I's rows, two for a spread, claims on learning want all."""
    claims = {0: (1, 2, 3, 4, 5, 6), 1: (2, 3, 4, 6)}.get(seed, (2, 3, 4))
    return ClaimInput(claims, 760.0, TABLE_1, seed, independent=True, is_timed=seed == 0)


_TECHNIQUE_PARTS = tuple(
    ClaimInput((6,), seconds, name)
    for name, seconds in zip(TECHNIQUES, _TECHNIQUE_SECONDS, strict=True)
)
_QUICK = 4
"""Of these parts: the others take ten minutes each."""

INPUTS: tuple[ClaimInput, ...] = (
    ClaimInput((10,), 20.0, measures=10),
    ClaimInput((11,), 20.0, measures=11),
    ClaimInput((9,), 40.0),
    ClaimInput((7,), 120.0, measures=7),
    _table_1(0),
    *(ClaimInput((12,), 50.0, THREADS, seed, is_timed=True) for seed in range(_THREADS_SEEDS)),
    ClaimInput((8,), 700.0, measures=8),
    *_TECHNIQUE_PARTS[:_QUICK],
    _table_1(1),  # claim 6 wants two of its seeds beside however few of the others
    *_TECHNIQUE_PARTS[_QUICK:],
    ClaimInput((6,), 60.0, SMALL_TECHNIQUE, stands_in_for=LARGE_TECHNIQUE),
    *(_table_1(seed) for seed in range(2, paper.CLAIM_SEEDS)),
    ClaimInput((3,), 1_000.0, MARATHON),
)
"""In the order in which they are measured: what serves most for its time comes first."""


def known_names() -> list[str]:
    """What `run` takes for claims."""
    return [ALL, *(f"claim-{claim.number}" for claim in declared.CLAIMS)]


def numbers(names: Sequence[str]) -> tuple[int, ...] | None:
    """The claims that names of scenarios ask for; None where they ask for none.

    Args:
        names: As the user gave them.

    Raises:
        ValueError: Some are claims and some are not, or there is no such claim.
    """
    found = [_number(name) for name in names]
    if all(each is None for each in found):
        return None
    if None in found:
        raise ValueError("claims are run by themselves: leave the other scenarios out")
    wanted = {number for each in found if each for number in each}
    unknown = sorted(wanted - {claim.number for claim in declared.CLAIMS})
    if unknown:
        raise ValueError(f"there is no claim {unknown[0]}: they are 1 to {len(declared.CLAIMS)}")
    return tuple(sorted(wanted))


def _number(name: str) -> tuple[int, ...] | None:
    if name == ALL:
        return tuple(claim.number for claim in declared.CLAIMS)
    match = re.fullmatch(r"claim-(\d{1,3})", name)
    return (int(match[1]),) if match else None


def inputs_of(wanted: Collection[int]) -> tuple[ClaimInput, ...]:
    """The parts that serve some of these claims, each no longer than these claims need it."""
    claims = frozenset(wanted)
    return tuple(_as_needed(part, claims) for part in INPUTS if claims.intersection(part.claims))


def _as_needed(part: ClaimInput, wanted: frozenset[int]) -> ClaimInput:
    if not part.independent or wanted.intersection(part.claims) & _WANT_INDEPENDENT:
        return part
    claims = tuple(claim for claim in part.claims if claim not in _WANT_INDEPENDENT)
    return replace(part, claims=claims, independent=False, usual_seconds=_SHARED_SECONDS)


def fitting(costs: Sequence[float], budget_seconds: float) -> tuple[bool, ...]:
    """Which of some parts fit into a budget together, each taken where it still does.

    Args:
        costs: Seconds of each, in their order.
        budget_seconds: For all of them.
    """
    left, fits = budget_seconds, []
    for cost in costs:
        fits.append(cost <= left)
        left -= cost if fits[-1] else 0.0
    return tuple(fits)
