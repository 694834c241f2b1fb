"""Drawings for the page: SVG that takes the page's own colour for text and lines."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.typing import RcKeyType

# Okabe and Ito's palette: told apart with any colour blindness. https://jfly.uni-koeln.de/color/
BLUE, ORANGE, GREEN, PURPLE, SKY, YELLOW = (
    *("#0072b2", "#d55e00", "#009e73"),
    *("#cc79a7", "#56b4e9", "#e69f00"),
)
_INK = "#010203"
"""Stands for the page's own colour while matplotlib draws."""
WIDTH, HEIGHT = 6.4, 3.6
"""Of a drawing that is nothing special, in inches."""


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


@dataclass(frozen=True)
class Drawn:
    """A chart before it is an element of a page.

    Attributes:
        name: As of `Chart`; likewise `title` and `alternative`.
        figure: Matplotlib's.
    """

    name: str
    title: str
    alternative: str
    figure: Figure


def charted(drawn: Drawn, prefix: str) -> Chart:
    """A drawing as a piece of a page.

    Args:
        drawn: The drawing.
        prefix: Begins every id in it, so that several may stand on one page.
    """
    name, title, alternative = drawn.name, drawn.title, drawn.alternative
    return Chart(name, title, alternative, _svg(drawn.figure, f"{prefix}-{name}"))


def figure_of(width: float, height: float) -> Figure:
    """An empty figure of a size in inches."""
    from matplotlib.figure import Figure  # slow to load; without pyplot it needs no screen

    return Figure(figsize=(width, height), layout="constrained")


def axes_of(x_label: str, y_label: str) -> tuple[Figure, Axes]:
    """A figure with one pair of axes and their names."""
    figure = figure_of(WIDTH, HEIGHT)
    axes = figure.subplots()
    axes.set(xlabel=x_label, ylabel=y_label)
    axes.grid(visible=True, alpha=0.25)
    return figure, axes


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
        _ink(figure)
        stream = io.StringIO()
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    element = re.search(r"<svg\b.*</svg>", stream.getvalue(), flags=re.DOTALL)
    if element is None:
        raise ValueError("matplotlib wrote no svg element")
    without_metadata = re.sub(r"\s*<metadata>.*?</metadata>", "", element[0], flags=re.DOTALL)
    # Pictures that are alike would have the same id, and nothing refers to it.
    without_metadata = re.sub(r' id="image\w*"', "", without_metadata)
    own_ids = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", without_metadata)
    return own_ids.replace(_INK, "currentColor")


def _ink(figure: Figure) -> None:
    """All text, frames and whatever is black in the ink: it was made before the style was set."""
    from matplotlib.collections import PathCollection
    from matplotlib.lines import Line2D
    from matplotlib.text import Text

    for artist in figure.findobj():  # once: to find them takes a quarter of a drawing's time
        match artist:
            case Text():
                artist.set_color(_INK)
            case Line2D() if artist.get_color() == "black":
                artist.set_color(_INK)
            case PathCollection() if len(artist.get_facecolor()) == 0:
                artist.set_edgecolor(_INK)
            case _:
                pass
    for axes in figure.axes:
        axes.set_facecolor("none")
        axes.tick_params(colors=_INK, which="both")
        for spine in axes.spines.values():
            spine.set_color(_INK)
        legend = axes.get_legend()
        if legend:
            legend.get_frame().set_facecolor("none")
