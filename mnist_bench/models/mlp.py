"""Fully connected network, for comparison with convolutional ones."""

from __future__ import annotations

import math

import tensorflow as tf

from mnist_bench.models.layers import (
    PIXEL_SCALE,
    Layer,
    LayeredNetwork,
    add_bias,
    dropout,
    flatten,
    make_layer,
    matmul,
)
from mnist_bench.models.parameter_counts import LayerShape


class FullyConnected(LayeredNetwork):
    """Dense layers with ReLU and dropout, and ten outputs.

    Initial weights are normal with variance 2 / inputs, truncated at two standard deviations,
    biases are 0 (He et al., "Delving Deep into Rectifiers", 2015). With the paper network's
    stddev of 0.1 for any number of inputs, activations would grow from one wide layer to the next.

    In training, each layer is sharded by inputs.
    """

    def _create_layer(self, shape: LayerShape, number: int) -> Layer:
        """Normal weights, in blocks."""
        weights = tf.random.stateless_truncated_normal(
            shape.weights, seed=(self._seed, number), stddev=math.sqrt(2 / shape.weights[0])
        )
        return make_layer(shape, weights, 0.0, self._shards)

    def logits(self, pixels: tf.Tensor, *, dropout_step: tf.Tensor | None = None) -> tf.Tensor:
        """Logits, float32 (n, 10)."""
        *hidden, output = self.scored_layers if dropout_step is None else self.layers
        x = flatten(pixels)  # (n, 784)
        x = tf.cast(tf.cast(x, tf.float32) * PIXEL_SCALE, self._arithmetic)
        for number, layer in enumerate(hidden):
            x = tf.nn.relu(add_bias(matmul(x, layer), layer))  # (n, units)
            x = dropout(x, self._dropout_rate, self._seed, dropout_step, number)
        return tf.cast(add_bias(matmul(x, output), output), tf.float32)  # (n, 10)
