"""Charts of digits: confusion matrix, misclassified images, and layer maps."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from mnist_bench.analysis.confusion import Confusion, Missed
from mnist_bench.core import formatting
from mnist_bench.data.idx import CLASSES
from mnist_bench.reporting.svg import BLUE, WIDTH, Chart, Plot, figure_of, to_chart
from mnist_bench.results.layer_maps import LayerMaps

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from mnist_bench.results.layer_maps import Maps

_FIGURE_COLUMNS = 6
"""The paper's Figure 4 has rows of six."""
_OWN_COLUMNS = 8
_MISSED_COLUMNS = 6
_MOST_MAPS = 64


def charts_of_confusion(confusion: Confusion, prefix: str) -> tuple[Chart, ...]:
    """Confusion matrix, and the images misclassified most often."""
    plots = [_confusion_plot(confusion)]
    if confusion.missed:
        plots.append(_missed_plot(confusion.missed))
    return tuple(to_chart(plot, prefix) for plot in plots)


def charts_of_layers(layer_maps: LayerMaps, prefix: str) -> tuple[Chart, ...]:
    """The paper's Figures 1 to 4 for an image, and the maps of Table I's network if recorded."""
    return tuple(to_chart(plot, prefix) for plot in _layer_plots(layer_maps))


def _confusion_plot(confusion: Confusion) -> Plot:
    figure = figure_of(WIDTH, 5.2)
    axes = figure.subplots()
    wrong = [
        [0 if label == predicted else count for predicted, count in enumerate(row)]
        for label, row in enumerate(confusion.counts)
    ]
    most_wrong = max(map(max, wrong)) or 1
    for label, row in enumerate(wrong):
        for predicted, count in enumerate(row):
            if count:
                shade: dict[str, Any] = {"color": BLUE, "alpha": 0.1 + 0.5 * count / most_wrong}
                axes.fill_between(
                    (predicted - 0.5, predicted + 0.5), label - 0.5, label + 0.5, **shade
                )
            text = f"{confusion.counts[label][predicted]:,}" if count or label == predicted else ""
            axes.text(predicted, label, text, ha="center", va="center", fontsize="x-small")
    edges = (-0.5, CLASSES - 0.5)
    axes.set(xlabel="taken for", ylabel="is", xlim=edges, ylim=edges[::-1])
    axes.set(xticks=range(CLASSES), yticks=range(CLASSES))
    predictions = sum(map(sum, confusion.counts))
    most_confused = max(confusion.digits, key=lambda line: line.taken_for_count)
    most_frequent = (
        ""
        if most_confused.taken_for is None
        else f" Most often {formatting.digit(most_confused.digit)} is taken for "
        f"{formatting.digit(most_confused.taken_for)}: "
        f"{formatting.count(most_confused.taken_for_count)} times."
    )
    in_words = (
        f"{formatting.count(confusion.errors)} of {formatting.count(predictions)} readings of "
        f"test images are wrong, n = {confusion.n}.{most_frequent}"
    )
    return Plot("confusion", "Which digits are taken for which", in_words, figure)


def _missed_plot(missed: Sequence[Missed]) -> Plot:
    rows = math.ceil(len(missed) / _MISSED_COLUMNS)
    figure = figure_of(WIDTH, 1.45 * rows)
    panels = list(figure.subplots(rows, _MISSED_COLUMNS, squeeze=False).flat)
    for axes in panels:
        axes.set_axis_off()
    for axes, each in zip(panels, missed, strict=False):
        _show_gray(axes, each.pixels)
        axes.set_title(f"{each.label} as {each.taken_for}", fontsize="x-small")
    in_words = ", ".join(
        f"number {each.image}, {formatting.digit(each.label)} taken for "
        f"{formatting.digit(each.taken_for)} by {each.wrong} of {each.n}"
        for each in missed
    )
    return Plot(
        "missed",
        "The hardest digits",
        f"Test images that most trainings misclassify: {in_words}.",
        figure,
    )


def _layer_plots(layer_maps: LayerMaps) -> Iterator[Plot]:
    figure = figure_of(1.6, 1.6)
    axes = figure.subplots()
    axes.set_axis_off()
    _show_gray(axes, layer_maps.pixels)
    yield Plot(
        "figure-1",
        "Figure 1: the input",
        f"Test image {layer_maps.image} of {layer_maps.dataset}, "
        f"{formatting.digit(layer_maps.label)}.",
        figure,
    )
    pairs = zip(layer_maps.untrained, layer_maps.trained, strict=True)
    for number, (untrained_maps, trained_maps) in enumerate(pairs, 1):
        yield _paper_figure(number, untrained_maps, "figure", "untrained, as published")
        trained = f"after {formatting.count(layer_maps.steps)} updates"
        yield _paper_figure(number, trained_maps, "trained-figure", trained)
    for number, maps in enumerate(layer_maps.own, 1):
        yield _own_plot(number, maps)


def _paper_figure(number: int, maps: Maps, name: str, state: str) -> Plot:
    """One of the paper's Figures 2 to 4."""
    figure = figure_of(WIDTH, 0.2 + 1.15 * math.ceil(maps.shape[-1] / _FIGURE_COLUMNS))
    _panels(figure, maps, _FIGURE_COLUMNS)
    return Plot(
        f"{name}-{number + 1}",
        f"Figure {number + 1}: hidden layer {number}, {state}",
        _in_words(maps),
        figure,
    )


def _own_plot(number: int, maps: Maps) -> Plot:
    filters = maps.shape[-1]
    shown = min(filters, _MOST_MAPS)
    figure = figure_of(WIDTH, 0.2 + 0.95 * math.ceil(shown / _OWN_COLUMNS))
    _panels(figure, maps[..., :shown], _OWN_COLUMNS)
    left_out = f" The first {shown} are drawn." if shown < filters else ""
    return Plot(
        f"own-{number}",
        f"Table I's network, convolution {number} after its pool",
        f"Of the trained network: {_in_words(maps)}{left_out}",
        figure,
    )


def _in_words(maps: Maps) -> str:
    """Number and size of the maps, the strongest one, and how many are all zero."""
    height, width, filters = maps.shape
    strongest = int(maps.mean(axis=(0, 1)).argmax())
    silent = int((maps.max(axis=(0, 1)) <= 0).sum())
    nothing = f"; {silent} of them show nothing" if silent else ""
    return (
        f"{filters} maps of {height} by {width}; in the mean filter {strongest} is the "
        f"strongest{nothing}."
    )


def _panels(figure: Figure, maps: Maps, columns: int) -> None:
    """One panel per map, labeled with its filter as in the paper."""
    filters = maps.shape[-1]
    rows = math.ceil(filters / columns)
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in panels:
        axes.set_axis_off()
    for index in range(filters):
        _show_gray(panels[index], maps[..., index])
        panels[index].set_title(f"filter {index}", fontsize="xx-small")


def _show_gray(axes: Any, pixels: Any) -> None:
    axes.imshow(pixels, cmap="gray", interpolation="none")
