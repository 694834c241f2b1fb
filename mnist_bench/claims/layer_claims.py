"""Claims 7 to 11: layer cost, optimizers, layer maps, convolution identity, data set size."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

from mnist_bench.analysis.statistics import mean_of
from mnist_bench.claims import declared
from mnist_bench.claims.evidence import Evidence
from mnist_bench.claims.verdicts import above, decided, informative, line_of, undecided, verdict_of
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


def _body(evidence: Evidence, number: int, kind: type[_BodyT]) -> _BodyT | None:
    """Values measured by a claim's experiment; None if it was not run."""
    result = evidence.experiments.get(number)
    return result.body if result and isinstance(result.body, kind) else None


def _not_measured(number: int) -> ClaimLine:
    claim = declared.claim_of(number)
    why = f"not measured; mnist-bench run claim-{number} does"
    return line_of(claim, [undecided(each, why) for each in claim.criteria], ())


def _note_shared_machine(evidence: Evidence, number: int, timed: Decision) -> Decision:
    """Add a note to a decision on times if other benchmarks may have run meanwhile."""
    result = evidence.experiments.get(number)
    if result is None or result.exclusive:
        return timed
    remark = "measured while other benchmarks were not kept away"
    return timed.model_copy(update={"note": f"{timed.note}; {remark}"})


def layer_comparison(evidence: Evidence) -> ClaimLine:
    """Claim 7: a convolution compared with layers that compute the same map with more weights."""
    body = _body(evidence, 7, LayerComparison)
    if body is None:
        return _not_measured(7)
    claim = declared.claim_of(7)
    parameters, memory, operations, time = claim.criteria
    sides = sorted({cost.side for cost in body.costs})
    costs = {(cost.kind, cost.side): cost for cost in body.costs}
    weight_ratios = [_ratio(costs, side, "parameters") for side in sides]
    byte_ratios = [_ratio(costs, side, "weight_bytes") for side in sides]
    multiply_add_ratios = [_ratio(costs, side, "multiply_adds") for side in sides]
    decisions = [
        _growing(parameters, weight_ratios, sides, "parameters"),
        _growing(memory, byte_ratios, sides, "bytes of weights"),
        _growing(operations, multiply_add_ratios, sides, "multiply-adds"),
        _note_shared_machine(evidence, 7, _time(time, costs, sides)),
        _local(costs, sides),
    ]
    return line_of(claim, decisions, ())


Costs = dict[tuple[LayerKind, int], LayerCost]
"""By layer kind and side in pixels."""


def _ratio(costs: Costs, side: int, figure: str) -> float:
    """Fully connected layer by convolution."""
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
        verdict_of(grows and min(ratios) > criterion.threshold),
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
    """Ratio of median times at each side."""
    ratios = []
    for side in sides:
        dense, convolution = costs["dense", side].seconds, costs["convolution", side].seconds
        if dense and convolution:
            ratio = statistics.median(dense) / statistics.median(convolution)
            ratios.append(f"{side}×{side}: {ratio:.3g}")
    return f"ratio of medians by side: {', '.join(ratios)}"


def _local_time(costs: Costs, side: int) -> str:
    local, convolution = costs["local", side].seconds, costs["convolution", side].seconds
    if not local or not convolution:
        return "the layer that is sparse alone was not timed there"
    ratio = statistics.median(local) / statistics.median(convolution)
    return f"the layer that is sparse alone took {ratio:.3g} times the convolution's median"


def _local(costs: Costs, sides: Sequence[int]) -> Decision:
    """What sparse connections save without shared weights: the paper's k × n."""
    side = sides[-1]
    dense, local = costs["dense", side], costs["local", side]
    return informative(
        "sparse alone",
        "Weights of the fully connected layer by those of a layer that is sparse and shares none",
        dense.parameters / local.parameters,
        "ratio",
        f"{side}×{side} pixels; the paper's O(k×n) counts such a layer's. Its multiply-adds "
        f"are the convolution's: {formatting.count(local.multiply_adds)}. Where they were built "
        f"the maps of all three differ by at most {_largest_difference(costs):.1e}",
    )


