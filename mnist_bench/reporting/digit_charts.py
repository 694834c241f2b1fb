"""Drawings of digits: what they are taken for, which are missed, and what layers make of one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from mnist_bench.analysis.confusion import Confusion, Missed
from mnist_bench.core import formatting
from mnist_bench.data.idx import CLASSES
from mnist_bench.reporting.svg import BLUE, WIDTH, Chart, Drawn, charted, figure_of
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
    """What digits are taken for, and the images that are missed most often."""
    drawn = [_confusion(confusion)]
    if confusion.missed:
        drawn.append(_missed(confusion.missed))
    return tuple(charted(each, prefix) for each in drawn)


def charts_of_layers(layers: LayerMaps, prefix: str) -> tuple[Chart, ...]:
    """The paper's Figures 1 to 4 for an image, and a trained network's own maps where there are."""
    return tuple(charted(each, prefix) for each in _layers(layers))


def _confusion(confusion: Confusion) -> Drawn:
    figure = figure_of(WIDTH, 5.2)
    axes = figure.subplots()
    wrong = [
        [0 if label == taken else count for taken, count in enumerate(row)]
        for label, row in enumerate(confusion.counts)
    ]
    most = max(map(max, wrong)) or 1
    for label, row in enumerate(wrong):
        for taken, count in enumerate(row):
            if count:
                shade: dict[str, Any] = {"color": BLUE, "alpha": 0.1 + 0.5 * count / most}
                axes.fill_between((taken - 0.5, taken + 0.5), label - 0.5, label + 0.5, **shade)
            text = f"{confusion.counts[label][taken]:,}" if count or label == taken else ""
            axes.text(taken, label, text, ha="center", va="center", fontsize="x-small")
    edges = (-0.5, CLASSES - 0.5)
    axes.set(xlabel="taken for", ylabel="is", xlim=edges, ylim=edges[::-1])
    axes.set(xticks=range(CLASSES), yticks=range(CLASSES))
    readings = sum(map(sum, confusion.counts))
    worst = max(confusion.digits, key=lambda line: line.taken_for_count)
    most_often = (
        ""
        if worst.taken_for is None
        else f" Most often a {worst.digit} is taken for a {worst.taken_for}: "
        f"{formatting.count(worst.taken_for_count)} times."
    )
    return Drawn(
        name="confusion",
        title="Which digits are taken for which",
        alternative=(
            f"{formatting.count(confusion.errors)} of {formatting.count(readings)} readings of test images "
            f"are wrong, n = {confusion.n}.{most_often}"
        ),
        figure=figure,
    )


def _missed(missed: Sequence[Missed]) -> Drawn:
    rows = math.ceil(len(missed) / _MISSED_COLUMNS)
    figure = figure_of(WIDTH, 1.45 * rows)
    panels = list(figure.subplots(rows, _MISSED_COLUMNS, squeeze=False).flat)
    for axes in panels:
        axes.set_axis_off()
    for axes, each in zip(panels, missed, strict=False):
        _gray(axes, each.pixels)
        axes.set_title(f"{each.label} as {each.taken_for}", fontsize="x-small")
    told = ", ".join(
        f"number {each.image}, a {each.label} taken for a {each.taken_for} by {each.wrong} of "
        f"{each.n}"
        for each in missed
    )
    return Drawn(
        name="missed",
        title="The digits that are missed most often",
        alternative=f"Test images that most trainings read wrongly: {told}.",
        figure=figure,
    )


def _layers(layers: LayerMaps) -> Iterator[Drawn]:
    figure = figure_of(1.6, 1.6)
    axes = figure.subplots()
    axes.set_axis_off()
    _gray(axes, layers.pixels)
    yield Drawn(
        name="figure-1",
        title="Figure 1: the input",
        alternative=f"Test image {layers.image} of {layers.dataset}, a {layers.label}.",
        figure=figure,
    )
    pairs = zip(layers.untrained, layers.trained, strict=True)
    for number, (before, after) in enumerate(pairs, 1):
        yield _figure(number, before, "figure", "untrained, as published")
        trained = f"after {formatting.count(layers.steps)} updates"
        yield _figure(number, after, "trained-figure", trained)
    for number, maps in enumerate(layers.own, 1):
        yield _own(number, maps)


def _figure(number: int, maps: Maps, name: str, state: str) -> Drawn:
    """One of the paper's Figures 2 to 4."""
    figure = figure_of(WIDTH, 0.2 + 1.15 * math.ceil(maps.shape[-1] / _FIGURE_COLUMNS))
    _panels(figure, maps, _FIGURE_COLUMNS)
    return Drawn(
        name=f"{name}-{number + 1}",
        title=f"Figure {number + 1}: hidden layer {number}, {state}",
        alternative=_in_words(maps),
        figure=figure,
    )


def _own(number: int, maps: Maps) -> Drawn:
    filters = maps.shape[-1]
    shown = min(filters, _MOST_MAPS)
    figure = figure_of(WIDTH, 0.2 + 0.95 * math.ceil(shown / _OWN_COLUMNS))
    _panels(figure, maps[..., :shown], _OWN_COLUMNS)
    left_out = f" The first {shown} are drawn." if shown < filters else ""
    return Drawn(
        name=f"own-{number}",
        title=f"Table I's network, convolution {number} after its pool",
        alternative=f"Of the trained network: {_in_words(maps)}{left_out}",
        figure=figure,
    )


def _in_words(maps: Maps) -> str:
    """How many there are, which one is the strongest, and how many show nothing."""
    height, width, filters = maps.shape
    strongest = int(maps.mean(axis=(0, 1)).argmax())
    silent = int((maps.max(axis=(0, 1)) <= 0).sum())
    nothing = f"; {silent} of them show nothing" if silent else ""
    return (
        f"{filters} maps of {height} by {width}; in the mean filter {strongest} is the "
        f"strongest{nothing}."
    )


def _panels(figure: Figure, maps: Maps, columns: int) -> None:
    """A map a panel, named by its filter as in the paper."""
    filters = maps.shape[-1]
    rows = math.ceil(filters / columns)
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in panels:
        axes.set_axis_off()
    for index in range(filters):
        _gray(panels[index], maps[..., index])
        panels[index].set_title(f"filter {index}", fontsize="xx-small")


def _gray(axes: Any, pixels: Any) -> None:
    axes.imshow(pixels, cmap="gray", interpolation="none")
