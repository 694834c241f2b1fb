"""Charts of a study: history, slices, importances, Pareto front."""

from __future__ import annotations

import io
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from mnist_bench.core import formatting
from mnist_bench.reporting import study
from mnist_bench.reporting.svg import Chart, Plot, figure_of, plot_points, set_style, to_chart
from mnist_bench.tuning.document import StudyDocument
from mnist_bench.tuning.space import Parameter, Value, in_words, value_text
from mnist_bench.tuning.trial import StudyTrial

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

_DPI = 100
_WIDE_RANGE = 100
"""From this ratio of limits on, a log axis is labeled at powers of ten only."""
_MOST_DESCRIBED = 10
"""Number of best trials whose values the chart's description covers."""
_LEAST_TO_CUT = 6
"""Finished trials from which on an axis is cut to the better half."""


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
        if len(document.space.parameters) > 1:
            yield Plot(
                "parallel",
                "Hyperparameters of each trial",
                _parallel_in_words(document),
                parallel(document),
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
    cut = "" if _limits(document) is None else " The axis shows the better half of the trials."
    return f"The {name} of each finished trial: {', at best '.join(in_words)}.{cut}"


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


def _limits(document: StudyDocument) -> tuple[float, float] | None:
    """Ends of an axis of first values, lower end first: the better half, and the paper's trials.

    None for few trials: the axis then shows all of them.
    """
    ranked = [trial.values[0] for trial in document.ranked]
    if len(ranked) < _LEAST_TO_CUT:
        return None
    papers = [trial.values[0] for trial in document.finished if trial.is_papers]
    shown = [*ranked[: (len(ranked) + 1) // 2], *papers]
    margin = 0.05 * (max(shown) - min(shown))
    return (min(shown) - margin, max(shown) + margin) if margin else None


def _cut(axes: Axes, document: StudyDocument) -> None:
    """Cut the axis of first values; without it a single bad trial would flatten all others."""
    limits = _limits(document)
    if limits:
        axes.set_ylim(*limits)


def _plot_pruned_trials(
    axes: Axes,
    document: StudyDocument,
    trials: Sequence[StudyTrial],
    x_of: Callable[[StudyTrial], float | str],
    **options: object,
) -> None:
    """Pruned trials by their last accuracy, at the edge of the axis if it is cut or has seconds."""
    low, high = axes.get_ylim()
    is_accuracy = document.goal.objective == "accuracy"
    edge = low if document.goal.directions[0] == "maximize" else high
    last = [[*trial.curve.values()][-1] if trial.curve and is_accuracy else edge
            for trial in trials]  # fmt: skip
    options = {"color": "gray", "alpha": 0.5, "markersize": 4, "label": "pruned"} | options
    tips = [_tip(document, trial) for trial in trials]
    ys = [min(max(value, low), high) for value in last]
    if trials:
        plot_points(axes, [*map(x_of, trials)], ys, tips, "x", clip_on=False, **options)
        axes.set_ylim(low, high)


def _pruned(document: StudyDocument) -> list[StudyTrial]:
    return [trial for trial in document.trials if trial.state == "pruned"]


def history(document: StudyDocument) -> Figure:
    """First value of each finished trial, the best so far, and the pruned trials."""
    from matplotlib.ticker import MaxNLocator  # slow to load

    figure = figure_of(7, 4)
    axes = figure.subplots()
    trials = document.finished
    _plot_trials(axes, document, trials, lambda trial: trial.number)
    axes.step(
        [*document.best_so_far], [*document.best_so_far.values()],
        where="post", label="best so far",
    )  # fmt: skip
    _mark_paper_trials(axes, document, trials, lambda trial: trial.number)
    _cut(axes, document)
    _plot_pruned_trials(axes, document, _pruned(document), lambda trial: trial.number)
    axes.set(xlabel="trial", ylabel=document.goal.names[0])
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend()
    return figure


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
    result = document.goal.in_words(trial.values) if trial.values else trial.state
    return f"Trial {trial.number}: {result}; {in_words(trial.chosen)}"


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
    _cut(grid.flat[0], document)
    for axes, name in zip(grid.flat, names, strict=False):
        pruned = [trial for trial in _pruned(document) if name in trial.chosen]
        _plot_pruned_trials(axes, document, pruned, _x_of(document, name), markersize=3)
    for axes in grid.flat[len(names) :]:
        axes.set_axis_off()
    return figure


def _slice(axes: Axes, document: StudyDocument, name: str) -> None:
    parameter = document.space.parameters[name]
    trials = [trial for trial in document.finished if name in trial.chosen]

    x_of = _x_of(document, name)
    if parameter.choices is not None:
        # Matplotlib would put the categories in the order of the trials.
        order = [*map(str, _ordered(parameter.choices))]
        axes.xaxis.update_units(order)  # type: ignore[no-untyped-call]
    _plot_trials(axes, document, trials, x_of, markersize=3)
    _mark_paper_trials(axes, document, trials, x_of)
    if parameter.log and parameter.low and parameter.high:
        axes.set_xscale("log")
        _set_plain_ticks(axes.xaxis, decades=parameter.high / parameter.low >= _WIDE_RANGE)
    axes.set_title(name, fontsize="small")
    axes.tick_params(labelsize="small")


def _x_of(document: StudyDocument, name: str) -> Callable[[StudyTrial], float | str]:
    """Where a trial is on the axis of a parameter: of categories, by their text."""
    is_category = document.space.parameters[name].choices is not None
    return lambda trial: str(trial.chosen[name]) if is_category else float(trial.chosen[name])


def _ordered(choices: Sequence[Value]) -> list[Value]:
    """Choices on an axis: numbers in ascending order, others as given."""
    are_numbers = all(isinstance(value, int | float) for value in choices)
    return sorted(choices, key=float) if are_numbers else [*choices]


def _set_plain_ticks(axis: Axis, *, decades: bool) -> None:
    """Few and plain labels on a log axis; Matplotlib's are powers, and overlap on short ranges."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator  # slow to load

    axis.set_major_locator(LogLocator(subs=(1,) if decades else (1, 2, 5)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _parallel_in_words(document: StudyDocument) -> str:
    best = _best_trials(document)[:1]
    in_best = f" The best, trial {best[0].number}: {in_words(best[0].chosen)}." if best else ""
    return (
        "A line for each finished trial through its value of each hyperparameter, darker the "
        f"better its {document.goal.names[0]}; pruned trials are gray.{in_best}"
    )


def parallel(document: StudyDocument) -> Figure:
    """A line for each trial through its hyperparameters; its color is the rank of its first value.

    Where a trial has no value of a hyperparameter its line has a gap.
    """
    import matplotlib as mpl  # slow to load

    parameters = document.space.parameters
    rows = range(len(parameters))
    figure = figure_of(7, 0.8 + 0.45 * len(parameters))
    axes = figure.subplots()
    for trial in _pruned(document):
        axes.plot(_places(document, trial), rows, color="gray", alpha=0.3, linewidth=0.7)
    colors = mpl.colormaps["viridis_r"]
    ranked = document.ranked
    for rank in range(len(ranked) - 1, -1, -1):  # the best on top
        color = colors(1 - rank / max(len(ranked) - 1, 1))
        axes.plot(_places(document, ranked[rank]), rows, color=color, marker=".", markersize=4,
                  linewidth=1 if rank else 2)  # fmt: skip
    for row, parameter in enumerate(parameters.values()):
        axes.axhline(row, color="black", linewidth=0.5)
        for value in parameter.extremes:
            axes.annotate(value_text(value), (_place(parameter, value), row), (0, -2),
                          textcoords="offset points", fontsize="x-small", ha="center",
                          va="top")  # fmt: skip
    axes.set_yticks(rows, [*parameters], fontsize="small")
    axes.set(xticks=[], ylim=(len(parameters) - 0.5, -0.3))
    axes.spines[:].set_visible(False)
    scale = mpl.cm.ScalarMappable(mpl.colors.Normalize(0, 1), colors)
    bar = figure.colorbar(scale, ax=axes, ticks=[0, 1], fraction=0.05)
    bar.ax.set_yticklabels(["worst", "best"])
    return figure


def _places(document: StudyDocument, trial: StudyTrial) -> list[float]:
    """Where a trial's line meets the axis of each parameter, from 0 to 1; NaN without a value."""
    return [
        _place(parameter, trial.chosen[name]) if name in trial.chosen else math.nan
        for name, parameter in document.space.parameters.items()
    ]


def _place(parameter: Parameter, value: Value) -> float:
    if parameter.choices is not None:
        ordered = _ordered(parameter.choices)
        return ordered.index(value) / max(len(ordered) - 1, 1)
    scale = math.log if parameter.log else float
    low, high, at = (scale(float(each)) for each in (*parameter.extremes, value))
    return (at - low) / (high - low)


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
    _set_plain_ticks(axes.xaxis, decades=max(seconds) / min(seconds) >= _WIDE_RANGE)
    _cut(axes, document)
    axes.legend()
    return figure