def _largest_difference(costs: Costs) -> float:
    """Largest difference between a layer's map and the convolution's."""
    return max((cost.largest_difference or 0.0 for cost in costs.values()), default=0.0)


def optimizer_comparison(evidence: Evidence) -> ClaimLine:
    """Claim 8: seconds that each optimizer takes to the same loss."""
    body = _body(evidence, 8, OptimizerComparison)
    if body is None:
        return _not_measured(8)
    claim = declared.claim_of(8)
    curves = {curve.method: curve for curve in body.curves}
    rivals: tuple[Method, ...] = ("full batch", "L-BFGS")
    decisions = [
        _note_shared_machine(evidence, 8, _slower(criterion, curves, rival))
        for criterion, rival in zip(claim.criteria, rivals, strict=True)
    ]
    return line_of(claim, [*decisions, *_final_losses(body)], ())


def _slower(criterion: Criterion, curves: dict[Method, LossCurve], rival: Method) -> Decision:
    single, rival_curve = curves.get("single samples"), curves.get(rival)
    if single is None or rival_curve is None:
        return undecided(criterion, f"no curve of {rival} beside one of single samples")
    lowest = {
        curve.method: min(point.loss for point in curve.points) for curve in (single, rival_curve)
    }
    initial_loss = single.points[0].loss
    if lowest[rival] >= initial_loss > lowest[single.method]:
        never = (
            f"never: {rival} did not come below the loss of {initial_loss:.4f} that it began with"
        )
        return decided(criterion, "holds", None, "ratio", n=1, note=never)
    loss = max(lowest.values())
    single_point, rival_point = single.first_at(loss), rival_curve.first_at(loss)
    if (
        loss >= initial_loss
        or single_point is None
        or rival_point is None
        or not single_point.seconds
    ):
        return undecided(criterion, "single samples did not become better than they began")
    return decided(
        criterion,
        verdict_of(rival_point.seconds / single_point.seconds >= criterion.threshold),
        rival_point.seconds / single_point.seconds,
        "ratio",
        n=1,
        note=f"to a loss of {loss:.4f}: {_cost(rival_point)} against {_cost(single_point)}; "
        "each at the learning rate that was best for it, one seed",
    )


def _cost(point: LossPoint) -> str:
    seconds, samples = formatting.duration(point.seconds), formatting.count(point.samples_seen)
    return f"{seconds} and {samples} samples seen"


def _final_losses(body: OptimizerComparison) -> list[Decision]:
    """Loss of each method after the same time."""
    return [
        informative(
            curve.method,
            f"What loss does descent by {curve.method} come to in "
            f"{formatting.duration(body.seconds_a_curve)}?",
            curve.points[-1].loss,
            "loss",
            f"validation accuracy {formatting.accuracy(curve.points[-1].validation_accuracy)}, "
            f"{formatting.count(curve.points[-1].samples_seen)} samples seen, "
            + _learning_rate(body, curve),
        )
        for curve in body.curves
    ]


def _learning_rate(body: OptimizerComparison, curve: LossCurve) -> str:
    """Learning rate of a curve, and the time to find it."""
    if curve.learning_rate is None:
        return "line search"
    search_seconds = [search.seconds for search in body.searches if search.method == curve.method]
    found = f", found in {formatting.duration(sum(search_seconds))}" if search_seconds else ""
    return f"learning rate {curve.learning_rate:g}{found}"


def layer_maps(evidence: Evidence) -> ClaimLine:
    """Claim 9: correlation of the digit with each layer's maps."""
    claim = declared.claim_of(9)
    (criterion,) = claim.criteria
    maps = evidence.layers
    if maps is None:
        return _not_measured(9)
    untrained = [_mean_correlation(maps.pixels, layer) for layer in maps.untrained]
    trained = [_mean_correlation(maps.pixels, layer) for layer in maps.trained]
    falls = all(after < before for before, after in pairwise(untrained))
    note = (
        f"image {maps.image}, a {maps.label}; untrained, as published: {_each(untrained)}; after "
        f"{formatting.count(maps.steps)} updates of training: {_each(trained)}. "
        "The figure is the last layer's, untrained. The published maps are of a network whose "
        "outputs are no part of what was trained: they show random filters"
    )
    decision = decided(criterion, verdict_of(falls), untrained[-1], "share", n=1, note=note)
    return line_of(claim, [decision], ())


