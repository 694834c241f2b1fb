"""The paper's network and its variants."""

from __future__ import annotations

import tensorflow as tf

from mnist_bench.models.batch_norm import batch_normalize
from mnist_bench.models.layers import (
    PIXEL_SCALE,
    Layer,
    LayeredNetwork,
    add_bias,
    dropout,
    flatten,
    make_layer,
    matmul,
    max_pool,
    split_rows,
)
from mnist_bench.models.parameter_counts import LayerShape

WEIGHT_STDDEV = 0.1
"""Standard deviation of initial weights: normal, truncated at two standard deviations."""
BIAS = 0.1
"""Initial value of every bias."""


def initial_variables(
    shapes: list[tuple[int, ...]], seed: int
) -> tuple[list[tf.Variable], list[tf.Variable]]:
    """Weights and biases of smaller networks, initialized like those of Table I's network."""
    weights = [
        tf.random.stateless_truncated_normal(shape, (seed, layer), stddev=WEIGHT_STDDEV)
        for layer, shape in enumerate(shapes)
    ]
    biases = [tf.fill(shape[-1:], BIAS) for shape in shapes]
    return [tf.Variable(x) for x in weights], [tf.Variable(x) for x in biases]


class PaperCnn(LayeredNetwork):
    """Two convolutions with pooling, a dense layer with dropout, and ten outputs.

    Initial weights are normal with stddev 0.1, truncated at two standard deviations, and biases are
    0.1, as in the author's program. They depend on the seed only.

    In training, the convolutions are sharded by images, the dense layer by inputs.
    """

    def _create_layer(self, shape: LayerShape, number: int) -> Layer:
        """Normal weights; the dense layer's in blocks."""
        weights = tf.random.stateless_truncated_normal(
            shape.weights, seed=(self._seed, number), stddev=WEIGHT_STDDEV
        )
        return make_layer(shape, weights, BIAS, self._shards if shape.name == "dense" else 1)

    def logits(self, pixels: tf.Tensor, *, dropout_step: tf.Tensor | None = None) -> tf.Tensor:
        """Logits, float32 (n, 10); in training, updates the running normalization statistics."""
        scoring = dropout_step is None
        conv1, conv2, dense, output = self.scored_layers if scoring else self.layers
        shards = [pixels] if scoring else split_rows(pixels, self._shards)
        xs = [self._scaled(shard) for shard in shards]  # (n, 28, 28, 1), in shards
        xs = _convolve_and_pool(xs, conv1, scoring=scoring)  # (n, 14, 14, filters)
        xs = _convolve_and_pool(xs, conv2, scoring=scoring)  # (n, 7, 7, filters)
        x = tf.concat([flatten(x) for x in xs], axis=0)
        x = matmul(x, dense)  # (n, units)
        if dense.normalization:
            (x,) = batch_normalize([x], dense.normalization, scoring=scoring)
        x = tf.nn.relu(add_bias(x, dense))
        x = dropout(x, self._dropout_rate, self._seed, dropout_step)  # (n, units)
        x = add_bias(matmul(x, output), output)
        return tf.cast(x, tf.float32)  # (n, 10)

    def _scaled(self, pixels: tf.Tensor) -> tf.Tensor:
        """Scale bytes to [0, 1] and add a channel axis: (n, 28, 28, 1)."""
        x = tf.cast(pixels, tf.float32) * PIXEL_SCALE
        return tf.cast(x[..., tf.newaxis], self._arithmetic)

    def maps(self, pixels: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Feature maps of each convolution after pooling, for uint8 (n, 28, 28).

        Returns:
            float32 (n, 14, 14, filters) and (n, 7, 7, filters).
        """
        conv1, conv2, *_ = self.scored_layers
        first = _convolve_and_pool([self._scaled(pixels)], conv1, scoring=True)
        second = _convolve_and_pool(first, conv2, scoring=True)
        return tuple(tf.cast(x, tf.float32) for x in (*first, *second))


def _convolve_and_pool(shards: list[tf.Tensor], layer: Layer, *, scoring: bool) -> list[tf.Tensor]:
    """Convolution, max pool, normalization, bias, ReLU: (n, h, w, c) to (n, h/2, w/2, outputs).

    The author's program adds the bias and applies ReLU before pooling. Both are monotonic and act
    on each channel separately, so pooling first gives the same numbers with a quarter of the
    additions, and of the gradient's sums. Scoring has no gradient, and there TensorFlow fuses a
    bias that directly follows the convolution at no cost.
    """
    (weights,) = layer.blocks
    dtype = shards[0].dtype
    weights = tf.cast(weights, dtype)
    shards = [tf.nn.conv2d(x, weights, strides=1, padding="SAME") for x in shards]
    if layer.normalization:
        shards = batch_normalize(
            [max_pool(x) for x in shards], layer.normalization, scoring=scoring
        )
        return [tf.nn.relu(add_bias(x, layer)) for x in shards]
    if scoring:
        return [tf.nn.relu(max_pool(add_bias(x, layer))) for x in shards]
    return [tf.nn.relu(add_bias(max_pool(x), layer)) for x in shards]
