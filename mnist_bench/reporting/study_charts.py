"""Charts of a study: history, slices, importances, Pareto front."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from mnist_bench.core import formatting
from mnist_bench.reporting import study
from mnist_bench.reporting.svg import Chart, Plot, figure_of, plot_points, set_style, to_chart
from mnist_bench.tuning.document import StudyDocument
from mnist_bench.tuning.space import Parameter, Value
from mnist_bench.tuning.trial import StudyTrial

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DPI = 100
_WIDE_RANGE = 100
"""From this ratio of limits on, a log axis is labeled at powers of ten only."""
_MOST_DESCRIBED = 10
"""Number of best trials whose values the chart's description covers."""


def charts_of_study(document: StudyDocument, prefix: str) -> tuple[Chart, ...]:
    """Charts for the report page; more than two slices per row would be too small on a phone."""
    return tuple(to_chart(plot, prefix) for plot in _plots(document, slices_per_row=2))


def pictures_of(document: StudyDocument) -> dict[str, bytes]:
    """PNG files of a study's charts, by name."""
    return {plot.name: _png(plot.figure) for plot in _plots(document, slices_per_row=4)}


def _png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    set_style(figure)
    # Without date and version the same study gives the same bytes.
    figure.savefig(stream, format="png", dpi=_DPI, metadata={"Software": None})
    return stream.getvalue()


def _plots(document: StudyDocument, slices_per_row: int) -> Iterator[Plot]:
    if document.finished:
        yield Plot(
            "history",
            "The search, trial by trial",
            f"{_history_in_words(document)} {study.counts(document)}",
            history(document),
        )
        yield Plot(
            "slices", "What was tried", _slices_in_words(document), slices(document, slices_per_row)
        )
    if document.importances:
        falling = sorted(document.importances.items(), key=lambda pair: -pair[1])
        shares = ", ".join(f"{name} {share:.0%}" for name, share in falling)
        yield Plot(
            "importances",
            "What mattered",
            f"Share of each parameter in what matters: {shares}.",
            importances(document),
        )
    if document.finished and len(document.goal.directions) > 1:
        yield Plot("pareto", "The trade-off", _front_in_words(document), pareto(document))


def _history_in_words(document: StudyDocument) -> str:
    """Values of the first and the best trial, in words."""
    shown = [document.finished[0], *_best_trials(document)[:1]]
    in_words = [f"{document.goal.texts(t.values)[0]} in trial {t.number}" for t in shown]
    name = document.goal.names[0]
    return f"The {name} of each finished trial: {', at best '.join(in_words)}."


def _best_trials(document: StudyDocument) -> list[StudyTrial]:
    """Feasible trials, by their first value."""
    return [trial for trial in document.ranked if trial.is_feasible]


def _slices_in_words(document: StudyDocument) -> str:
    """Parameter ranges of the best trials, in words."""
    best = _best_trials(document)[:_MOST_DESCRIBED]
    in_words = [
        f"{name} {_range(parameter, values)}"
        for name, parameter in document.space.parameters.items()
        if (values := [trial.chosen[name] for trial in best if name in trial.chosen])
    ]
    ranges = f" The best {len(best)} trials have: {', '.join(in_words)}." if in_words else ""
    return f"The {document.goal.names[0]} over each parameter.{ranges}"


def _range(parameter: Parameter, values: Sequence[Value]) -> str:
    if parameter.choices is not None:
        counts = Counter(map(str, values)).most_common()
        return " or ".join(f"{value} ({count} of {len(values)})" for value, count in counts)
    numbers = [float(value) for value in values]
    return f"{min(numbers):.4g} to {max(numbers):.4g}"


def _front_in_words(document: StudyDocument) -> str:
    """Trials on the Pareto front, in words."""
    front = [document.trial(number) for number in document.best]
    in_words = "; ".join(f"trial {t.number}, {document.goal.in_words(t.values)}" for t in front)
    names = ", ".join(document.goal.names)
    return f"{names[:1].upper()}{names[1:]} of each trial. On the front: {in_words or 'none'}."


def history(document: StudyDocument) -> Figure:
    """First value of each finished trial, and the best so far."""
    from matplotlib.ticker import MaxNLocator  # slow to load

    figure = figure_of(7, 4)
    axes = figure.subplots()
    trials = document.finished
    _plot_trials(axes, document, trials, lambda trial: trial.number)
    axes.step(
        [trial.number for trial in trials], list(_best_so_far(document)),
        where="post", label="best so far",
    )  # fmt: skip
    _mark_paper_trials(axes, document, trials, lambda trial: trial.number)
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


def _plot_trials(
    axes: Axes,
    document: StudyDocument,
    trials: Sequence[StudyTrial],
    x_of: Callable[[StudyTrial], float | str],
    style: str = "o",
    **options: object,
) -> None:
    """First value of trials over something, as points that tell their trial."""
    options = {"markersize": 4, "label": "trial"} | options
    values = [trial.values[0] for trial in trials]
    tips = [_tip(document, trial) for trial in trials]
    plot_points(axes, [x_of(trial) for trial in trials], values, tips, style, **options)


def _mark_paper_trials(
    axes: Axes,
    document: StudyDocument,
    trials: Sequence[StudyTrial],
    x_of: Callable[[StudyTrial], float | str],
) -> None:
    papers = [trial for trial in trials if trial.is_papers]
    _plot_trials(axes, document, papers, x_of, "s", color="black", label="paper's", markersize=6)


def _tip(document: StudyDocument, trial: StudyTrial) -> str:
    chosen = ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in trial.chosen.items()
    )
    return f"Trial {trial.number}: {document.goal.in_words(trial.values)}; {chosen}"


def slices(document: StudyDocument, columns: int) -> Figure:
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

    _plot_trials(axes, document, trials, x_of, markersize=3)
    _mark_paper_trials(axes, document, trials, x_of)
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
    # Only a line's points can be told apart in an SVG; these are invisible.
    _plot_trials(axes, document, trials, lambda trial: trial.values[1], alpha=0, label=None)
    axes.set(xlabel="train seconds", ylabel="validation accuracy", xscale="log")
    axes.legend()
    return figure
