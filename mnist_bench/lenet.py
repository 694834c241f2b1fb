"""LeNet-5 of 1998, the convolutional network that the paper's descends from."""

from __future__ import annotations

import math

import tensorflow as tf

from mnist_bench.hyperparameters import Lenet5Hyperparameters
from mnist_bench.limits import Precision
from mnist_bench.network import Layer, LayeredNetwork, biased, dropped, flat, made, product, shares
from mnist_bench.shapes import LayerShape, layer_shapes

_BORDER_PIXELS = 2
"""Of paper around an image: 28 pixels a side become 32."""
_PAPER, _INK = -0.1, 1.175
"""What the lightest and the darkest byte become: about mean 0 and variance 1."""
_AMPLITUDE, _SLOPE = 1.7159, 2 / 3
"""Of the squashing function, which takes 1 to 1 and -1 to -1."""
_WEIGHT_BOUND = 2.4
"""Weights are drawn evenly from this over a unit's inputs, and below it."""


class Lenet5(LayeredNetwork):
    """Two convolutions of 6 and 16 maps with subsampling, dense layers of 120 and 84, ten outputs.

    Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document
    recognition", 1998, section II.B and appendix A: sizes, border, pixels, squashing function
    1.7159 tanh(2x/3) and first weights are theirs. Simpler than there: each of the 16 maps sees
    all 6 (theirs see 3, 4 or 6 of them); subsampling is a plain mean of 2 by 2, without a
    coefficient, a bias and a squashing of its own; the outputs are ten logits under softmax cross-
    entropy, not distances to drawn digits (RBF units); training is the suite's own, Adam by
    default, not their stochastic diagonal Levenberg-Marquardt.

    Args:
        seed: Seeds the weights and the dropout.
        hyperparameters: Dropout and averaging.
        precision: Of the arithmetic between pixels and logits. The weights are float32 in either.
        parts: Into how many parts a training step is cut, by images, each for a thread of its own.
            Sums come out the same but for their rounding.
    """

    def __init__(
        self,
        seed: int,
        hyperparameters: Lenet5Hyperparameters,
        precision: Precision = "float32",
        parts: int = 1,
    ) -> None:
        self._arithmetic = tf.as_dtype(precision)
        self._parts = parts
        self._seed = seed
        self._dropout_rate = hyperparameters.dropout_rate
        shapes = layer_shapes(hyperparameters)
        layers = [made(shape, _drawn(shape, seed, i), 0.0) for i, shape in enumerate(shapes)]
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
        scoring = dropout_step is None
        c1, c3, c5, f6, output = self.scored_layers if scoring else self.layers
        parts = [pixels] if scoring else shares(pixels, self._parts)
        maps = [self._scaled(part) for part in parts]  # (n, 32, 32, 1), in parts
        maps = [_subsampled(_convolved(x, c1)) for x in maps]  # (n, 14, 14, 6)
        maps = [_subsampled(_convolved(x, c3)) for x in maps]  # (n, 5, 5, 16)
        x = tf.concat([flat(x) for x in maps], axis=0)  # (n, 400)
        x = _squashed(biased(product(x, c5), c5))  # (n, 120)
        x = _squashed(biased(product(x, f6), f6))  # (n, 84)
        if dropout_step is not None and self._dropout_rate > 0:
            x = dropped(x, self._dropout_rate, self._seed, dropout_step)
        return tf.cast(biased(product(x, output), output), tf.float32)  # (n, 10)

    def _scaled(self, pixels: tf.Tensor) -> tf.Tensor:
        """Bytes with a border of paper, as theirs are scaled, with a channel: (n, 32, 32, 1)."""
        border = [_BORDER_PIXELS, _BORDER_PIXELS]
        x = tf.cast(tf.pad(pixels, [[0, 0], border, border]), tf.float32)
        x = x * ((_INK - _PAPER) / 255) + _PAPER
        return tf.cast(x[..., tf.newaxis], self._arithmetic)


def _drawn(shape: LayerShape, seed: int, number: int) -> tf.Tensor:
    bound = _WEIGHT_BOUND / math.prod(shape.weights[:-1])
    return tf.random.stateless_uniform(shape.weights, (seed, number), -bound, bound)


def _convolved(x: tf.Tensor, layer: Layer) -> tf.Tensor:
    """Without a border: (n, h, w, c) to (n, h - 4, w - 4, outputs)."""
    weights = tf.cast(layer.weights, x.dtype)
    return _squashed(biased(tf.nn.conv2d(x, weights, strides=1, padding="VALID"), layer))


def _subsampled(x: tf.Tensor) -> tf.Tensor:
    """The mean of each 2 by 2: (n, h, w, c) to (n, h/2, w/2, c)."""
    return tf.nn.avg_pool2d(x, ksize=2, strides=2, padding="VALID")


def _squashed(x: tf.Tensor) -> tf.Tensor:
    return _AMPLITUDE * tf.nn.tanh(_SLOPE * x)
