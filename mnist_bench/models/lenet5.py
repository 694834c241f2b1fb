"""LeNet-5 of 1998, the convolutional network that the paper's descends from."""

from __future__ import annotations

import math

import tensorflow as tf

from mnist_bench.models.layers import (
    Layer,
    LayeredNetwork,
    biased,
    dropped,
    flat,
    made,
    product,
    shares,
)
from mnist_bench.models.parameter_counts import LayerShape
from mnist_bench.scenarios.hyperparameters import Lenet5Hyperparameters

_BORDER_PIXELS = 2
"""Of paper around an image: 28 pixels a side become 32."""
_PAPER, _INK = -0.1, 1.175
"""What the lightest and the darkest byte become: about mean 0 and variance 1."""
_AMPLITUDE, _SLOPE = 1.7159, 2 / 3
"""Of the squashing function, which takes 1 to 1 and -1 to -1."""
_WEIGHT_BOUND = 2.4
"""Weights are drawn evenly from this over a unit's inputs, and below it."""


class Lenet5(LayeredNetwork[Lenet5Hyperparameters]):
    """Two convolutions of 6 and 16 maps with subsampling, dense layers of 120 and 84, ten outputs.

    Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document
    recognition", 1998, section II.B and appendix A: sizes, border, pixels, squashing function
    1.7159 tanh(2x/3) and first weights are theirs. Simpler than there: each of the 16 maps sees
    all 6 (theirs see 3, 4 or 6 of them); subsampling is a plain mean of 2 by 2, without a
    coefficient, a bias and a squashing of its own; the outputs are ten logits under softmax cross-
    entropy, not distances to drawn digits (RBF units); training is the suite's own, Adam by
    default, not their stochastic diagonal Levenberg-Marquardt.

    Of a training step the convolutions are cut by images.
    """

    def _first(self, shape: LayerShape, number: int) -> Layer:
        """Evenly, the closer to 0 the more inputs a unit has."""
        bound = _WEIGHT_BOUND / math.prod(shape.weights[:-1])
        seed = (self._seed, number)
        weights = tf.random.stateless_uniform(shape.weights, seed, -bound, bound)
        return made(shape, weights, 0.0)

    def logits(self, pixels: tf.Tensor, *, dropout_step: tf.Tensor | None = None) -> tf.Tensor:
        """As any network's: float32 (n, 10)."""
        scoring = dropout_step is None
        c1, c3, c5, f6, output = self.scored_layers if scoring else self.layers
        parts = [pixels] if scoring else shares(pixels, self._parts)
        maps = [self._scaled(part) for part in parts]  # (n, 32, 32, 1), in parts
        maps = [_subsampled(_convolved(x, c1)) for x in maps]  # (n, 14, 14, 6)
        maps = [_subsampled(_convolved(x, c3)) for x in maps]  # (n, 5, 5, 16)
        x = tf.concat([flat(x) for x in maps], axis=0)  # (n, 400)
        x = _squashed(biased(product(x, c5), c5))  # (n, 120)
        x = _squashed(biased(product(x, f6), f6))  # (n, 84)
        x = dropped(x, self._dropout_rate, self._seed, dropout_step)
        return tf.cast(biased(product(x, output), output), tf.float32)  # (n, 10)

    def _scaled(self, pixels: tf.Tensor) -> tf.Tensor:
        """Bytes with a border of paper, as theirs are scaled, with a channel: (n, 32, 32, 1)."""
        border = [_BORDER_PIXELS, _BORDER_PIXELS]
        x = tf.cast(tf.pad(pixels, [[0, 0], border, border]), tf.float32)
        x = x * ((_INK - _PAPER) / 255) + _PAPER
        return tf.cast(x[..., tf.newaxis], self._arithmetic)


def _convolved(x: tf.Tensor, layer: Layer) -> tf.Tensor:
    """Without a border: (n, h, w, c) to (n, h - 4, w - 4, outputs)."""
    weights = tf.cast(layer.weights, x.dtype)
    return _squashed(biased(tf.nn.conv2d(x, weights, strides=1, padding="VALID"), layer))


def _subsampled(x: tf.Tensor) -> tf.Tensor:
    """The mean of each 2 by 2: (n, h, w, c) to (n, h/2, w/2, c)."""
    return tf.nn.avg_pool2d(x, ksize=2, strides=2, padding="VALID")


def _squashed(x: tf.Tensor) -> tf.Tensor:
    return _AMPLITUDE * tf.nn.tanh(_SLOPE * x)
