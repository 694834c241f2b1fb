"""A network of dense layers alone, against which a convolutional one is held."""

from __future__ import annotations

import math

import tensorflow as tf

from mnist_bench.models.layers import (
    PIXEL_SCALE,
    Layer,
    LayeredNetwork,
    biased,
    dropped,
    flat,
    made,
    product,
)
from mnist_bench.models.parameter_counts import LayerShape
from mnist_bench.scenarios.hyperparameters import FullyConnectedHyperparameters


class FullyConnected(LayeredNetwork[FullyConnectedHyperparameters]):
    """Dense layers with ReLU and dropout, and ten outputs.

    Weights are drawn from a normal distribution of variance 2 / inputs, cut at two deviations,
    biases are 0 (He et al., "Delving Deep into Rectifiers", 2015): what the paper's network begins
    with, stddev 0.1 whatever the inputs are, would grow from one wide layer to the next.

    Of a training step each layer is cut by inputs.
    """

    def _first(self, shape: LayerShape, number: int) -> Layer:
        """From the normal distribution, in blocks."""
        weights = tf.random.stateless_truncated_normal(
            shape.weights, seed=(self._seed, number), stddev=math.sqrt(2 / shape.weights[0])
        )
        return made(shape, weights, 0.0, self._parts)

    def logits(self, pixels: tf.Tensor, *, dropout_step: tf.Tensor | None = None) -> tf.Tensor:
        """As any network's: float32 (n, 10)."""
        *hidden, output = self.scored_layers if dropout_step is None else self.layers
        x = flat(pixels)  # (n, 784)
        x = tf.cast(tf.cast(x, tf.float32) * PIXEL_SCALE, self._arithmetic)
        for number, layer in enumerate(hidden):
            x = tf.nn.relu(biased(product(x, layer), layer))  # (n, units)
            x = dropped(x, self._dropout_rate, self._seed, dropout_step, number)
        return tf.cast(biased(product(x, output), output), tf.float32)  # (n, 10)
