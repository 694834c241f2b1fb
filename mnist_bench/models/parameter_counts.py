"""How large a network is: the shapes of its layers, its parameters and multiply-adds. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

from mnist_bench.data.idx import CLASSES, SIDE
from mnist_bench.scenarios.hyperparameters import (
    AnyNetworkHyperparameters,
    FullyConnectedHyperparameters,
    Lenet5Hyperparameters,
    PaperCnnHyperparameters,
)

_PIXELS = SIDE * SIDE
_HALF, _QUARTER = (SIDE // 2) ** 2, (SIDE // 4) ** 2
"""Pixels that one pool leaves, and two."""
_LENET_KERNEL_SIZE = 5


@dataclass(frozen=True)
class LayerShape:
    """One layer.

    Attributes:
        name: Of the layer, in kept weights.
        weights: (height, width, channels in, channels out), or (inputs, outputs) when dense.
        positions: Places in one image that the same weights are applied at: of a convolution the
            pixels of what it makes, of a dense layer one.
        is_normalized: Whether its outputs are normalised, with a scale for each.
    """

    name: str
    weights: tuple[int, ...]
    positions: int = 1
    is_normalized: bool = False

    @property
    def parameter_count(self) -> int:
        """Weights, biases and scales."""
        return math.prod(self.weights) + self.weights[-1] * (2 if self.is_normalized else 1)

    @property
    def multiply_adds(self) -> int:
        """Of one image, forward: one for each weight at each position; biases add alone."""
        return math.prod(self.weights) * self.positions


def layer_shapes(asked: AnyNetworkHyperparameters) -> tuple[LayerShape, ...]:
    """The layers of a network, from the input on."""
    match asked:
        case PaperCnnHyperparameters():
            return _of_paper_cnn(asked)
        case FullyConnectedHyperparameters():
            return _of_fully_connected(asked)
        case Lenet5Hyperparameters():
            return _of_lenet_5()


def parameter_count(asked: AnyNetworkHyperparameters) -> int:
    """Weights, biases and scales of a network."""
    return sum(shape.parameter_count for shape in layer_shapes(asked))


def multiply_adds(asked: AnyNetworkHyperparameters) -> int:
    """Multiply-adds of a network for one image, forward."""
    return sum(shape.multiply_adds for shape in layer_shapes(asked))


def _of_paper_cnn(asked: PaperCnnHyperparameters) -> tuple[LayerShape, ...]:
    size1, size2 = asked.conv1_kernel_size, asked.conv2_kernel_size
    filters1, filters2 = asked.conv1_filters, asked.conv2_filters
    units, norm = asked.dense_units, asked.batch_normalization
    return (
        LayerShape("conv1", (size1, size1, 1, filters1), _PIXELS, norm),
        LayerShape("conv2", (size2, size2, filters1, filters2), _HALF, norm),
        LayerShape("dense", (_QUARTER * filters2, units), is_normalized=norm),
        LayerShape("output", (units, CLASSES)),
    )


def _of_fully_connected(asked: FullyConnectedHyperparameters) -> tuple[LayerShape, ...]:
    widths = (_PIXELS, *[asked.hidden_units] * asked.hidden_layers)
    hidden = (
        LayerShape(f"hidden{number}", pair) for number, pair in enumerate(pairwise(widths), start=1)
    )
    return (*hidden, LayerShape("output", (asked.hidden_units, CLASSES)))


def _of_lenet_5() -> tuple[LayerShape, ...]:
    """Convolutions without a border: 32 pixels a side, 28, pooled 14, 10, pooled 5, 1."""
    side = _LENET_KERNEL_SIZE
    return (
        LayerShape("c1", (side, side, 1, 6), 28 * 28),
        LayerShape("c3", (side, side, 6, 16), 10 * 10),
        LayerShape("c5", (side * side * 16, 120)),
        LayerShape("f6", (120, 84)),
        LayerShape("output", (84, CLASSES)),
    )
