"""Claims 7 to 11: what convolutions are worth, how they are computed, what figures show. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

from mnist_bench.analysis.statistics import mean_of
from mnist_bench.claims import declared
from mnist_bench.claims.evidence import Evidence
from mnist_bench.claims.verdicts import above, decided, line_of, shown, told, undecided
from mnist_bench.core import formatting
from mnist_bench.results.claims import ClaimLine, Criterion, Decision
from mnist_bench.results.dataset_size import UNITS, DatasetSize
from mnist_bench.results.experiments import (
    ConvolutionCheck,
    LayerComparison,
    LayerCost,
    LayerKind,
    LossCurve,
    LossPoint,
    Method,
    OptimizerComparison,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from mnist_bench.results.layer_maps import Maps

_BodyT = TypeVar("_BodyT", LayerComparison, OptimizerComparison, ConvolutionCheck, DatasetSize)


def _found(evidence: Evidence, number: int, kind: type[_BodyT]) -> _BodyT | None:
    """The figures that were measured for a claim; None where nobody measured."""
    finding = evidence.findings.get(number)
    return finding.body if finding and isinstance(finding.body, kind) else None


def _nothing(number: int) -> ClaimLine:
    claim = declared.claim_of(number)
    why = f"not measured; mnist-bench run claim-{number} does"
    return line_of(claim, [undecided(each, why) for each in claim.criteria], ())


def _in_company(evidence: Evidence, number: int, timed: Decision) -> Decision:
    """What is decided by seconds, with a word where others may have had a part in them."""
    finding = evidence.findings.get(number)
    if finding is None or finding.exclusive:
        return timed
    company = "measured while other benchmarks were not kept away"
    return timed.model_copy(update={"note": f"{timed.note}; {company}"})


def sparseness(evidence: Evidence) -> ClaimLine:
    """Claim 7: a convolution beside layers that compute its map with more weights."""
    body = _found(evidence, 7, LayerComparison)
    if body is None:
        return _nothing(7)
    claim = declared.claim_of(7)
    parameters, memory, operations, time = claim.criteria
    sides = sorted({cost.side for cost in body.costs})
    costs = {(cost.kind, cost.side): cost for cost in body.costs}
    weights = [_times(costs, side, "parameters") for side in sides]
    held = [_times(costs, side, "weight_bytes") for side in sides]
    adds = [_times(costs, side, "multiply_adds") for side in sides]
    decisions = [
        _growing(parameters, weights, sides, "parameters"),
        _growing(memory, held, sides, "bytes of weights"),
        _growing(operations, adds, sides, "multiply-adds"),
        _in_company(evidence, 7, _time(time, costs, sides)),
        *_local(costs, sides),
    ]
    return line_of(claim, decisions, ())


Costs = dict[tuple[LayerKind, int], LayerCost]
"""By kind and side."""


def _times(costs: Costs, side: int, figure: str) -> float:
    dense, convolution = costs["dense", side], costs["convolution", side]
    return float(getattr(dense, figure)) / float(getattr(convolution, figure))


def _growing(
    criterion: Criterion, ratios: Sequence[float], sides: Sequence[int], what: str
) -> Decision:
    grows = all(after > before for before, after in pairwise(ratios))
    each = ", ".join(
        f"{side}×{side}: {ratio:,.4g}" for side, ratio in zip(sides, ratios, strict=True)
    )
    return decided(
        criterion,
        shown(grows and min(ratios) > criterion.threshold),
        ratios[-1],
        "ratio",
        note=f"counted exactly, at the largest side; {what} by side, one map of one channel: "
        f"{each}",
    )


def _time(criterion: Criterion, costs: Costs, sides: Sequence[int]) -> Decision:
    for side in reversed(sides):
        dense, convolution = costs["dense", side].seconds, costs["convolution", side].seconds
        if dense and convolution and len(dense) == len(convolution) > 1:
            found = mean_of([a / b for a, b in zip(dense, convolution, strict=True)])
            note = (
                f"{side}×{side} pixels; the ratio repeat by repeat, which took turns, and "
                f"Student's interval of its mean; {_by_side(costs, sides)}; "
                f"{_local_time(costs, side)}"
            )
            return decided(criterion, above(found, criterion.threshold), found, "ratio",
                           note=note)  # fmt: skip
    return undecided(criterion, "no size was timed with both layers")


def _by_side(costs: Costs, sides: Sequence[int]) -> str:
    """The same ratio as the width grows, of medians."""
    told = []
    for side in sides:
        dense, convolution = costs["dense", side].seconds, costs["convolution", side].seconds
        if dense and convolution:
            ratio = statistics.median(dense) / statistics.median(convolution)
            told.append(f"{side}×{side}: {ratio:.3g}")
    return f"ratio of medians by side: {', '.join(told)}"


def _local_time(costs: Costs, side: int) -> str:
    local, convolution = costs["local", side].seconds, costs["convolution", side].seconds
    if not local or not convolution:
        return "the layer that is sparse alone was not timed there"
    ratio = statistics.median(local) / statistics.median(convolution)
    return f"the layer that is sparse alone took {ratio:.3g} times the convolution's median"


def _local(costs: Costs, sides: Sequence[int]) -> list[Decision]:
    """What sparseness alone saves, without shared weights: the paper's k × n."""
    side = sides[-1]
    dense, local = costs["dense", side], costs["local", side]
    return [
        told(
            "sparse alone",
            "Weights of the fully connected layer by those of a layer that is sparse and shares "
            "none",
            dense.parameters / local.parameters,
            "ratio",
            f"{side}×{side} pixels; the paper's O(k×n) counts such a layer's. Its multiply-adds "
            f"are the convolution's: {formatting.count(local.multiply_adds)}. Where they were built the "
            f"maps of all three differ by at most {_difference(costs):.1e}",
        )
    ]


