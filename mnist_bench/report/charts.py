"""The report's charts, as SVG that takes the page's own colour for text and lines."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mnist_bench import paper, units
from mnist_bench.curves import Band, Curves
from mnist_bench.spent import PhaseCost, Phases

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.typing import RcKeyType

# Okabe and Ito's palette: told apart with any colour blindness. https://jfly.uni-koeln.de/color/
_BLUE, _ORANGE, _GREEN, _PURPLE, _SKY, _YELLOW = (
    *("#0072b2", "#d55e00", "#009e73"),
    *("#cc79a7", "#56b4e9", "#e69f00"),
)
_PHASE_COLOURS = (_SKY, _YELLOW, _GREEN, _BLUE, _PURPLE, _ORANGE)
_INK = "#010203"
"""Stands for the page's own colour while matplotlib draws."""
_WIDTH, _HEIGHT = 6.4, 3.6


@dataclass(frozen=True)
class Chart:
    """A drawn chart.

    Attributes:
        name: Of its file, without suffix.
        title: One line for people.
        alternative: What it shows, in words with its figures, for who can't see it.
        svg: An `svg` element.
    """

    name: str
    title: str
    alternative: str
    svg: str


def charts_of(
    curves: Curves | None, phases: Phases | None, rows: Sequence[paper.Table1Row], prefix: str
) -> tuple[Chart, ...]:
    """All charts that there are figures for.

    Args:
        curves: Of the longest trainings.
        phases: Of the longest trainings.
        rows: The paper's points; none where it does not compare.
        prefix: Begins every id in the drawings, so that those of several scenarios may stand on one
            page.
    """
    drawn = [*_of_curves(curves, rows), *_of_phases(phases)]
    return tuple(
        Chart(each.name, each.title, each.alternative, _svg(each.figure, f"{prefix}-{each.name}"))
        for each in drawn
    )


@dataclass(frozen=True)
class _Drawn:
    """A chart before it is an element of a page."""

    name: str
    title: str
    alternative: str
    figure: Figure


def _of_curves(curves: Curves | None, rows: Sequence[paper.Table1Row]) -> Iterator[_Drawn]:
    if curves:
        yield _error_by_step(curves.error_by_step, rows)
        if curves.error_by_seconds:
            yield _error_by_seconds(curves.error_by_seconds)
        if curves.speed_by_step:
            yield _speed(curves.speed_by_step)


def _of_phases(phases: Phases | None) -> Iterator[_Drawn]:
    if phases:
        yield _phase_seconds(phases)
        if any(cost.peak_rss_bytes_max for cost in phases.costs):
            yield _phase_memory(phases)


def _error_by_step(band: Band, rows: Sequence[paper.Table1Row]) -> _Drawn:
    figure, axes = _axes("updates", "share of test images wrong")
    _draw(axes, band, "here")
    if rows:
        steps = [row.paper_step + 1 for row in rows]
        errors = [1 - row.max_test_accuracy for row in rows]
        axes.plot(steps, errors, "D", color=_ORANGE, markersize=6, label="paper, Table I")
    axes.set_yscale("log")
    axes.legend()
    paper_words = (
        " The paper's: "
        + ", ".join(f"{1 - row.max_test_accuracy:.4f} at {row.paper_step + 1:,}" for row in rows)
        + "."
        if rows
        else ""
    )
    return _Drawn(
        name="error-by-step",
        title="Test error by updates",
        alternative=f"{_course(band, 'updates', 'error')}{paper_words}",
        figure=figure,
    )


def _error_by_seconds(band: Band) -> _Drawn:
    figure, axes = _axes("seconds inside training", "share of test images wrong")
    _draw(axes, band, "here")
    axes.set_yscale("log")
    return _Drawn(
        name="error-by-seconds",
        title="Test error by seconds of training",
        alternative=_course(band, "seconds of training", "error"),
        figure=figure,
    )


def _speed(band: Band) -> _Drawn:
    figure, axes = _axes("updates", "training images a second")
    _draw(axes, band, "here")
    axes.set_ylim(bottom=0)
    low, high = min(band.low), max(band.high)
    return _Drawn(
        name="speed",
        title="Speed over the run",
        alternative=(
            f"Training images a second over {band.x[-1]:,.0f} updates, n = {band.n}: between "
            f"{units.rate(low)} and {units.rate(high)}, {units.rate(band.mean[0])} in the mean at "
            f"the beginning and {units.rate(band.mean[-1])} at the end."
        ),
        figure=figure,
    )


