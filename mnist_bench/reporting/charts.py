"""Charts of a scenario (learning curves, speed, time and memory by phase) and of claims."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from mnist_bench.analysis.costs import Phases, phases_of
from mnist_bench.analysis.curves import Band
from mnist_bench.core import formatting
from mnist_bench.core.formatting import MIB, accuracy, count, counted, duration, mebibytes, rate
from mnist_bench.reporting.columns import phase_time
from mnist_bench.reporting.model import ReportSection
from mnist_bench.reporting.svg import (
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    SKY,
    WIDTH,
    YELLOW,
    Chart,
    Plot,
    axes_of,
    figure_of,
    plain_ticks,
    plot_points,
    to_chart,
)
from mnist_bench.reporting.text import MOST_LINES
from mnist_bench.results.document import Row
from mnist_bench.results.experiments import (
    LAYER_KINDS,
    METHODS,
    ExperimentResult,
    LayerComparison,
    LossCurve,
    OptimizerComparison,
)
from mnist_bench.results.run_summary import RunSummary
from mnist_bench.scenarios import paper

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PHASE_COLOURS = (SKY, YELLOW, GREEN, BLUE, PURPLE, ORANGE)


def charts_of_section(section: ReportSection, prefix: str) -> tuple[Chart, ...]:
    """All charts of a scenario that there is data for; ids in the SVGs begin with `prefix`."""
    if not section.has_charts:
        return ()
    plots: list[Plot] = []
    curves, phases = section.curves, phases_of(section.document.own_runs)
    rows = [row for row in section.rows if row.verdict != "not comparable" and row.mean]
    runs = [run for run in section.document.own_runs if run.status == "finished"][-MOST_LINES:]
    if curves and len(curves.error_by_step.x) > 1:
        papers = paper.TABLE_1 if section.is_comparable else ()
        plots.append(_error_by_step(curves.error_by_step, papers, runs))
    elif rows:
        plots.append(_error_of_rows(rows))
    if curves:
        if curves.error_by_seconds and len(curves.error_by_seconds.x) > 1:
            plots.append(_error_by_seconds(curves.error_by_seconds, runs))
        if curves.speed_by_step and len(curves.speed_by_step.x) > 1:
            plots.append(_speed(curves.speed_by_step))
    if phases:
        plots.append(_phase_seconds(phases))
        if any(cost.peak_rss_bytes_max for cost in phases.costs):
            plots.append(_phase_memory(phases))
    return tuple(to_chart(plot, prefix) for plot in plots)


def _plot_runs(
    axes: Axes,
    runs: Sequence[RunSummary],
    point_of: Callable[[RunSummary], tuple[float | None, float | None]],
    label: str,
) -> None:
    """One test accuracy of each run over something, as points of its error that tell the run."""
    points = [
        (x, 1 - y, _tip(run))
        for run in runs
        for x, y in (point_of(run),)
        if x is not None and y is not None
    ]
    if points:
        xs, errors, tips = zip(*points, strict=True)
        plot_points(axes, xs, errors, tips, color=GREEN, markersize=4, label=label)


def _tip(run: RunSummary) -> str:
    return (
        f"Seed {run.seed}, {counted(run.steps, 'step')}: max test accuracy "
        f"{accuracy(run.max_test_accuracy)}, final "
        f"{accuracy(run.final_test_accuracy)}, train time "
        f"{duration(run.train_seconds_total)}"
    )


def _error_by_step(
    band: Band, papers: Sequence[paper.Table1Row], runs: Sequence[RunSummary]
) -> Plot:
    figure, axes = axes_of("training steps", "test error")
    _draw_band(axes, band)
    _plot_runs(
        axes, runs, lambda run: (run.max_test_accuracy_step, run.max_test_accuracy), "best of a run"
    )
    paper_errors = {row.paper_step + 1: 1 - row.max_test_accuracy for row in papers}
    in_words = _curve_in_words(band, "training steps", "test error")
    in_words += _draw_paper(axes, paper_errors)
    _set_error_axis(axes)
    axes.legend()
    plain_ticks(axes.xaxis)
    title = _lowest_errors(band.mean, paper_errors)
    return Plot("error-by-step", title, in_words, figure)


def _error_of_rows(rows: Sequence[Row]) -> Plot:
    """Table I where no curve is at hand: both errors after each step count."""
    figure, axes = axes_of("training steps", "test error")
    errors = [1 - (row.mean or 0) for row in rows]
    spreads = [row.sd or 0 for row in rows]
    steps = [row.steps for row in rows]
    n = ", ".join(formatting.count(n) for n in sorted({row.n for row in rows}))
    axes.errorbar(
        steps, errors, spreads, fmt="o-", color=BLUE, capsize=3,
        label=f"here, mean ± standard deviation (n = {n})",
    )  # fmt: skip
    paper_errors = {row.steps: 1 - (row.paper_max_test_accuracy or 0) for row in rows}
    higher = [x for x, error in zip(steps, errors, strict=True) if error >= paper_errors[x]]
    for x, error in zip(steps, errors, strict=True):
        _label(axes, x, error, above=x in higher)
    paper_words = _draw_paper(axes, paper_errors, below=higher)
    _set_error_axis(axes)
    axes.set_xlim(0, max(steps) * 1.08)
    axes.legend()
    plain_ticks(axes.xaxis)
    points = (f"{error:.2%} after {x:,}" for x, error in zip(steps, errors, strict=True))
    in_words = f"Smallest test error by training steps, n = {n}: {', '.join(points)}.{paper_words}"
    return Plot("error-by-step", _lowest_errors(errors, paper_errors), in_words, figure)


def _lowest_errors(errors: Sequence[float], paper_errors: Mapping[int, float]) -> str:
    title = f"Test error falls to {min(errors):.2%}"
    return f"{title}, the paper's to {min(paper_errors.values()):.2%}" if paper_errors else title


def _draw_paper(axes: Axes, errors: Mapping[int, float], below: Container[int] = ()) -> str:
    """Table I's errors by step, with their values, above but for some steps; the same in words."""
    if not errors:
        return ""
    axes.plot([*errors], [*errors.values()], "D", color=ORANGE, markersize=6,
              label="paper, Table I")  # fmt: skip
    for x, error in errors.items():
        _label(axes, x, error, above=x not in below)
    points = (f"{error:.2%} at {x:,}" for x, error in errors.items())
    return f" The paper's: {', '.join(points)}."


