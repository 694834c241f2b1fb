"""Charts of the claims' experiments: layer times by width, and loss curves of optimizers."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from mnist_bench.core import formatting
from mnist_bench.reporting.svg import BLUE, GREEN, ORANGE, PURPLE, Chart, Plot, axes_of, to_chart
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

_LAYER_NAMES: dict[LayerKind, str] = {
    "dense": "fully connected",
    "local": "sparse, shares none",
    "convolution": "convolution",
}
_LINE_STYLES = ((BLUE, "-"), (ORANGE, "--"), (GREEN, "-."), (PURPLE, ":"))
"""Colours with dashes, which stay distinguishable in grayscale."""


def charts_of_experiment(experiment: ExperimentResult) -> tuple[Chart, ...]:
    """Charts of an experiment; some kinds of experiment have none."""
    match experiment.body:
        case LayerComparison():
            plots = list(_layer_times(experiment.body))
        case OptimizerComparison():
            plots = list(_optimizer_losses(experiment.body))
        case _:
            plots = []
    return tuple(to_chart(plot, f"claim-{experiment.claim}") for plot in plots)


def _layer_times(body: LayerComparison) -> Iterator[Plot]:
    timed = {kind: [cost for cost in body.costs if cost.kind == kind and cost.seconds]
             for kind in LAYER_KINDS}  # fmt: skip
    if not any(timed.values()):
        return
    figure, axes = axes_of("pixels along a side", "seconds of one application")
    for (kind, costs), (colour, dashes) in zip(timed.items(), _LINE_STYLES, strict=False):
        sides = [cost.side for cost in costs]
        repeats = [cost.seconds or () for cost in costs]
        medians = [statistics.median(seconds) for seconds in repeats]
        axes.plot(sides, medians, marker="o", markersize=4, color=colour, linestyle=dashes,
                  label=_LAYER_NAMES[kind])  # fmt: skip
        axes.fill_between(sides, list(map(min, repeats)), list(map(max, repeats)),
                          color=colour, alpha=0.25, linewidth=0)  # fmt: skip
    axes.set(xscale="log", yscale="log")
    _set_side_ticks(figure, sorted({cost.side for costs in timed.values() for cost in costs}))
    axes.legend()
    in_words = "; ".join(
        f"{_LAYER_NAMES[kind]} {_by_side(costs)}" for kind, costs in timed.items() if costs
    )
    yield Plot(
        name="layers",
        title="One map, as its width grows",
        alternative=f"Median time of one application to {body.batch_images} images: {in_words}. "
        "The band is from the smallest to the largest of the repeats.",
        figure=figure,
    )


def _set_side_ticks(figure: Figure, sides: Sequence[int]) -> None:
    """Label each measured side; a log axis would label only decades."""
    from matplotlib.ticker import NullLocator  # slow to load

    (axes,) = figure.axes
    axes.set_xticks(sides, [str(side) for side in sides])
    axes.xaxis.set_minor_locator(NullLocator())


def _by_side(costs: Sequence[LayerCost]) -> str:
    return ", ".join(
        f"{1_000 * statistics.median(cost.seconds or ()):.3g} ms at {cost.side}×{cost.side}"
        for cost in costs
    )


def _optimizer_losses(body: OptimizerComparison) -> Iterator[Plot]:
    axes: tuple[tuple[str, str, Callable[[LossPoint], float]], ...] = (
        ("seconds", "seconds of training", lambda point: point.seconds),
        ("samples", "images whose gradient was computed", lambda point: point.samples_seen),
    )
    for unit, label, x_of in axes:
        yield Plot(
            name=f"loss-by-{unit}",
            title=f"Loss by {label}",
            alternative=_curves_in_words(body.curves, x_of, unit),
            figure=_loss_chart(body.curves, label, x_of),
        )


def _loss_chart(
    curves: Sequence[LossCurve], label: str, x_of: Callable[[LossPoint], float]
) -> Figure:
    figure, axes = axes_of(label, "cross-entropy, nats")
    for curve in curves:
        colour, dashes = _LINE_STYLES[METHODS.index(curve.method)]
        points = _after_start(curve)
        axes.plot([x_of(point) for point in points], [point.loss for point in points],
                  color=colour, linestyle=dashes, label=curve.method)  # fmt: skip
    axes.set(xscale="log", yscale="log")
    axes.legend()
    return figure


def _after_start(curve: LossCurve) -> list[LossPoint]:
    """All points after the untrained network, since a log axis has no zero."""
    return [point for point in curve.points if point.samples_seen]


def _curves_in_words(
    curves: Sequence[LossCurve], x_of: Callable[[LossPoint], float], unit: str
) -> str:
    start = f"All begin with the same weights, at a loss of {curves[0].points[0].loss:.4f}."
    in_words = "; ".join(
        _curve_in_words(curve.method, _after_start(curve), x_of, unit) for curve in curves
    )
    return f"{start} {in_words[:1].upper()}{in_words[1:]}."


def _curve_in_words(
    method: Method, points: Sequence[LossPoint], x_of: Callable[[LossPoint], float], unit: str
) -> str:
    if not points:
        return f"{method}: nothing came of it"
    lowest = min(points, key=lambda point: point.loss)
    x = x_of(lowest)
    position = (
        formatting.duration(x) if unit == "seconds" else f"{formatting.count(round(x))} samples"
    )
    return f"{method}: {lowest.loss:.4f} at the lowest, after {position}"
