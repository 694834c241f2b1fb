"""Claims 7 to 11: layer cost, optimizers, layer maps, convolution identity, data set size."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

from mnist_bench.analysis.statistics import mean_of
from mnist_bench.claims.verdicts import decided, informative, judge, undecided, verdict_of
from mnist_bench.core import formatting
from mnist_bench.results.claims import Criterion, Decision
from mnist_bench.results.experiments import (
    SIZE_UNITS,
    ConvolutionCheck,
    DatasetSize,
    LayerComparison,
    LayerCost,
    LayerKind,
    LossCurve,
    LossPoint,
    OptimizerComparison,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from mnist_bench.results.layer_maps import LayerMaps, Maps

_HALF_A_DIGIT = 0.0005
"""The size is stated with three decimals; half of the last is accepted on either side."""


def layer_comparison(
    body: LayerComparison,
    parameters: Criterion,
    memory: Criterion,
    operations: Criterion,
    time: Criterion,
) -> Iterator[Decision]:
    """Claim 7: a convolution compared with layers that compute the same map with more weights."""
    costs = {(cost.kind, cost.side): cost for cost in body.costs}
    yield _growing(parameters, costs, "parameters", "parameters")
    yield _growing(memory, costs, "weight_bytes", "bytes of weights")
    yield _growing(operations, costs, "multiply_adds", "multiply-adds")
    yield _time(time, costs)
    side = max(cost.side for cost in body.costs)
    local = costs["local", side]
    difference = max(cost.largest_difference or 0.0 for cost in body.costs)
    yield informative(
        "sparse alone",
        "Weights of the fully connected layer by those of a layer that is sparse and shares none",
        costs["dense", side].parameters / local.parameters,
        "ratio",
        f"{side}×{side} pixels; the paper's O(k×n) counts such a layer's. Its multiply-adds "
        f"are the convolution's: {formatting.count(local.multiply_adds)}. Where they were built "
        f"the maps of all three differ by at most {difference:.1e}",
    )


Costs = dict[tuple[LayerKind, int], LayerCost]
"""By layer kind and side in pixels."""


def _growing(criterion: Criterion, costs: Costs, figure: str, what: str) -> Decision:
    """Whether the fully connected layer's figure by the convolution's grows with the side."""
    values = {key: float(getattr(cost, figure)) for key, cost in costs.items()}
    sides = sorted({side for _, side in costs})
    ratios = [values["dense", side] / values["convolution", side] for side in sides]
    grows = all(after > before for before, after in pairwise(ratios))
    by_side = ", ".join(f"{s}×{s}: {ratio:,.4g}" for s, ratio in zip(sides, ratios, strict=True))
    return decided(
        criterion,
        ratios[-1],
        judge(criterion, min(ratios)) if grows else "does not hold",
        note=f"counted exactly, at the largest side; {what} by side, one map of one channel: "
        f"{by_side}",
    )


def _time(criterion: Criterion, costs: Costs) -> Decision:
    seconds = {key: cost.seconds for key, cost in costs.items() if cost.seconds}
    medians = {key: statistics.median(repeats) for key, repeats in seconds.items()}
    sides = sorted(s for kind, s in seconds if kind == "dense" and ("convolution", s) in seconds)
    if not sides:
        return undecided(criterion, "no size was timed with both layers")
    side = sides[-1]
    pairs = zip(seconds["dense", side], seconds["convolution", side], strict=True)
    by_side = ", ".join(
        f"{s}×{s}: {medians['dense', s] / medians['convolution', s]:.3g}" for s in sides
    )
    local = medians["local", side] / medians["convolution", side]
    return decided(
        criterion,
        mean_of([dense / convolution for dense, convolution in pairs]),
        note=f"{side}×{side} pixels; the ratio repeat by repeat, which took turns, and "
        f"Student's interval of its mean; ratio of medians by side: {by_side}; "
        f"the layer that is sparse alone took {local:.3g} times the convolution's median",
    )


def optimizer_comparison(body: OptimizerComparison, *criteria: Criterion) -> Iterator[Decision]:
    """Claim 8: seconds that each optimizer takes to the same loss, and its loss in the end."""
    curves = {str(curve.method): curve for curve in body.curves}
    for criterion in criteria:
        (rival,) = criterion.compares
        yield _slower(criterion, curves["single samples"], curves[rival])
    searches = {search.method: search for search in body.searches}
    for curve in body.curves:
        rate = "line search"
        if curve.learning_rate is not None:
            rate = f"learning rate {curve.learning_rate:g}"
        if curve.method in searches:
            rate += f", found in {formatting.duration(searches[curve.method].seconds)}"
        last = curve.points[-1]
        yield informative(
            curve.method,
            f"What loss does descent by {curve.method} come to in "
            f"{formatting.duration(body.seconds_a_curve)}?",
            last.loss,
            "loss",
            f"validation accuracy {formatting.accuracy(last.validation_accuracy)}, "
            f"{formatting.count(last.samples_seen)} samples seen, {rate}",
        )


def _slower(criterion: Criterion, single: LossCurve, rival: LossCurve) -> Decision:
    """How many times as long the rival takes to the smallest loss that both came to."""
    initial_loss = single.points[0].loss
    lowest, of_rival = (min(p.loss for p in curve.points) for curve in (single, rival))
    if lowest >= initial_loss:
        return undecided(criterion, "single samples did not become better than they began")
    if of_rival >= initial_loss:
        loss = f"the loss of {initial_loss:.4f} that it began with"
        note = f"never: {rival.method} did not come below {loss}"
        return decided(criterion, math.inf, n=1, note=note)
    common = max(lowest, of_rival)
    ours, theirs = single.first_at(common), rival.first_at(common)
    return decided(
        criterion,
        theirs.seconds / ours.seconds,
        n=1,
        note=f"to a loss of {common:.4f}: {_cost(theirs)} against {_cost(ours)}; "
        "each at the learning rate that was best for it, one seed",
    )


def _cost(point: LossPoint) -> str:
    seconds, samples = formatting.duration(point.seconds), formatting.count(point.samples_seen)
    return f"{seconds} and {samples} samples seen"


def layer_maps(maps: LayerMaps, criterion: Criterion) -> Iterator[Decision]:
    """Claim 9: correlation of the digit with each layer's maps."""
    untrained, trained = (
        [_mean_correlation(maps.pixels, layer) for layer in layers]
        for layers in (maps.untrained, maps.trained)
    )
    falls = all(after < before for before, after in pairwise(untrained))
    before, after = (", ".join(f"{each:.2f}" for each in of) for of in (untrained, trained))
    note = (
        f"image {maps.image}, a {maps.label}; untrained, as published: {before}; after "
        f"{formatting.count(maps.steps)} updates of training: {after}. "
        "The figure is the last layer's, untrained. The published maps are of a network whose "
        "outputs are no part of what was trained: they show random filters"
    )
    yield decided(criterion, untrained[-1], verdict_of(falls), n=1, note=note)


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


