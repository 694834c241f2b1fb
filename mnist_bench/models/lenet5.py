"""LeNet-5 (1998), the predecessor of the paper's network."""

from __future__ import annotations

import math

import tensorflow as tf

from mnist_bench.models.layers import (
    Layer,
    LayeredNetwork,
    add_bias,
    dropout,
    flatten,
    make_layer,
    matmul,
    split_rows,
)
from mnist_bench.models.parameter_counts import LayerShape

_BORDER_PIXELS = 2
"""Background pixels added around an image: 28 pixels per side become 32."""
_BACKGROUND, _FOREGROUND = -0.1, 1.175
"""Values of the bytes 0 and 255, which give about mean 0 and variance 1."""
_AMPLITUDE, _SLOPE = 1.7159, 2 / 3
"""Constants of the squashing function, which maps 1 to 1 and -1 to -1."""
_WEIGHT_BOUND = 2.4
"""Initial weights are uniform up to plus or minus this divided by a unit's inputs."""


class Lenet5(LayeredNetwork):
    """Two convolutions of 6 and 16 maps with subsampling, dense layers of 120 and 84, ten outputs.

    Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document
    recognition", 1998, section II.B and appendix A: sizes, border, pixels, squashing function
    1.7159 tanh(2x/3) and initial weights are as published. Simplifications: each of the 16 maps is
    connected to all 6 (originally to 3, 4 or 6); subsampling is a plain mean of 2 by 2, without
    coefficient, bias and squashing function; the outputs are ten logits under softmax
    cross-entropy, not distances to digit bitmaps (RBF units); the optimizer is Adam by default,
    not stochastic diagonal Levenberg-Marquardt.

    In training, the convolutions are sharded by images.
    """

    def _create_layer(self, shape: LayerShape, number: int) -> Layer:
        """Uniform weights, with a bound that is inverse to a unit's inputs."""
        bound = _WEIGHT_BOUND / math.prod(shape.weights[:-1])
        seed = (self._seed, number)
        weights = tf.random.stateless_uniform(shape.weights, seed, -bound, bound)
        return make_layer(shape, weights, 0.0)

    def logits(self, pixels: tf.Tensor, *, dropout_step: tf.Tensor | None = None) -> tf.Tensor:
        """Logits, float32 (n, 10)."""
        scoring = dropout_step is None
        c1, c3, c5, f6, output = self.scored_layers if scoring else self.layers
        shards = [pixels] if scoring else split_rows(pixels, self._shards)
        maps = [self._scaled(shard) for shard in shards]  # (n, 32, 32, 1), in shards
        maps = [_subsample(_convolve(x, c1)) for x in maps]  # (n, 14, 14, 6)
        maps = [_subsample(_convolve(x, c3)) for x in maps]  # (n, 5, 5, 16)
        x = tf.concat([flatten(x) for x in maps], axis=0)  # (n, 400)
        x = _squash(add_bias(matmul(x, c5), c5))  # (n, 120)
        x = _squash(add_bias(matmul(x, f6), f6))  # (n, 84)
        x = dropout(x, self._dropout_rate, self._seed, dropout_step)
        return tf.cast(add_bias(matmul(x, output), output), tf.float32)  # (n, 10)

    def _scaled(self, pixels: tf.Tensor) -> tf.Tensor:
        """Pad with background, scale, and add a channel axis: (n, 32, 32, 1)."""
        border = [_BORDER_PIXELS, _BORDER_PIXELS]
        x = tf.cast(tf.pad(pixels, [[0, 0], border, border]), tf.float32)
        x = x * ((_FOREGROUND - _BACKGROUND) / 255) + _BACKGROUND
        return tf.cast(x[..., tf.newaxis], self._arithmetic)


def _convolve(x: tf.Tensor, layer: Layer) -> tf.Tensor:
    """Convolution without padding: (n, h, w, c) to (n, h - 4, w - 4, outputs)."""
    weights = tf.cast(layer.weights, x.dtype)
    return _squash(add_bias(tf.nn.conv2d(x, weights, strides=1, padding="VALID"), layer))


def _subsample(x: tf.Tensor) -> tf.Tensor:
    """Mean of each 2 by 2: (n, h, w, c) to (n, h/2, w/2, c)."""
    return tf.nn.avg_pool2d(x, ksize=2, strides=2, padding="VALID")


def _squash(x: tf.Tensor) -> tf.Tensor:
    return _AMPLITUDE * tf.nn.tanh(_SLOPE * x)
