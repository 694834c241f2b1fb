"""Whether the paper's claims hold here: decided from what one machine recorded. Pure."""

from __future__ import annotations

from collections.abc import Callable

from mnist_bench.claims import cost_claims as cost
from mnist_bench.claims import layer_claims as convolutions
from mnist_bench.claims import learning_claims as learning
from mnist_bench.claims.evidence import Evidence
from mnist_bench.results.claims import ClaimLine

_JUDGES: tuple[Callable[[Evidence], ClaimLine], ...] = (
    cost.table_1,
    learning.convergence,
    learning.toward_zero,
    learning.maxima_and_pace,
    cost.laptop,
    cost.techniques,
    convolutions.sparseness,
    convolutions.single_samples,
    convolutions.layers,
    convolutions.equation_5,
    convolutions.sizes,
    cost.parallel,
)


def judge(evidence: Evidence) -> tuple[ClaimLine, ...]:
    """Every claim, by its number."""
    return tuple(decide(evidence) for decide in _JUDGES)
