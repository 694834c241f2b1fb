"""Layer shapes, parameter counts and multiply-adds of networks."""

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
"""Pixels after one pool, and after two."""
_LENET_KERNEL_SIZE = 5


@dataclass(frozen=True)
class LayerShape:
    """Shape of one layer.

    Attributes:
        name: As in saved weights.
        weights: (height, width, channels in, channels out), or (inputs, outputs) when dense.
        positions: Positions in an image where the weights are applied: the output pixels of a
            convolution, 1 for a dense layer.
        is_normalized: Whether its outputs are batch-normalized, with a scale for each.
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
        """Multiply-adds of one image, forward: one per weight and position; biases do not count."""
        return math.prod(self.weights) * self.positions


def layer_shapes(hyperparameters: AnyNetworkHyperparameters) -> tuple[LayerShape, ...]:
    """The layers of a network, from the input on."""
    match hyperparameters:
        case PaperCnnHyperparameters():
            size1, size2 = hyperparameters.conv1_kernel_size, hyperparameters.conv2_kernel_size
            filters1, filters2 = hyperparameters.conv1_filters, hyperparameters.conv2_filters
            units, norm = hyperparameters.dense_units, hyperparameters.batch_normalization
            return (
                LayerShape("conv1", (size1, size1, 1, filters1), _PIXELS, norm),
                LayerShape("conv2", (size2, size2, filters1, filters2), _HALF, norm),
                LayerShape("dense", (_QUARTER * filters2, units), is_normalized=norm),
                LayerShape("output", (units, CLASSES)),
            )
        case FullyConnectedHyperparameters():
            units = hyperparameters.hidden_units
            widths = (_PIXELS, *[units] * hyperparameters.hidden_layers)
            hidden = enumerate(pairwise(widths), start=1)
            return (
                *(LayerShape(f"hidden{number}", widths) for number, widths in hidden),
                LayerShape("output", (units, CLASSES)),
            )
        case Lenet5Hyperparameters():
            # Without padding: 32 pixels per side, 28, pooled 14, 10, pooled 5, 1.
            side = _LENET_KERNEL_SIZE
            return (
                LayerShape("c1", (side, side, 1, 6), 28 * 28),
                LayerShape("c3", (side, side, 6, 16), 10 * 10),
                LayerShape("c5", (side * side * 16, 120)),
                LayerShape("f6", (120, 84)),
                LayerShape("output", (84, CLASSES)),
            )


def parameter_count(hyperparameters: AnyNetworkHyperparameters) -> int:
    """Weights, biases and scales of a network."""
    return sum(shape.parameter_count for shape in layer_shapes(hyperparameters))


def multiply_adds(hyperparameters: AnyNetworkHyperparameters) -> int:
    """Multiply-adds of a network for one image, forward."""
    return sum(shape.multiply_adds for shape in layer_shapes(hyperparameters))