def _phase_seconds(phases: Phases) -> _Drawn:
    figure = _figure(_WIDTH, 1.9)
    axes = figure.subplots()
    begin = 0.0
    for cost, colour in zip(phases.costs, _PHASE_COLOURS, strict=False):
        axes.barh(0, cost.seconds_mean, left=begin, color=colour, label=cost.name)
        begin += cost.seconds_mean
    axes.set(xlabel="seconds", yticks=[])
    figure.legend(loc="outside upper center", ncols=6, frameon=False, fontsize="small")
    return _Drawn(
        name="phases",
        title="Where the time went",
        alternative=f"Mean seconds by phase: {_listed(phases.costs, seconds=True)}.",
        figure=figure,
    )


def _phase_memory(phases: Phases) -> _Drawn:
    known = [cost for cost in phases.costs if cost.peak_rss_bytes_max is not None]
    figure, axes = _axes("", "peak RSS, MiB")
    axes.bar(
        [cost.name for cost in known],
        [(cost.peak_rss_bytes_max or 0) / units.MIB for cost in known],
        color=_BLUE,
    )
    return _Drawn(
        name="memory",
        title="Memory by phase",
        alternative=f"Largest resident memory by phase: {_listed(known, seconds=False)}.",
        figure=figure,
    )


def _listed(costs: Sequence[PhaseCost], *, seconds: bool) -> str:
    return ", ".join(
        f"{c.name} {units.duration(c.seconds_mean) if seconds else _memory(c)}" for c in costs
    )


def _memory(cost: PhaseCost) -> str:
    return units.mebibytes(cost.peak_rss_bytes_max)


def _course(band: Band, of: str, what: str) -> str:
    """A curve in words: where it begins, where it is lowest, where it ends."""
    lowest = min(range(len(band.x)), key=lambda index: band.mean[index])
    points = [(0, "first"), (lowest, "lowest"), (len(band.x) - 1, "last")]
    told = [f"{name} {band.mean[i]:.4f} at {band.x[i]:,.0f}" for i, name in points]
    return f"Mean {what} by {of}, n = {band.n}: {', '.join(told)}."


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure  # slow to load; without pyplot it needs no screen

    return Figure(figsize=(width, height), layout="constrained")


def _axes(x_label: str, y_label: str) -> tuple[Figure, Axes]:
    figure = _figure(_WIDTH, _HEIGHT)
    axes = figure.subplots()
    axes.set(xlabel=x_label, ylabel=y_label)
    axes.grid(visible=True, alpha=0.25)
    return figure, axes


def _draw(axes: Axes, band: Band, label: str) -> None:
    axes.plot(band.x, band.mean, color=_BLUE, label=f"{label}, mean of {band.n}")
    if band.n > 1:
        axes.fill_between(band.x, band.low, band.high, color=_BLUE, alpha=0.25, linewidth=0)


def _svg(figure: Figure, name: str) -> str:
    """As an element of a page: text stays text, ink is the page's, nothing tells of a date.

    Args:
        figure: Drawn.
        name: Begins every id, so that two charts may stand on one page.
    """
    import matplotlib as mpl

    style: dict[RcKeyType, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": "mnist-bench",
        "font.family": "sans-serif",
        "text.color": _INK,
        "axes.edgecolor": _INK,
        "axes.labelcolor": _INK,
        "xtick.color": _INK,
        "ytick.color": _INK,
    }
    with mpl.rc_context(style):
        for axes in figure.axes:
            axes.set_facecolor("none")
            _ink(axes)
        for legend in figure.legends:
            for text in legend.get_texts():
                text.set_color(_INK)
        stream = io.StringIO()
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    element = re.search(r"<svg\b.*</svg>", stream.getvalue(), flags=re.DOTALL)
    if element is None:
        raise ValueError("matplotlib wrote no svg element")
    without_metadata = re.sub(r"\s*<metadata>.*?</metadata>", "", element[0], flags=re.DOTALL)
    own_ids = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", without_metadata)
    return own_ids.replace(_INK, "currentColor")


def _ink(axes: Axes) -> None:
    """Text and frame in the ink: the axes were made before the style was set."""
    axes.tick_params(colors=_INK, which="both")
    for spine in axes.spines.values():
        spine.set_color(_INK)
    for text in (axes.xaxis.label, axes.yaxis.label, axes.title):
        text.set_color(_INK)
    legend = axes.get_legend()
    if legend:
        legend.get_frame().set_facecolor("none")
        for text in legend.get_texts():
            text.set_color(_INK)
