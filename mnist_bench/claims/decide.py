"""Whether the paper's claims hold here: decided from what one machine recorded. Pure."""

from __future__ import annotations

from collections.abc import Callable

from mnist_bench.claims import cost_claims, layer_claims, learning_claims
from mnist_bench.claims.evidence import Evidence
from mnist_bench.results.claims import ClaimLine

_CLAIMS: tuple[Callable[[Evidence], ClaimLine], ...] = (
    cost_claims.table_1,
    learning_claims.convergence,
    learning_claims.toward_zero,
    learning_claims.maxima_and_pace,
    cost_claims.laptop,
    cost_claims.techniques,
    layer_claims.sparseness,
    layer_claims.single_samples,
    layer_claims.layers,
    layer_claims.equation_5,
    layer_claims.sizes,
    cost_claims.parallel,
)


def decide(evidence: Evidence) -> tuple[ClaimLine, ...]:
    """Every claim, by its number."""
    return tuple(decide_claim(evidence) for decide_claim in _CLAIMS)
