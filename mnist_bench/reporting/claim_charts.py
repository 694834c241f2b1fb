"""Charts of the claims' experiments: layer times by width, and loss curves of optimizers."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from mnist_bench.core import formatting
from mnist_bench.reporting.svg import BLUE, GREEN, ORANGE, PURPLE, Chart, Plot, axes_of, to_chart
from mnist_bench.results.experiments import (
    LAYER_KINDS,
    METHODS,
    ExperimentResult,
    LayerComparison,
    LossCurve,
    OptimizerComparison,
)

_LAYER_NAMES = {
    "dense": "fully connected",
    "local": "sparse, shares none",
    "convolution": "convolution",
}
_LINE_STYLES = ((BLUE, "-"), (ORANGE, "--"), (GREEN, "-."), (PURPLE, ":"))
"""Colours with dashes, which stay distinguishable in grayscale."""


def charts_of_experiment(experiment: ExperimentResult) -> tuple[Chart, ...]:
    """Charts of an experiment; some kinds of experiment have none."""
    plots: Iterator[Plot] = iter(())
    if isinstance(experiment.body, LayerComparison):
        plots = _layer_times(experiment.body)
    elif isinstance(experiment.body, OptimizerComparison):
        plots = _optimizer_losses(experiment.body)
    return tuple(to_chart(plot, f"claim-{experiment.claim}") for plot in plots)


def _layer_times(body: LayerComparison) -> Iterator[Plot]:
    from matplotlib.ticker import NullLocator  # slow to load

    if not any(cost.seconds for cost in body.costs):
        return
    figure, axes = axes_of("pixels along a side", "seconds of one application")
    in_words = []
    for kind, (colour, dashes) in zip(LAYER_KINDS, _LINE_STYLES, strict=False):
        repeats = {c.side: c.seconds for c in body.costs if c.kind == kind and c.seconds}
        medians = {side: statistics.median(seconds) for side, seconds in repeats.items()}
        lowest, highest = map(min, repeats.values()), map(max, repeats.values())
        axes.plot([*medians], [*medians.values()], marker="o", markersize=4, color=colour,
                  linestyle=dashes, label=_LAYER_NAMES[kind])  # fmt: skip
        axes.fill_between([*repeats], [*lowest], [*highest], color=colour, alpha=0.25, linewidth=0)
        by_side = [f"{1_000 * median:.3g} ms at {s}×{s}" for s, median in medians.items()]
        if by_side:
            in_words.append(f"{_LAYER_NAMES[kind]} {', '.join(by_side)}")
    axes.set(xscale="log", yscale="log")
    # A log axis would label only decades.
    sides = sorted({cost.side for cost in body.costs if cost.seconds})
    axes.set_xticks(sides, [str(side) for side in sides])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.legend()
    yield Plot(
        name="layers",
        title="One map, as its width grows",
        alternative=f"Median time of one application to {body.batch_images} images: "
        f"{'; '.join(in_words)}. The band is from the smallest to the largest of the repeats.",
        figure=figure,
    )


def _optimizer_losses(body: OptimizerComparison) -> Iterator[Plot]:
    start = body.curves[0].points[0].loss
    for unit, label in (
        ("seconds", "seconds of training"),
        ("samples", "images whose gradient was computed"),
    ):
        figure, axes = axes_of(label, "cross-entropy, nats")
        for curve in body.curves:
            colour, dashes = _LINE_STYLES[METHODS.index(curve.method)]
            xs, losses = _after_start(curve, unit)
            axes.plot(xs, losses, color=colour, linestyle=dashes, label=curve.method)
        axes.set(xscale="log", yscale="log")
        axes.legend()
        in_words = "; ".join(_lowest(curve, unit) for curve in body.curves)
        yield Plot(
            name=f"loss-by-{unit}",
            title=f"Loss by {label}",
            alternative=f"All begin with the same weights, at a loss of {start:.4f}. "
            f"{in_words[:1].upper()}{in_words[1:]}.",
            figure=figure,
        )


def _after_start(curve: LossCurve, unit: str) -> tuple[list[float], list[float]]:
    """Seconds or samples, and losses, without the untrained network: a log axis has no zero."""
    points = [point for point in curve.points if point.samples_seen]
    xs: list[float] = [p.seconds if unit == "seconds" else p.samples_seen for p in points]
    return xs, [point.loss for point in points]


def _lowest(curve: LossCurve, unit: str) -> str:
    xs, losses = _after_start(curve, unit)
    if not losses:
        return f"{curve.method}: nothing came of it"
    loss, x = min(zip(losses, xs, strict=True))
    where = formatting.duration(x) if unit == "seconds" else f"{formatting.count(round(x))} samples"
    return f"{curve.method}: {loss:.4f} at the lowest, after {where}"
