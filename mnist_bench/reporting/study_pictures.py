"""Figures of a study: history, importances, slices, Pareto front."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from mnist_bench.core import formatting
from mnist_bench.reporting.svg import figure_of
from mnist_bench.tuning.document import StudyDocument
from mnist_bench.tuning.trial import StudyTrial

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DPI = 100
_COLUMNS = 4
_WIDE_RANGE = 100
"""From this ratio of limits on, a log axis is labeled at powers of ten only."""


def pictures_of(document: StudyDocument) -> dict[str, bytes]:
    """PNG files of a study's figures, by name."""
    draw_functions: dict[str, Callable[[StudyDocument], Figure]] = {}
    if document.finished:
        draw_functions |= {"history": history, "slices": slices}
    if document.importances:
        draw_functions["importances"] = importances
    if len(document.goal.directions) > 1 and document.finished:
        draw_functions["pareto"] = pareto
    return {name: _png(draw(document)) for name, draw in draw_functions.items()}


def _png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    # Without date and version the same study gives the same bytes.
    figure.savefig(stream, format="png", dpi=_DPI, metadata={"Software": None})
    return stream.getvalue()


def history(document: StudyDocument) -> Figure:
    """First value of each finished trial, and the best so far."""
    from matplotlib.ticker import MaxNLocator  # slow to load

    figure = figure_of(7, 4)
    axes = figure.subplots()
    trials = document.finished
    numbers, values = [t.number for t in trials], [t.values[0] for t in trials]
    axes.plot(numbers, values, "o", markersize=4, label="trial")
    axes.step(numbers, list(_best_so_far(document)), where="post", label="best so far")
    _mark_paper_trials(axes, trials, lambda trial: trial.number)
    axes.set(xlabel="trial", ylabel=document.goal.names[0])
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend()
    return figure


def _best_so_far(document: StudyDocument) -> Iterator[float]:
    better = min if document.goal.directions[0] == "minimize" else max
    best: float | None = None
    for trial in document.finished:
        if trial.is_feasible:
            best = trial.values[0] if best is None else better(best, trial.values[0])
        yield float("nan") if best is None else best


def _mark_paper_trials(
    axes: Axes, trials: Sequence[StudyTrial], x_of: Callable[[StudyTrial], float | str]
) -> None:
    papers = [trial for trial in trials if trial.is_papers]
    values = [trial.values[0] for trial in papers]
    axes.plot([x_of(t) for t in papers], values, "s", color="black", label="paper's")


def slices(document: StudyDocument, columns: int = _COLUMNS) -> Figure:
    """First value over each parameter, `columns` panels per row."""
    names = list(document.space.parameters)
    columns = min(columns, len(names))
    rows = -(-len(names) // columns)
    figure = figure_of(3 * columns, 2.6 * rows)
    figure.supylabel(document.goal.names[0], fontsize="small")
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for axes, name in zip(grid.flat, names, strict=False):
        _slice(axes, document, name)
    for axes in grid.flat[len(names) :]:
        axes.set_axis_off()
    return figure


def _slice(axes: Axes, document: StudyDocument, name: str) -> None:
    parameter = document.space.parameters[name]
    trials = [trial for trial in document.finished if name in trial.chosen]

    def x_of(trial: StudyTrial) -> float | str:
        value = trial.chosen[name]
        return str(value) if parameter.choices is not None else float(value)

    axes.plot([x_of(t) for t in trials], [t.values[0] for t in trials], "o", markersize=3)
    _mark_paper_trials(axes, trials, x_of)
    if parameter.log and parameter.low and parameter.high:
        _set_log_axis(axes, decades=parameter.high / parameter.low >= _WIDE_RANGE)
    axes.set_title(name, fontsize="small")
    axes.tick_params(labelsize="small")


def _set_log_axis(axes: Axes, *, decades: bool) -> None:
    """Set a log axis with few labels; Matplotlib's default labels overlap on short ranges."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator  # slow to load

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1,) if decades else (1, 2, 5)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def importances(document: StudyDocument) -> Figure:
    """Importance of each parameter for the first value."""
    rising = sorted(document.importances.items(), key=lambda pair: pair[1])
    figure = figure_of(6, 0.8 + 0.3 * len(rising))
    axes = figure.subplots()
    axes.barh([name for name, _ in rising], [share for _, share in rising])
    axes.set(xlabel=f"share of what matters for {document.goal.names[0]}")
    return figure


def pareto(document: StudyDocument) -> Figure:
    """Accuracy over seconds, with memory as color and rings around the Pareto front."""
    figure = figure_of(7, 4.5)
    axes = figure.subplots()
    trials = document.finished
    accuracies, seconds, peaks = zip(*(trial.values for trial in trials), strict=True)
    dots = axes.scatter(seconds, accuracies, c=[peak / formatting.MIB for peak in peaks], s=25)
    figure.colorbar(dots, label="peak RSS, MiB")
    front = [document.trial(number) for number in document.best]
    papers = [trial for trial in trials if trial.is_papers]
    for marked, marker, size, label in (
        (front, "o", 110, "front"),
        (papers, "s", 200, "paper's"),
    ):
        axes.scatter(
            [t.values[1] for t in marked], [t.values[0] for t in marked], s=size, marker=marker,
            facecolors="none", edgecolors="black", label=label,
        )  # fmt: skip
    axes.set(xlabel="train seconds", ylabel="validation accuracy", xscale="log")
    axes.legend()
    return figure
