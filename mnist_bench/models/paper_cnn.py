"""The paper's network and its variants as plain TensorFlow variables and operations."""

from __future__ import annotations

import tensorflow as tf

from mnist_bench.models.batch_norm import normalized
from mnist_bench.models.layers import (
    PIXEL_SCALE,
    Layer,
    LayeredNetwork,
    biased,
    dropped,
    flat,
    made,
    pooled,
    product,
    shares,
)
from mnist_bench.models.parameter_counts import LayerShape
from mnist_bench.scenarios.hyperparameters import PaperCnnHyperparameters

WEIGHT_STDDEV = 0.1
"""Of the normal distribution that weights are drawn from, cut at two deviations."""
BIAS = 0.1
"""What every bias begins with."""


class PaperCnn(LayeredNetwork[PaperCnnHyperparameters]):
    """Two convolutions with pooling, a dense layer with dropout, and ten outputs.

    Weights are drawn from a normal distribution of stddev 0.1 cut at two deviations, biases are
    0.1, as in the author's program. The draw depends on the seed alone.

    Of a training step the convolutions are cut by images, the dense layer by inputs.
    """

    def _first(self, shape: LayerShape, number: int) -> Layer:
        """From the normal distribution; the dense layer in blocks."""
        weights = tf.random.stateless_truncated_normal(
            shape.weights, seed=(self._seed, number), stddev=WEIGHT_STDDEV
        )
        return made(shape, weights, BIAS, self._parts if shape.name == "dense" else 1)

    def logits(self, pixels: tf.Tensor, *, dropout_step: tf.Tensor | None = None) -> tf.Tensor:
        """As any network's; in training the statistics of scoring's normalisation follow."""
        scoring = dropout_step is None
        conv1, conv2, dense, output = self.scored_layers if scoring else self.layers
        parts = [pixels] if scoring else shares(pixels, self._parts)
        xs = [self._scaled(part) for part in parts]  # (n, 28, 28, 1), in parts
        xs = _convolved_and_pooled(xs, conv1, scoring=scoring)  # (n, 14, 14, filters)
        xs = _convolved_and_pooled(xs, conv2, scoring=scoring)  # (n, 7, 7, filters)
        x = tf.concat([flat(x) for x in xs], axis=0)
        x = product(x, dense)  # (n, units)
        if dense.normalization:
            (x,) = normalized([x], dense.normalization, scoring=scoring)
        x = tf.nn.relu(biased(x, dense))
        x = dropped(x, self._dropout_rate, self._seed, dropout_step)  # (n, units)
        x = biased(product(x, output), output)
        return tf.cast(x, tf.float32)  # (n, 10)

    def _scaled(self, pixels: tf.Tensor) -> tf.Tensor:
        """From bytes to the program's [0, 1], with a channel: (n, 28, 28, 1)."""
        x = tf.cast(pixels, tf.float32) * PIXEL_SCALE
        return tf.cast(x[..., tf.newaxis], self._arithmetic)

    def maps(self, pixels: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """What each convolution hands on, after its pool.

        Args:
            pixels: uint8 (n, 28, 28).

        Returns:
            float32 (n, 14, 14, filters) and (n, 7, 7, filters).
        """
        conv1, conv2, *_ = self.scored_layers
        first = _convolved_and_pooled([self._scaled(pixels)], conv1, scoring=True)
        second = _convolved_and_pooled(first, conv2, scoring=True)
        return tuple(tf.cast(x, tf.float32) for x in (*first, *second))


def _convolved_and_pooled(
    parts: list[tf.Tensor], layer: Layer, *, scoring: bool
) -> list[tf.Tensor]:
    """Convolution, max pool, normalisation, bias, ReLU: (n, h, w, c) to (n, h/2, w/2, outputs).

    The program adds the bias and applies ReLU before it pools. Both rise with their argument and
    act on each channel alone, so the maximum may be taken first: the same numbers from a quarter
    of the additions, and of the gradient's sums. In scoring there is no gradient, and TensorFlow
    adds a bias that follows at once inside the convolution, for nothing.
    """
    (weights,) = layer.blocks
    dtype = parts[0].dtype
    weights = tf.cast(weights, dtype)
    parts = [tf.nn.conv2d(x, weights, strides=1, padding="SAME") for x in parts]
    if layer.normalization:
        parts = normalized([pooled(x) for x in parts], layer.normalization, scoring=scoring)
        return [tf.nn.relu(biased(x, layer)) for x in parts]
    if scoring:
        return [tf.nn.relu(pooled(biased(x, layer))) for x in parts]
    return [tf.nn.relu(biased(pooled(x), layer)) for x in parts]
