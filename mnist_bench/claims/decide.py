"""The verdicts of the paper's claims, from the records of one machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from mnist_bench.claims import cost_claims, layer_claims, learning_claims
from mnist_bench.claims.declared import CLAIMS
from mnist_bench.claims.evidence import Evidence
from mnist_bench.claims.verdicts import Judged, undecided
from mnist_bench.results.claims import Claim, ClaimLine, ClaimVerdict, Decision

_BY_TRAININGS: Mapping[int, Callable[..., Judged]] = {
    1: cost_claims.table_1,
    2: learning_claims.convergence,
    3: learning_claims.error_trend,
    4: learning_claims.late_maximum_and_slowing,
    5: cost_claims.laptop,
    6: cost_claims.techniques,
    12: cost_claims.thread_scaling,
}
"""By number of the claim; each takes the evidence and the claim's criteria."""
_BY_EXPERIMENT: Mapping[int, Callable[..., Iterable[Decision]]] = {
    7: layer_claims.layer_comparison,
    8: layer_claims.optimizer_comparison,
    9: layer_claims.layer_maps,
    10: layer_claims.equation_5,
    11: layer_claims.dataset_size,
}
"""Each takes an experiment's body, or the layer maps, and the claim's criteria."""


def decide(evidence: Evidence) -> tuple[ClaimLine, ...]:
    """All claims with their verdicts, ordered by number."""
    return tuple(_decide_claim(claim, evidence) for claim in CLAIMS)


def _decide_claim(claim: Claim, evidence: Evidence) -> ClaimLine:
    run_ids: list[str] = []
    result = evidence.experiments.get(claim.number)
    measured = evidence.layers if claim.number == 9 else result and result.body
    if claim.number in _BY_TRAININGS:
        decisions, run_ids = _BY_TRAININGS[claim.number](evidence, *claim.criteria)
    elif measured is not None:
        decisions = list(_BY_EXPERIMENT[claim.number](measured, *claim.criteria))
        if result and not result.exclusive:
            decisions = _with_remark(decisions, claim)
    else:
        why = f"not measured; mnist-bench run claim-{claim.number} does"
        decisions = [undecided(each, why) for each in claim.criteria]
    verdicts = {each.verdict for each in decisions} - {None}
    verdict: ClaimVerdict = "holds" if verdicts == {"holds"} else "not decided here"
    return ClaimLine(
        claim=claim.number,
        words=claim.words,
        place=claim.place,
        verdict="does not hold" if "does not hold" in verdicts else verdict,
        decisions=tuple(decisions),
        run_ids=tuple(dict.fromkeys(run_ids)),
    )


def _with_remark(decisions: Sequence[Decision], claim: Claim) -> list[Decision]:
    """Note at times that other benchmarks may have run meanwhile."""
    timed = {criterion.name for criterion in claim.criteria if criterion.is_timed}
    remark = "measured while other benchmarks were not kept away"
    return [
        each.model_copy(update={"note": f"{each.note}; {remark}"})
        if each.verdict and each.criterion in timed
        else each
        for each in decisions
    ]
