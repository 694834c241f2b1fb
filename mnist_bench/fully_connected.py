"""A network of dense layers alone, against which a convolutional one is held."""

from __future__ import annotations

import math

import tensorflow as tf

from mnist_bench.hyperparameters import FullyConnectedHyperparameters
from mnist_bench.limits import Precision
from mnist_bench.network import PIXEL_SCALE, LayeredNetwork, biased, dropped, made, product
from mnist_bench.shapes import layer_shapes


class FullyConnected(LayeredNetwork):
    """Dense layers with ReLU and dropout, and ten outputs.

    Weights are drawn from a normal distribution of variance 2 / inputs, cut at two deviations,
    biases are 0 (He et al., "Delving Deep into Rectifiers", 2015): what the paper's network begins
    with, stddev 0.1 whatever the inputs are, would grow from one wide layer to the next.

    Args:
        seed: Seeds the weights and the dropout.
        hyperparameters: Sizes, dropout and averaging.
        precision: Of the arithmetic between pixels and logits. The weights are float32 in either.
        parts: Into how many parts each layer's work is cut, by inputs, each for a thread of its
            own. Sums come out the same but for their rounding.
    """

    def __init__(
        self,
        seed: int,
        hyperparameters: FullyConnectedHyperparameters,
        precision: Precision = "float32",
        parts: int = 1,
    ) -> None:
        self._arithmetic = tf.as_dtype(precision)
        self._seed = seed
        self._dropout_rate = hyperparameters.dropout_rate
        shapes = layer_shapes(hyperparameters)
        layers = [
            made(
                shape,
                tf.random.stateless_truncated_normal(
                    shape.weights, seed=(seed, number), stddev=math.sqrt(2 / shape.weights[0])
                ),
                0.0,
                parts,
            )
            for number, shape in enumerate(shapes)
        ]
        super().__init__(shapes, layers, hyperparameters.average_decay)

    def logits(self, pixels: tf.Tensor, *, dropout_step: tf.Tensor | None = None) -> tf.Tensor:
        """Unnormalised log-probabilities of the ten digits.

        Args:
            pixels: uint8 (n, 28, 28).
            dropout_step: In training, the number of the step: with the seed it settles what is
                dropped. None when scoring.

        Returns:
            float32 (n, 10).
        """
        *hidden, output = self.scored_layers if dropout_step is None else self.layers
        x = tf.reshape(pixels, (-1, math.prod(pixels.shape[1:])))  # (n, 784)
        x = tf.cast(tf.cast(x, tf.float32) * PIXEL_SCALE, self._arithmetic)
        for number, layer in enumerate(hidden):
            x = tf.nn.relu(biased(product(x, layer), layer))  # (n, units)
            if dropout_step is not None and self._dropout_rate > 0:
                x = dropped(x, self._dropout_rate, self._seed, dropout_step, number)
        return tf.cast(biased(product(x, output), output), tf.float32)  # (n, 10)