def _difference(costs: Costs) -> float:
    """The largest between a map and the convolution's."""
    return max((cost.largest_difference or 0.0 for cost in costs.values()), default=0.0)


def single_samples(evidence: Evidence) -> ClaimLine:
    """Claim 8: seconds to the same loss."""
    body = _found(evidence, 8, OptimizerComparison)
    if body is None:
        return _nothing(8)
    claim = declared.claim_of(8)
    curves = {curve.method: curve for curve in body.curves}
    rivals: tuple[Method, ...] = ("full batch", "L-BFGS")
    decisions = [
        _in_company(evidence, 8, _slower(criterion, curves, rival))
        for criterion, rival in zip(claim.criteria, rivals, strict=True)
    ]
    return line_of(claim, [*decisions, *_reached(body)], ())


def _slower(criterion: Criterion, curves: dict[Method, LossCurve], rival: Method) -> Decision:
    one, other = curves.get("single samples"), curves.get(rival)
    if one is None or other is None:
        return undecided(criterion, f"no curve of {rival} beside one of single samples")
    lowest = {curve.method: min(point.loss for point in curve.points) for curve in (one, other)}
    begun = one.points[0].loss
    if lowest[rival] >= begun > lowest[one.method]:
        never = f"never: {rival} did not come below the loss of {begun:.4f} that it began with"
        return decided(criterion, "holds", None, "ratio", n=1, note=never)
    loss = max(lowest.values())
    ours, theirs = one.first_at(loss), other.first_at(loss)
    if loss >= begun or ours is None or theirs is None or not ours.seconds:
        return undecided(criterion, "single samples did not become better than they began")
    return decided(
        criterion,
        shown(theirs.seconds / ours.seconds >= criterion.threshold),
        theirs.seconds / ours.seconds,
        "ratio",
        n=1,
        note=f"to a loss of {loss:.4f}: {_spent(theirs)} against {_spent(ours)}; each at the "
        "learning rate that was best for it, one seed",
    )


def _spent(point: LossPoint) -> str:
    return f"{formatting.duration(point.seconds)} and {formatting.count(point.samples_seen)} samples seen"


def _reached(body: OptimizerComparison) -> list[Decision]:
    """Where each method came to in the same time."""
    return [
        told(
            curve.method,
            f"What loss does descent by {curve.method} come to in "
            f"{formatting.duration(body.seconds_a_curve)}?",
            curve.points[-1].loss,
            "loss",
            f"validation accuracy {formatting.accuracy(curve.points[-1].validation_accuracy)}, "
            f"{formatting.count(curve.points[-1].samples_seen)} samples seen, "
            + _rate(body, curve),
        )
        for curve in body.curves
    ]


def _rate(body: OptimizerComparison, curve: LossCurve) -> str:
    """How its steps were chosen, and what that took."""
    if curve.learning_rate is None:
        return "line search"
    took = [search.seconds for search in body.searches if search.method == curve.method]
    found = f", found in {formatting.duration(sum(took))}" if took else ""
    return f"learning rate {curve.learning_rate:g}{found}"


