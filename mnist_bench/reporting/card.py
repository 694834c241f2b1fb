"""The result of a report as a picture to post: `card.svg` and `card.png`, 1200 by 630 pixels."""

from __future__ import annotations

import html
import io
import textwrap
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mnist_bench.core import files, formatting
from mnist_bench.core.errors import BenchError
from mnist_bench.core.escaping import one_line
from mnist_bench.reporting import text
from mnist_bench.reporting.columns import mean_with_sd, verdict_in_words
from mnist_bench.reporting.model import Report, ReportSection
from mnist_bench.reporting.svg import BLUE, GREEN, ORANGE
from mnist_bench.results.document import Row
from mnist_bench.scenarios import paper

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.typing import RcKeyType

WIDTH, HEIGHT = 1200, 630
"""Pixels: what pages show of a link."""
_DPI = 100
_MARGIN = 60
_INK, _QUIET, _LINE = "#1b1b1b", "#595959", "#c8c8c8"
_MOST_ROWS = 4
_MOST_CHARACTERS = 110
_VERDICT_COLOURS = {"reproduced": GREEN, "exceeds": BLUE, "below": ORANGE}


def card_files(report: Report) -> tuple[files.File, ...]:
    """The card of the first scenario, which is Table I if it was run, else the newest.

    Raises:
        BenchError: No run of a scenario has finished.
    """
    import matplotlib as mpl  # slow to load

    section = next((each for each in report.sections if each.has_results), None)
    if section is None:
        raise BenchError("--card: no run of a scenario has finished", "`mnist-bench run` makes one")
    # Matplotlib's own font, as outlines: the same picture everywhere, whatever is installed.
    style: dict[RcKeyType, Any] = {
        "font.family": "DejaVu Sans", "svg.fonttype": "path", "svg.hashsalt": "mnist-bench",
        "text.parse_math": False,
    }  # fmt: skip
    with mpl.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about signs that the font lacks
        mpl.rcdefaults()
        mpl.rcParams.update(style)
        figure = _draw(report, section)
        svg, png = io.StringIO(), io.BytesIO()
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
        figure.savefig(png, format="png", dpi=_DPI, metadata={"Software": None})
    title = f"<title>{html.escape(one_line(_title(report, section)))}</title>"
    opening, end, rest = svg.getvalue().partition("<metadata>")
    return files.File(".svg", f"{opening}{title}{end}{rest}"), files.File(".png", png.getvalue())


def _title(report: Report, section: ReportSection) -> str:
    """As the page's, but always of the one scenario, and without its machine."""
    machine = report.document.machine
    return text.title((section,), (), machine).removesuffix(f" on {machine.kind}").rstrip(",")


class _Card:
    """A figure on which texts are placed by pixels from the upper left."""

    def __init__(self, figure: Figure) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        self.figure = figure
        FigureCanvasAgg(figure)  # measures texts

    def write(
        self, x: float, y: float, line: str, size: float, width: float = WIDTH, **style: Any
    ) -> None:
        """Write a line whose baseline is at y; one that is wider than `width` gets smaller."""
        shown = textwrap.shorten(one_line(line), _MOST_CHARACTERS, placeholder="…")
        shown = shown if len(shown) > 1 else one_line(line)[:_MOST_CHARACTERS]  # one long word
        style = {"color": _INK, "va": "baseline"} | style
        # A point is 1/72 inch.
        written = self.figure.text(
            x / WIDTH, 1 - y / HEIGHT, shown, fontsize=size * 72 / _DPI, **style
        )
        found = written.get_window_extent().width
        if found > width:
            written.set_fontsize(0.96 * size * 72 / _DPI * width / found)

    def line(self, y: float, left: float, right: float) -> None:
        """A horizontal rule."""
        from matplotlib.lines import Line2D

        ends = [left / WIDTH, right / WIDTH]
        self.figure.add_artist(Line2D(ends, [1 - y / HEIGHT] * 2, color=_LINE, linewidth=1))


def _draw(report: Report, section: ReportSection) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH / _DPI, HEIGHT / _DPI), dpi=_DPI, facecolor="white")
    card, machine, width = _Card(figure), report.document.machine, WIDTH - 2 * _MARGIN
    card.write(_MARGIN, 105, _title(report, section), 46, width, weight="bold")
    card.write(_MARGIN, 150, machine.kind, 26, width, color=_QUIET)
    rows = section.document.table_1 if section.is_comparable else section.rows[-_MOST_ROWS:]
    if section.is_comparable:
        _table(card, rows)
    else:
        _final_accuracies(card, rows, section.document.runs[-1].dataset)
    for index, tile in enumerate(text.tiles_of_section(section)[1:]):
        y = 215 + 112 * index
        card.write(830, y, tile.label, 20, color=_QUIET)
        card.write(830, y + 45, tile.value, 40, WIDTH - _MARGIN - 830, weight="bold")
        card.write(830, y + 69, tile.note, 16, WIDTH - _MARGIN - 830, color=_QUIET)
    seeds = max(row.n for row in rows)
    footer = (
        f"mnist-bench {machine.mnist_bench} · TensorFlow {machine.tensorflow} · "
        f"{formatting.counted(seeds, 'seed')} · {report.created}"
    )
    card.line(550, _MARGIN, WIDTH - _MARGIN)
    card.write(_MARGIN, 590, footer, 20, width, color=_QUIET)
    if section.is_comparable:
        source = f"The paper: {paper.AUTHOR}, {paper.YEAR}, Table I"
        card.write(WIDTH - _MARGIN, 590, source, 20, color=_QUIET, ha="right")
    return figure


def _table(card: _Card, rows: Sequence[Row]) -> None:
    """Table I: the paper's value, this machine's and the verdict of each step count."""
    card.write(_MARGIN, 225, "max test accuracy", 20, color=_QUIET)
    rights = (165, 290, 530)
    for right, header in zip(rights, ("steps", "paper", "here"), strict=True):
        card.write(right, 275, header, 20, color=_QUIET, ha="right")
    card.line(293, _MARGIN, 770)
    for index, row in enumerate(rows, 1):
        baseline = 275 + 58 * index
        cells = (
            formatting.count(row.steps),
            formatting.accuracy(row.paper_max_test_accuracy),
            mean_with_sd(row.mean, row.sd),
        )
        for right, cell in zip(rights, cells, strict=True):
            card.write(right, baseline, cell, 26, 225, ha="right")
        verdict = verdict_in_words(row.verdict)
        colour = _VERDICT_COLOURS.get(verdict, _INK)
        card.write(560, baseline, verdict, 26, 210, color=colour, weight="bold")
        card.line(baseline + 18, _MARGIN, 770)


def _final_accuracies(card: _Card, rows: Sequence[Row], dataset: str) -> None:
    """The accuracy after the last step, large, and smaller those of fewer steps."""
    *others, last = rows
    caption = f"final test accuracy after {formatting.counted(last.steps, 'step')}, {dataset}"
    card.write(_MARGIN, 225, caption, 20, 710, color=_QUIET)
    card.write(
        _MARGIN, 325, formatting.accuracy(last.final_test_accuracy_mean), 96, 710, weight="bold"
    )
    for index, row in enumerate(reversed(others)):
        accuracy = formatting.accuracy(row.final_test_accuracy_mean)
        line = f"{accuracy} after {formatting.counted(row.steps, 'step')}"
        card.write(_MARGIN, 395 + 50 * index, line, 26, 710)
