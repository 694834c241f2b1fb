"""Charts of what was measured by itself for a claim: layers as they widen, and ways down a loss."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from mnist_bench.core import formatting
from mnist_bench.reporting.svg import BLUE, GREEN, ORANGE, PURPLE, Chart, Drawn, axes_of, charted
from mnist_bench.results.experiments import (
    LAYER_KINDS,
    METHODS,
    ExperimentResult,
    LayerComparison,
    LayerCost,
    LayerKind,
    LossCurve,
    LossPoint,
    Method,
    OptimizerComparison,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LAYERS: dict[LayerKind, str] = {
    "dense": "fully connected",
    "local": "sparse, shares none",
    "convolution": "convolution",
}
_LINES = ((BLUE, "-"), (ORANGE, "--"), (GREEN, "-."), (PURPLE, ":"))
"""Colours and dashes: told apart on paper too."""


def charts_of_finding(finding: ExperimentResult) -> tuple[Chart, ...]:
    """What can be drawn of it; of counts and of equality there is nothing."""
    match finding.body:
        case LayerComparison():
            drawn = list(_sparseness(finding.body))
        case OptimizerComparison():
            drawn = list(_descent(finding.body))
        case _:
            drawn = []
    return tuple(charted(each, f"claim-{finding.claim}") for each in drawn)


def _sparseness(body: LayerComparison) -> Iterator[Drawn]:
    timed = {kind: [cost for cost in body.costs if cost.kind == kind and cost.seconds]
             for kind in LAYER_KINDS}  # fmt: skip
    if not any(timed.values()):
        return
    figure, axes = axes_of("pixels along a side", "seconds of one application")
    for (kind, costs), (colour, dashes) in zip(timed.items(), _LINES, strict=False):
        sides = [cost.side for cost in costs]
        repeats = [cost.seconds or () for cost in costs]
        axes.plot(sides, [statistics.median(of) for of in repeats], marker="o", markersize=4,
                  color=colour, linestyle=dashes, label=_LAYERS[kind])  # fmt: skip
        axes.fill_between(sides, [min(of) for of in repeats], [max(of) for of in repeats],
                          color=colour, alpha=0.25, linewidth=0)  # fmt: skip
    axes.set(xscale="log", yscale="log")
    _name_sides(figure, sorted({cost.side for costs in timed.values() for cost in costs}))
    axes.legend()
    told = "; ".join(f"{_LAYERS[kind]} {_by_side(costs)}" for kind, costs in timed.items() if costs)
    yield Drawn(
        name="layers",
        title="One map, as its width grows",
        alternative=f"Median time of one application to {body.batch_images} images: {told}. The "
        "band is from the smallest to the largest of the repeats.",
        figure=figure,
    )


def _name_sides(figure: Figure, sides: Sequence[int]) -> None:
    """The sides themselves stand below: decades would name few of them."""
    from matplotlib.ticker import NullLocator  # slow to load

    (axes,) = figure.axes
    axes.set_xticks(sides, [str(side) for side in sides])
    axes.xaxis.set_minor_locator(NullLocator())


def _by_side(costs: Sequence[LayerCost]) -> str:
    return ", ".join(
        f"{1_000 * statistics.median(cost.seconds or ()):.3g} ms at {cost.side}×{cost.side}"
        for cost in costs
    )


def _descent(body: OptimizerComparison) -> Iterator[Drawn]:
    by: tuple[tuple[str, str, Callable[[LossPoint], float]], ...] = (
        ("seconds", "seconds of training", lambda point: point.seconds),
        ("samples", "images whose gradient was computed", lambda point: point.samples_seen),
    )
    for what, label, place in by:
        yield Drawn(
            name=f"loss-by-{what}",
            title=f"Loss by {label}",
            alternative=_ways(body.curves, place, what),
            figure=_loss(body.curves, label, place),
        )


def _loss(curves: Sequence[LossCurve], label: str, place: Callable[[LossPoint], float]) -> Figure:
    figure, axes = axes_of(label, "cross-entropy, nats")
    for curve in curves:
        colour, dashes = _LINES[METHODS.index(curve.method)]
        points = _moved(curve)
        axes.plot([place(point) for point in points], [point.loss for point in points],
                  color=colour, linestyle=dashes, label=curve.method)  # fmt: skip
    axes.set(xscale="log", yscale="log")
    axes.legend()
    return figure


def _moved(curve: LossCurve) -> list[LossPoint]:
    """All but the untrained network, which all begin with: a log axis has no zero."""
    return [point for point in curve.points if point.samples_seen]


def _ways(curves: Sequence[LossCurve], place: Callable[[LossPoint], float], what: str) -> str:
    begins = f"All begin with the same weights, at a loss of {curves[0].points[0].loss:.4f}."
    told = "; ".join(_way(curve.method, _moved(curve), place, what) for curve in curves)
    return f"{begins} {told[:1].upper()}{told[1:]}."


def _way(
    method: Method, points: Sequence[LossPoint], place: Callable[[LossPoint], float], what: str
) -> str:
    if not points:
        return f"{method}: nothing came of it"
    lowest = min(points, key=lambda point: point.loss)
    at = place(lowest)
    where = (
        formatting.duration(at) if what == "seconds" else f"{formatting.count(round(at))} samples"
    )
    return f"{method}: {lowest.loss:.4f} at the lowest, after {where}"