def equation_5(body: ConvolutionCheck, flipped: Criterion) -> Iterator[Decision]:
    """Claim 10: the library's operator compared with a direct sum."""
    cases = sum(check.cases for check in body.checks)
    before = sum(check.equal_before_flipping for check in body.checks)
    after = sum(check.equal_after_flipping for check in body.checks)
    alike = sum(check.symmetric_kernels for check in body.checks)
    largest = max(check.largest_difference_after_flipping for check in body.checks)
    note = f"random integers in {body.arithmetic}, in one and in two dimensions"
    yield decided(flipped, after / cases, n=cases, note=f"{note}; largest difference: {largest}")
    yield informative(
        "as it stands",
        "In how many cases does the library give it with the kernel as it is?",
        before / cases,
        "share",
        f"{note}; {alike} kernels are the same when flipped. It computes a cross-correlation",
    )


def dataset_size(body: DatasetSize, size: Criterion, test_images: Criterion) -> Iterator[Decision]:
    """Claim 11: size of the images."""
    stated = size.threshold
    forms = {
        f"{each.part} images as {each.representation}": each.size_bytes
        for each in body.sizes
        if each.size_bytes is not None and each.part != "test"
    }
    readings = [
        f"{form} in {unit}"
        for form, size_bytes in forms.items()
        for unit, unit_bytes in SIZE_UNITS.items()
        if abs(size_bytes - stated * unit_bytes) <= _HALF_A_DIGIT * unit_bytes
    ]
    nearest = min(forms, key=lambda form: abs(forms[form] / SIZE_UNITS["GB"] - stated))
    true_of = f"true of {'; '.join(readings)}" if readings else "true in none of them"
    yield decided(
        size,
        forms[nearest] / SIZE_UNITS["GB"],
        verdict_of(bool(readings)),
        n=len(forms) * len(SIZE_UNITS),
        note=f"{true_of}; in gigabytes of 10^9 bytes the nearest are {nearest}",
    )
    in_bytes = {each.part: each.size_bytes for each in body.sizes if each.representation == "uint8"}
    training, test = in_bytes.get("training"), in_bytes.get("test")
    if training is None or test is None:
        yield undecided(test_images, "the images were not counted")
    else:
        note = f"a byte a pixel: {formatting.count(training)} and {formatting.count(test)} bytes"
        yield decided(test_images, training / test, note=note)
