"""Charts as SVG for the page, with text and lines in the page's text color."""

from __future__ import annotations

import html
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from mnist_bench.core.escaping import one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.typing import RcKeyType

# Okabe and Ito's palette, distinguishable with any colour blindness. https://jfly.uni-koeln.de/color/
BLUE, ORANGE, GREEN, PURPLE, SKY, YELLOW = (
    *("#0072b2", "#d55e00", "#009e73"),
    *("#cc79a7", "#56b4e9", "#e69f00"),
)
_INK = "#010203"
"""Placeholder for the page's text color while Matplotlib draws."""
WIDTH, HEIGHT = 6.4, 3.6
"""Default size of a chart in inches."""
_TIPS = "tips:"
"""Begins the id of points; their texts follow as quoted JSON, and become a title of each."""


@dataclass(frozen=True)
class Chart:
    """A chart as SVG.

    Attributes:
        name: Name of its file, without suffix.
        title: Title, one line.
        alternative: Text alternative: what it shows, with its values.
        svg: An `svg` element.
    """

    name: str
    title: str
    alternative: str
    svg: str


@dataclass(frozen=True)
class Plot:
    """A chart as a Matplotlib figure; the other fields are as in `Chart`."""

    name: str
    title: str
    alternative: str
    figure: Figure


def to_chart(plot: Plot, prefix: str) -> Chart:
    """Render a plot as SVG; a prefix of all its ids makes them unique on the page."""
    svg = _svg(plot.figure, f"{prefix}-{plot.name}-")
    return Chart(plot.name, plot.title, plot.alternative, svg)


def figure_of(width: float, height: float) -> Figure:
    """An empty figure, with its size in inches."""
    from matplotlib.figure import Figure  # slow to load; without pyplot no display is needed

    return Figure(figsize=(width, height), layout="constrained")


def axes_of(x_label: str, y_label: str) -> tuple[Figure, Axes]:
    """A figure with one pair of labeled axes."""
    figure = figure_of(WIDTH, HEIGHT)
    axes = figure.subplots()
    axes.set(xlabel=x_label, ylabel=y_label)
    axes.grid(visible=True, alpha=0.25)
    return figure, axes


def plain_ticks(*axes_: Any) -> None:
    """Label the ticks of an axis with plain numbers: `10,000` and `0.5`, on a log axis too."""
    from matplotlib.ticker import FuncFormatter, NullFormatter  # slow to load

    for axis in axes_:
        axis.set_major_formatter(
            FuncFormatter(lambda value, _: f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:g}")
        )
        axis.set_minor_formatter(NullFormatter())


def set_style(figure: Figure) -> None:
    """The look of all charts: no frame but the two axes, and a legend without one."""
    for axes in figure.axes:
        if axes.get_label() != "<colorbar>":
            axes.spines[["top", "right"]].set_visible(False)
        axes.set_axisbelow(True)
        legend = axes.get_legend()
        if legend:
            legend.set_frame_on(False)


def plot_points(
    axes: Axes,
    xs: Sequence[float | str],
    ys: Sequence[float],
    tips: Sequence[str],
    style: str = "o",
    **options: Any,
) -> None:
    """Plot points, each with a text that the page shows where the mouse is over it."""
    axes.plot(xs, ys, style, gid=_TIPS + quote(json.dumps(tips)), **options)


def _with_tips(element: str) -> str:
    """The SVG with a `title` in every point that has a text."""

    def titled(group: re.Match[str]) -> str:
        tips = iter(json.loads(unquote(group[1])))

        def point(use: re.Match[str]) -> str:
            title = html.escape(one_line(next(tips)))
            return f'<use class="point" {use[1]}><title>{title}</title></use>'

        return re.sub(r"<use ([^>]*)/>", point, f"<g>{group[2]}")

    # A line's group has its marker's definition, and a group of its points.
    return re.sub(rf'<g id="{_TIPS}([^"]*)">(.*?</g>)', titled, element, flags=re.DOTALL)


def _svg(figure: Figure, id_prefix: str) -> str:
    """Render a figure as an `svg` element: real text, the page's text color, and no date."""
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
        _set_ink(figure)
        stream = io.StringIO()
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    element = re.search(r"<svg\b.*</svg>", stream.getvalue(), flags=re.DOTALL)
    if element is None:
        raise ValueError("matplotlib wrote no svg element")
    without_metadata = re.sub(r"\s*<metadata>.*?</metadata>", "", element[0], flags=re.DOTALL)
    # Equal images would have equal ids, which nothing refers to.
    without_image_ids = re.sub(r' id="image\w*"', "", _with_tips(without_metadata))
    with_unique_ids = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{id_prefix}", without_image_ids)
    return with_unique_ids.replace(_INK, "currentColor")


def _set_ink(figure: Figure) -> None:
    """Recolor text, frames and black marks, which were created before the style was set."""
    from matplotlib.collections import PathCollection
    from matplotlib.lines import Line2D
    from matplotlib.text import Text

    for artist in figure.findobj():  # once, since findobj takes a quarter of the drawing time
        match artist:
            case Text():
                artist.set_color(_INK)
            case Line2D() if artist.get_color() == "black":
                artist.set_color(_INK)
            case PathCollection() if len(artist.get_facecolor()) == 0:
                artist.set_edgecolor(_INK)
            case _:
                pass
    set_style(figure)
    for axes in figure.axes:
        axes.set_facecolor("none")
        axes.tick_params(colors=_INK, which="both")
        for spine in axes.spines.values():
            spine.set_color(_INK)
        legend = axes.get_legend()
        if legend:
            legend.get_frame().set_facecolor("none")
