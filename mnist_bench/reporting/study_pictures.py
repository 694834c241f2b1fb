"""A study's pictures: history, importances, slices, Pareto front."""

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

_DOTS_PER_INCH = 100
_COLUMNS = 4
_WIDE_RANGE = 100
"""From such a range on, powers of ten are labels enough."""


def pictures_of(document: StudyDocument) -> dict[str, bytes]:
    """The pictures that a study has figures for, as PNG, by name."""
    drawn: dict[str, Callable[[StudyDocument], Figure]] = {}
    if document.finished:
        drawn |= {"history": history, "slices": slices}
    if document.importances:
        drawn["importances"] = importances
    if len(document.goal.directions) > 1 and document.finished:
        drawn["pareto"] = pareto
    return {name: _png(draw(document)) for name, draw in drawn.items()}


def _png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    # No date and no version inside: the same study gives the same bytes.
    figure.savefig(stream, format="png", dpi=_DOTS_PER_INCH, metadata={"Software": None})
    return stream.getvalue()


def history(document: StudyDocument) -> Figure:
    """The first value of each finished trial, and the best one so far."""
    from matplotlib.ticker import MaxNLocator  # slow to load

    figure = figure_of(7, 4)
    axes = figure.subplots()
    trials = document.finished
    numbers, values = [t.number for t in trials], [t.values[0] for t in trials]
    axes.plot(numbers, values, "o", markersize=4, label="trial")
    axes.step(numbers, list(_best_so_far(document)), where="post", label="best so far")
    _mark_the_papers(axes, trials, lambda trial: trial.number)
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


def _mark_the_papers(
    axes: Axes, trials: Sequence[StudyTrial], place: Callable[[StudyTrial], float | str]
) -> None:
    papers = [trial for trial in trials if trial.is_papers]
    values = [trial.values[0] for trial in papers]
    axes.plot([place(t) for t in papers], values, "s", color="black", label="paper's")


def slices(document: StudyDocument, columns: int = _COLUMNS) -> Figure:
    """The first value over each parameter, so many beside one another."""
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
    asked = [trial for trial in document.finished if name in trial.chosen]

    def place(trial: StudyTrial) -> float | str:
        value = trial.chosen[name]
        return str(value) if parameter.choices is not None else float(value)

    axes.plot([place(t) for t in asked], [t.values[0] for t in asked], "o", markersize=3)
    _mark_the_papers(axes, asked, place)
    if parameter.log and parameter.low and parameter.high:
        _in_plain_numbers(axes, decades=parameter.high / parameter.low >= _WIDE_RANGE)
    axes.set_title(name, fontsize="small")
    axes.tick_params(labelsize="small")


def _in_plain_numbers(axes: Axes, *, decades: bool) -> None:
    """A log axis with few labels: of short ranges matplotlib's own run into one another."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator  # slow to load

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1,) if decades else (1, 2, 5)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def importances(document: StudyDocument) -> Figure:
    """How much each parameter matters for the first value."""
    rising = sorted(document.importances.items(), key=lambda pair: pair[1])
    figure = figure_of(6, 0.8 + 0.3 * len(rising))
    axes = figure.subplots()
    axes.barh([name for name, _ in rising], [share for _, share in rising])
    axes.set(xlabel=f"share of what matters for {document.goal.names[0]}")
    return figure


def pareto(document: StudyDocument) -> Figure:
    """Accuracy over seconds, memory as colour; who is on the front has a ring around it."""
    figure = figure_of(7, 4.5)
    axes = figure.subplots()
    trials = document.finished
    accuracies, seconds, peaks = zip(*(trial.values for trial in trials), strict=True)
    dots = axes.scatter(seconds, accuracies, c=[peak / formatting.MIB for peak in peaks], s=25)
    figure.colorbar(dots, label="peak RSS, MiB")
    front = [document.trial(number) for number in document.best]
    papers = [trial for trial in trials if trial.is_papers]
    for marked, marker, size, label in ((front, "o", 110, "front"), (papers, "s", 200, "paper's")):
        axes.scatter(
            [t.values[1] for t in marked], [t.values[0] for t in marked], s=size, marker=marker,
            facecolors="none", edgecolors="black", label=label,
        )  # fmt: skip
    axes.set(xlabel="train seconds", ylabel="validation accuracy", xscale="log")
    axes.legend()
    return figure