def layers(evidence: Evidence) -> ClaimLine:
    """Claim 9: how much of the digit is left in each layer's maps."""
    claim = declared.claim_of(9)
    (criterion,) = claim.criteria
    seen = evidence.layers
    if seen is None:
        return _nothing(9)
    untrained = [_likeness(seen.pixels, maps) for maps in seen.untrained]
    trained = [_likeness(seen.pixels, maps) for maps in seen.trained]
    falls = all(after < before for before, after in pairwise(untrained))
    note = (
        f"image {seen.image}, a {seen.label}; untrained, as published: {_each(untrained)}; after "
        f"{formatting.count(seen.steps)} updates of training: {_each(trained)}. The figure is the last "
        "layer's, untrained. The published maps are of a network whose outputs are no part of "
        "what was trained: they show random filters"
    )
    decision = decided(criterion, shown(falls), untrained[-1], "share", n=1, note=note)
    return line_of(claim, [decision], ())


def _each(shares: Sequence[float]) -> str:
    return ", ".join(f"{share:.2f}" for share in shares)


def _likeness(pixels: npt.NDArray[np.uint8], maps: Maps) -> float:
    """Mean size of the correlation between an image and its maps; a map of one value has none.

    Args:
        pixels: (28, 28).
        maps: (height, width, filters); the image is averaged down to their size.
    """
    import numpy as np

    height, width, filters = maps.shape
    rows, columns = pixels.shape[0] // height, pixels.shape[1] // width
    small = pixels[: height * rows, : width * columns].astype(float)
    small = small.reshape(height, rows, width, columns).mean(axis=(1, 3))
    sizes = [
        abs(float(np.corrcoef(small.ravel(), maps[:, :, each].ravel())[0, 1]))
        if maps[:, :, each].std() > 0
        else 0.0
        for each in range(filters)
    ]
    return statistics.fmean(sizes)


def equation_5(evidence: Evidence) -> ClaimLine:
    """Claim 10: the library's operator beside a direct sum."""
    body = _found(evidence, 10, ConvolutionCheck)
    if body is None:
        return _nothing(10)
    claim = declared.claim_of(10)
    (flipped,) = claim.criteria
    cases = sum(check.cases for check in body.checks)
    before = sum(check.equal_before_flipping for check in body.checks)
    after = sum(check.equal_after_flipping for check in body.checks)
    alike = sum(check.symmetric_kernels for check in body.checks)
    largest = max(check.largest_difference_after_flipping for check in body.checks)
    note = f"random integers in {body.arithmetic}, in one and in two dimensions"
    decisions = [
        decided(flipped, shown(after / cases >= flipped.threshold), after / cases, "share", n=cases,
                note=f"{note}; largest difference: {largest}"),
        told("as it stands", "In how many cases does the library give it with the kernel as it is?",
             before / cases, "share",
             f"{note}; {alike} kernels are the same when flipped. It computes a cross-correlation"),
    ]  # fmt: skip
    return line_of(claim, decisions, ())


def sizes(evidence: Evidence) -> ClaimLine:
    """Claim 11: what the images take."""
    body = _found(evidence, 11, DatasetSize)
    if body is None:
        return _nothing(11)
    claim = declared.claim_of(11)
    size, beside = claim.criteria
    readings = body.readings(f"{size.threshold:g}")
    true_as = "; ".join(f"{r.part} images as {r.representation} in {r.unit}" for r in readings)
    nearest = min(_in_gigabytes(body), key=lambda pair: abs(pair[1] - size.threshold))
    tried = len(_in_gigabytes(body))
    decisions = [
        decided(
            size,
            shown(bool(readings)),
            nearest[1],
            "GB",
            n=tried * len(UNITS),
            note=(f"true of {true_as}" if readings else "true in none of them")
            + f"; in gigabytes of 10^9 bytes the nearest are {nearest[0]}",
        ),
        _beside(beside, body),
    ]
    return line_of(claim, decisions, ())


def _in_gigabytes(body: DatasetSize) -> list[tuple[str, float]]:
    """The training images in each form."""
    return [
        (f"{each.part} images as {each.representation}", each.size_bytes / UNITS["GB"])
        for each in body.sizes
        if each.size_bytes is not None and each.part != "test"
    ]


def _beside(criterion: Criterion, body: DatasetSize) -> Decision:
    known = {(e.part, e.representation): e.size_bytes for e in body.sizes if e.size_bytes}
    training, test = known.get(("training", "uint8")), known.get(("test", "uint8"))
    if training is None or test is None:
        return undecided(criterion, "the images were not counted")
    holds = training / test >= criterion.threshold
    note = f"a byte a pixel: {formatting.count(training)} and {formatting.count(test)} bytes"
    return decided(criterion, shown(holds), training / test, "ratio", note=note)