def _each(shares: Sequence[float]) -> str:
    return ", ".join(f"{share:.2f}" for share in shares)


def _mean_correlation(pixels: npt.NDArray[np.uint8], maps: Maps) -> float:
    """Mean absolute correlation between an image and its maps; a constant map counts as 0.

    Args:
        pixels: (28, 28).
        maps: (height, width, filters). The image is average-pooled to their size.
    """
    import numpy as np

    height, width, filters = maps.shape
    rows, columns = pixels.shape[0] // height, pixels.shape[1] // width
    small = pixels[: height * rows, : width * columns].astype(float)
    small = small.reshape(height, rows, width, columns).mean(axis=(1, 3))
    correlations = [
        abs(float(np.corrcoef(small.ravel(), maps[:, :, each].ravel())[0, 1]))
        if maps[:, :, each].std() > 0
        else 0.0
        for each in range(filters)
    ]
    return statistics.fmean(correlations)


def equation_5(evidence: Evidence) -> ClaimLine:
    """Claim 10: the library's operator compared with a direct sum."""
    body = _body(evidence, 10, ConvolutionCheck)
    if body is None:
        return _not_measured(10)
    claim = declared.claim_of(10)
    (flipped,) = claim.criteria
    cases = sum(check.cases for check in body.checks)
    before = sum(check.equal_before_flipping for check in body.checks)
    after = sum(check.equal_after_flipping for check in body.checks)
    alike = sum(check.symmetric_kernels for check in body.checks)
    largest = max(check.largest_difference_after_flipping for check in body.checks)
    note = f"random integers in {body.arithmetic}, in one and in two dimensions"
    decisions = [
        decided(
            flipped,
            verdict_of(after / cases >= flipped.threshold),
            after / cases,
            "share",
            n=cases,
            note=f"{note}; largest difference: {largest}",
        ),
        informative(
            "as it stands",
            "In how many cases does the library give it with the kernel as it is?",
            before / cases,
            "share",
            f"{note}; {alike} kernels are the same when flipped. It computes a cross-correlation",
        ),
    ]
    return line_of(claim, decisions, ())


def dataset_size(evidence: Evidence) -> ClaimLine:
    """Claim 11: size of the images."""
    body = _body(evidence, 11, DatasetSize)
    if body is None:
        return _not_measured(11)
    claim = declared.claim_of(11)
    size, test_images = claim.criteria
    readings = body.readings(f"{size.threshold:g}")
    true_as = "; ".join(f"{r.part} images as {r.representation} in {r.unit}" for r in readings)
    nearest = min(_in_gigabytes(body), key=lambda pair: abs(pair[1] - size.threshold))
    forms = len(_in_gigabytes(body))
    decisions = [
        decided(
            size,
            verdict_of(bool(readings)),
            nearest[1],
            "GB",
            n=forms * len(UNITS),
            note=(f"true of {true_as}" if readings else "true in none of them")
            + f"; in gigabytes of 10^9 bytes the nearest are {nearest[0]}",
        ),
        _test_images(test_images, body),
    ]
    return line_of(claim, decisions, ())


def _in_gigabytes(body: DatasetSize) -> list[tuple[str, float]]:
    """Size of the training images in each representation, in GB."""
    return [
        (f"{each.part} images as {each.representation}", each.size_bytes / UNITS["GB"])
        for each in body.sizes
        if each.size_bytes is not None and each.part != "test"
    ]


def _test_images(criterion: Criterion, body: DatasetSize) -> Decision:
    size_bytes = {(e.part, e.representation): e.size_bytes for e in body.sizes if e.size_bytes}
    training, test = size_bytes.get(("training", "uint8")), size_bytes.get(("test", "uint8"))
    if training is None or test is None:
        return undecided(criterion, "the images were not counted")
    holds = training / test >= criterion.threshold
    note = f"a byte a pixel: {formatting.count(training)} and {formatting.count(test)} bytes"
    return decided(criterion, verdict_of(holds), training / test, "ratio", note=note)