def _label(axes: Axes, x: float, error: float, *, above: bool) -> None:
    """The value of a point, above it on the right or below it on the left."""
    side = 1 if above else -1
    axes.annotate(
        f"{error:.2%}", (x, error), (5 * side, 5 * side), textcoords="offset points",
        ha="left" if above else "right", va="bottom" if above else "top", fontsize="small",
    )  # fmt: skip


def _error_by_seconds(band: Band, runs: Sequence[RunSummary]) -> Plot:
    figure, axes = axes_of("train time, seconds", "test error")
    _draw_band(axes, band)
    _plot_runs(
        axes, runs, lambda run: (run.train_seconds_total, run.final_test_accuracy), "end of a run"
    )
    _set_error_axis(axes)
    axes.legend()
    plain_ticks(axes.xaxis)
    in_words = _curve_in_words(band, "seconds of training", "test error")
    lowest = band.x[band.mean.index(min(band.mean))]
    title = f"Lowest test error after {duration(lowest)} of training"
    return Plot("error-by-seconds", title, in_words, figure)


def _speed(band: Band) -> Plot:
    figure, axes = axes_of("training steps", "training images per second")
    _draw_band(axes, band)
    axes.set_ylim(0, 1.15 * max(band.high))
    axes.legend()
    plain_ticks(axes.xaxis, axes.yaxis)
    in_words = (
        f"Training images per second over {band.x[-1]:,.0f} training steps, n = {band.n}: between "
        f"{rate(min(band.low))} and {rate(max(band.high))}, {rate(band.mean[0])} in the mean at "
        f"the beginning and {rate(band.mean[-1])} at the end.{_band_in_words(band)}"
    )
    title = f"Speed: {rate(statistics.fmean(band.mean))} training images per second"
    return Plot("speed", title, in_words, figure)


def _phase_seconds(phases: Phases) -> Plot:
    figure = figure_of(WIDTH, 1.9)
    axes = figure.subplots()
    total, left = sum(cost.seconds_mean for cost in phases.costs), 0.0
    for cost, colour in zip(phases.costs, _PHASE_COLOURS, strict=False):
        axes.barh(0, cost.seconds_mean, left=left, color=colour, label=cost.name)
        if cost.seconds_mean > total / 8:  # wide enough for its value
            middle = left + cost.seconds_mean / 2
            axes.text(middle, 0, duration(cost.seconds_mean), ha="center", va="center",
                      fontsize="small")  # fmt: skip
        left += cost.seconds_mean
    axes.set(xlabel="seconds", yticks=[])
    plain_ticks(axes.xaxis)
    figure.legend(loc="outside upper center", ncols=6, frameon=False, fontsize="small")
    times = ", ".join(f"{cost.name} {phase_time(cost)}" for cost in phases.costs)
    in_words = f"Mean time by phase, n = {phases.trainings}: {times}."
    longest = max(phases.costs, key=lambda cost: cost.seconds_mean)
    share = longest.seconds_mean / total if total else 0
    title = f"Where the time went: {share:.0%} to {longest.name}"
    return Plot("phases", title, in_words, figure)


