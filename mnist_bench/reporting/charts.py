"""Charts of learning curves, speed, time and memory by phase."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from mnist_bench.analysis.costs import PhaseCost, Phases
from mnist_bench.analysis.curves import Band, Curves
from mnist_bench.core import formatting
from mnist_bench.reporting.columns import phase_time
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
    to_chart,
)
from mnist_bench.scenarios import paper

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PHASE_COLOURS = (SKY, YELLOW, GREEN, BLUE, PURPLE, ORANGE)


def charts_of(
    curves: Curves | None, phases: Phases | None, rows: Sequence[paper.Table1Row], prefix: str
) -> tuple[Chart, ...]:
    """All charts that there is data for.

    Args:
        curves: Curves of the longest trainings.
        phases: Phase costs of the longest trainings.
        rows: The paper's points; empty if the runs are not comparable.
        prefix: Prefix of all ids in the SVGs, so that ids on one page are unique.
    """
    plots = [*_curve_plots(curves, rows), *_phase_plots(phases)]
    return tuple(to_chart(plot, prefix) for plot in plots)


def _curve_plots(curves: Curves | None, rows: Sequence[paper.Table1Row]) -> Iterator[Plot]:
    if curves:
        yield _error_by_step(curves.error_by_step, rows)
        if curves.error_by_seconds:
            yield _error_by_seconds(curves.error_by_seconds)
        if curves.speed_by_step:
            yield _speed(curves.speed_by_step)


def _phase_plots(phases: Phases | None) -> Iterator[Plot]:
    if phases:
        yield _phase_seconds(phases)
        if any(cost.peak_rss_bytes_max for cost in phases.costs):
            yield _phase_memory(phases)


def _error_by_step(band: Band, rows: Sequence[paper.Table1Row]) -> Plot:
    figure, axes = axes_of("updates", "share of test images wrong")
    _draw_band(axes, band, "here")
    if rows:
        steps = [row.paper_step + 1 for row in rows]
        errors = [1 - row.max_test_accuracy for row in rows]
        axes.plot(steps, errors, "D", color=ORANGE, markersize=6, label="paper, Table I")
    _set_error_axis(axes)
    axes.legend()
    paper_points = (
        " The paper's: "
        + ", ".join(f"{1 - row.max_test_accuracy:.2%} at {row.paper_step + 1:,}" for row in rows)
        + "."
        if rows
        else ""
    )
    return Plot(
        name="error-by-step",
        title="Test error by updates",
        alternative=f"{_curve_in_words(band, 'updates', 'error')}{paper_points}",
        figure=figure,
    )


def _error_by_seconds(band: Band) -> Plot:
    figure, axes = axes_of("seconds inside training", "share of test images wrong")
    _draw_band(axes, band, "here")
    _set_error_axis(axes)
    return Plot(
        name="error-by-seconds",
        title="Test error by seconds of training",
        alternative=_curve_in_words(band, "seconds of training", "error"),
        figure=figure,
    )


def _speed(band: Band) -> Plot:
    figure, axes = axes_of("updates", "training images a second")
    _draw_band(axes, band, "here")
    axes.set_ylim(bottom=0)
    low, high = min(band.low), max(band.high)
    return Plot(
        name="speed",
        title="Speed over the run",
        alternative=(
            f"Training images a second over {band.x[-1]:,.0f} updates, n = {band.n}: between "
            f"{formatting.rate(low)} and {formatting.rate(high)}, "
            f"{formatting.rate(band.mean[0])} in the mean at the beginning and "
            f"{formatting.rate(band.mean[-1])} at the end.{_band_in_words(band)}"
        ),
        figure=figure,
    )


def _phase_seconds(phases: Phases) -> Plot:
    figure = figure_of(WIDTH, 1.9)
    axes = figure.subplots()
    left = 0.0
    for cost, colour in zip(phases.costs, _PHASE_COLOURS, strict=False):
        axes.barh(0, cost.seconds_mean, left=left, color=colour, label=cost.name)
        left += cost.seconds_mean
    axes.set(xlabel="seconds", yticks=[])
    figure.legend(loc="outside upper center", ncols=6, frameon=False, fontsize="small")
    return Plot(
        name="phases",
        title="Where the time went",
        alternative=(
            f"Mean time by phase, n = {phases.trainings}: {_listed(phases.costs, seconds=True)}."
        ),
        figure=figure,
    )


def _phase_memory(phases: Phases) -> Plot:
    known_costs = [cost for cost in phases.costs if cost.peak_rss_bytes_max is not None]
    figure, axes = axes_of("", "peak RSS, MiB")
    axes.bar(
        [cost.name for cost in known_costs],
        [(cost.peak_rss_bytes_max or 0) / formatting.MIB for cost in known_costs],
        color=BLUE,
    )
    return Plot(
        name="memory",
        title="Memory by phase",
        alternative=(
            f"Largest resident memory by phase of {phases.trainings} trainings: "
            f"{_listed(known_costs, seconds=False)}."
        ),
        figure=figure,
    )


def _listed(costs: Sequence[PhaseCost], *, seconds: bool) -> str:
    return ", ".join(f"{c.name} {phase_time(c) if seconds else _memory(c)}" for c in costs)


def _memory(cost: PhaseCost) -> str:
    return formatting.mebibytes(cost.peak_rss_bytes_max)


def _curve_in_words(band: Band, x_name: str, y_name: str) -> str:
    """A curve in words: its first, lowest and last point."""
    lowest = min(range(len(band.x)), key=lambda index: band.mean[index])
    points = [(0, "first"), (lowest, "lowest"), (len(band.x) - 1, "last")]
    points_in_words = [
        f"{name} {band.mean[i]:.2%} at {band.x[i]:,.0f}{_range(band, i)}" for i, name in points
    ]
    return (
        f"Mean {y_name} by {x_name}, n = {band.n}: {', '.join(points_in_words)}."
        f"{_band_in_words(band)}"
    )


def _range(band: Band, index: int) -> str:
    return "" if band.n == 1 else f" ({band.low[index]:.2%} to {band.high[index]:.2%})"


def _band_in_words(band: Band) -> str:
    return "" if band.n == 1 else " The band is from the smallest to the largest of them."


def _set_error_axis(axes: Axes) -> None:
    """Set a log scale for errors, with ticks in percent: 1%, 2%, 5%, 10%."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator  # slow to load

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g}%"))


def _draw_band(axes: Axes, band: Band, label: str) -> None:
    axes.plot(band.x, band.mean, color=BLUE, label=f"{label}, mean of {band.n}")
    if band.n > 1:
        axes.fill_between(
            band.x, band.low, band.high, color=BLUE, alpha=0.25, linewidth=0,
            label="from the smallest to the largest",
        )  # fmt: skip
