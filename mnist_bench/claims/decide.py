"""The verdicts of the paper's claims, from the records of one machine."""

from __future__ import annotations

from collections.abc import Callable

from mnist_bench.claims import cost_claims, layer_claims, learning_claims
from mnist_bench.claims.evidence import Evidence
from mnist_bench.results.claims import ClaimLine

_CLAIMS: tuple[Callable[[Evidence], ClaimLine], ...] = (
    cost_claims.table_1,
    learning_claims.convergence,
    learning_claims.error_trend,
    learning_claims.late_maximum_and_slowing,
    cost_claims.laptop,
    cost_claims.techniques,
    layer_claims.layer_comparison,
    layer_claims.optimizer_comparison,
    layer_claims.layer_maps,
    layer_claims.equation_5,
    layer_claims.dataset_size,
    cost_claims.thread_scaling,
)


def decide(evidence: Evidence) -> tuple[ClaimLine, ...]:
    """All claims with their verdicts, ordered by number."""
    return tuple(decide_claim(evidence) for decide_claim in _CLAIMS)