def _phase_memory(phases: Phases) -> Plot:
    peaks = {cost.name: cost.peak_rss_bytes_max for cost in phases.costs if cost.peak_rss_bytes_max}
    figure, axes = axes_of("", "peak memory, MiB")
    bars = axes.bar([*peaks], [peak / MIB for peak in peaks.values()], color=BLUE)
    axes.bar_label(bars, [f"{peak / MIB:,.0f}" for peak in peaks.values()], fontsize="small")
    axes.grid(visible=False, axis="x")
    plain_ticks(axes.yaxis)
    listed = ", ".join(f"{name} {mebibytes(peak)}" for name, peak in peaks.items())
    in_words = f"Largest resident memory by phase of {phases.trainings} trainings: {listed}."
    title = f"Memory by phase: at most {mebibytes(max(peaks.values()))}"
    return Plot("memory", title, in_words, figure)


def _curve_in_words(band: Band, x_name: str, y_name: str) -> str:
    """A curve in words: its first, lowest and last point."""
    lowest = min(range(len(band.x)), key=lambda index: band.mean[index])
    points = []
    for i, name in ((0, "first"), (lowest, "lowest"), (-1, "last")):
        ends = "" if band.n == 1 else f" ({band.low[i]:.2%} to {band.high[i]:.2%})"
        points.append(f"{name} {band.mean[i]:.2%} at {band.x[i]:,.0f}{ends}")
    return f"Mean {y_name} by {x_name}, n = {band.n}: {', '.join(points)}.{_band_in_words(band)}"


def _band_in_words(band: Band) -> str:
    return "" if band.n == 1 else " The band is from the smallest to the largest of them."


def _set_error_axis(axes: Axes) -> None:
    """Set a log scale for errors, with ticks in percent: 1%, 2%, 5%, 10%."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator  # slow to load

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g}%"))


def _draw_band(axes: Axes, band: Band) -> None:
    axes.plot(band.x, band.mean, color=BLUE, label=f"here, mean of {band.n}")
    if band.n > 1:
        axes.fill_between(
            band.x, band.low, band.high, color=BLUE, alpha=0.25, linewidth=0,
            label="from the smallest to the largest",
        )  # fmt: skip


# Claims

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
    figure, axes = axes_of("width of the input, pixels", "milliseconds of one application")
    in_words = []
    for kind, (colour, dashes) in zip(LAYER_KINDS, _LINE_STYLES, strict=False):
        repeats = {
            cost.side: [1_000 * seconds for seconds in cost.seconds]
            for cost in body.costs
            if cost.kind == kind and cost.seconds
        }
        medians = {side: statistics.median(seconds) for side, seconds in repeats.items()}
        lowest, highest = map(min, repeats.values()), map(max, repeats.values())
        axes.plot([*medians], [*medians.values()], marker="o", markersize=4, color=colour,
                  linestyle=dashes, label=_LAYER_NAMES[kind])  # fmt: skip
        axes.fill_between([*repeats], [*lowest], [*highest], color=colour, alpha=0.25, linewidth=0)
        by_side = [f"{median:.3g} ms at {s}×{s}" for s, median in medians.items()]
        if by_side:
            in_words.append(f"{_LAYER_NAMES[kind]} {', '.join(by_side)}")
    axes.set(xscale="log", yscale="log")
    plain_ticks(axes.yaxis)
    # A log axis would label only decades.
    sides = sorted({cost.side for cost in body.costs if cost.seconds})
    axes.set_xticks(sides, [str(side) for side in sides])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.legend()
    alternative = (
        f"Median time of one application to {body.batch_images} images: {'; '.join(in_words)}. The "
        "band is from the smallest to the largest of the repeats."
    )
    yield Plot("layers", "Time of one layer as its input grows", alternative, figure)


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
        plain_ticks(axes.xaxis, axes.yaxis)
        axes.legend()
        in_words = "; ".join(_lowest(curve, unit) for curve in body.curves)
        alternative = (
            f"All begin with the same weights, at a loss of {start:.4f}. "
            f"{in_words[:1].upper()}{in_words[1:]}."
        )
        yield Plot(f"loss-by-{unit}", f"Loss by {label}", alternative, figure)


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
    where = duration(x) if unit == "seconds" else f"{count(round(x))} samples"
    return f"{curve.method}: {loss:.4f} at the lowest, after {where}"
