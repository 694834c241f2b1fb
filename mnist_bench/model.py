"""The paper's network as plain TensorFlow variables and operations."""

from __future__ import annotations

import math
from dataclasses import dataclass

import tensorflow as tf

from mnist_bench.limits import Precision

PIXEL_SCALE = 1 / 255
"""From bytes to the program's [0, 1]."""
_WEIGHT_STDDEV = 0.1
_BIAS = 0.1


@dataclass(frozen=True)
class Layer:
    """Weights and bias of one layer.

    Attributes:
        blocks: The weights, cut along their first axis: several threads train them side by side.
        bias: (outputs,).
    """

    blocks: tuple[tf.Variable, ...]
    bias: tf.Variable

    @property
    def weights(self) -> tf.Tensor:
        """(height, width, channels in, channels out), or (inputs, outputs) when dense."""
        return tf.concat(self.blocks, axis=0)

    @property
    def variables(self) -> tuple[tf.Variable, ...]:
        """Weights before bias."""
        return (*self.blocks, self.bias)

    @property
    def parameter_count(self) -> int:
        """Weights and biases."""
        return sum(math.prod(map(int, v.shape)) for v in self.variables)


class PaperCnn:
    """Two convolutions with pooling, a dense layer with dropout, and ten outputs.

    Weights are drawn from a normal distribution of stddev 0.1 cut at two deviations, biases are
    0.1, as in the author's program. The draw depends on the seed alone.

    Args:
        seed: Seeds the weights and the dropout.
        dropout_rate: Share of the dense layer's outputs dropped in training.
        precision: Of the arithmetic between pixels and logits. The weights are float32 in either.
        parts: Into how many parts the work of a training step is cut, each for a thread of its
            own: the convolutions by images, the dense layer by inputs. Sums come out the same
            but for their rounding.
    """

    def __init__(
        self, seed: int, dropout_rate: float, precision: Precision = "float32", parts: int = 1
    ) -> None:
        self._arithmetic = tf.as_dtype(precision)
        self._parts = parts
        self._seed = seed
        self._dropout_rate = dropout_rate
        self.conv1 = _layer((5, 5, 1, 32), (seed, 0))
        self.conv2 = _layer((5, 5, 32, 64), (seed, 1))
        self.dense = _layer((7 * 7 * 64, 1024), (seed, 2), parts)
        self.output = _layer((1024, 10), (seed, 3))

    @property
    def layers(self) -> tuple[Layer, ...]:
        """All layers with parameters, from the input on."""
        return (self.conv1, self.conv2, self.dense, self.output)

    @property
    def variables(self) -> list[tf.Variable]:
        """All parameters, layer by layer, weights before bias."""
        return [variable for layer in self.layers for variable in layer.variables]

    @property
    def parameter_count(self) -> int:
        """Weights and biases of the whole network."""
        return sum(layer.parameter_count for layer in self.layers)

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
        parts = [pixels] if scoring else _shares(pixels, self._parts)
        features = (self._features(part, scoring=scoring) for part in parts)
        x = tf.nn.relu(_affine(tf.concat(list(features), axis=0), self.dense))  # (n, 1024)
        if dropout_step is not None and self._dropout_rate > 0:
            x = self._dropped(x, dropout_step)  # (n, 1024)
        return tf.cast(_affine(x, self.output), tf.float32)  # (n, 10)

    def _features(self, pixels: tf.Tensor, *, scoring: bool) -> tf.Tensor:
        """What the convolutions make of images: (n, 3136)."""
        x = tf.cast(pixels, tf.float32) * PIXEL_SCALE  # (n, 28, 28)
        x = tf.cast(x[..., tf.newaxis], self._arithmetic)  # (n, 28, 28, 1)
        x = _convolved_and_pooled(x, self.conv1, scoring=scoring)  # (n, 14, 14, 32)
        x = _convolved_and_pooled(x, self.conv2, scoring=scoring)  # (n, 7, 7, 64)
        return tf.reshape(x, (-1, 7 * 7 * 64))  # (n, 3136)

    def _dropped(self, x: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        # Counter-based random numbers: a step drops the same whatever came before it, so a short
        # training is an exact prefix of a longer one.
        seed = tf.stack([tf.constant(self._seed, tf.int32), step])
        return tf.nn.experimental.stateless_dropout(
            x, self._dropout_rate, seed=seed, rng_alg="philox"
        )


def _layer(shape: tuple[int, ...], seed: tuple[int, int], parts: int = 1) -> Layer:
    weights = tf.random.stateless_truncated_normal(shape, seed=seed, stddev=_WEIGHT_STDDEV)
    blocks = tuple(tf.Variable(share) for share in _shares(weights, parts))
    return Layer(blocks, tf.Variable(tf.fill(shape[-1:], _BIAS)))


def _shares(x: tf.Tensor, parts: int) -> list[tf.Tensor]:
    """Cut along the first axis into as many pieces, alike but for one row."""
    length = int(x.shape[0])
    return tf.split(x, [(length + part) // parts for part in range(parts)])  # type: ignore[no-any-return]


def _convolved_and_pooled(x: tf.Tensor, layer: Layer, *, scoring: bool) -> tf.Tensor:
    """Convolution, max pool, bias, ReLU: (n, h, w, c) to (n, h/2, w/2, outputs).

    The program adds the bias and applies ReLU before it pools. Both rise with their argument and
    act on each channel alone, so the maximum may be taken first: the same numbers from a quarter
    of the additions, and of the gradient's sums. In scoring there is no gradient, and TensorFlow
    adds a bias that follows at once inside the convolution, for nothing.
    """
    bias = tf.cast(layer.bias, x.dtype)
    (weights,) = layer.blocks
    x = tf.nn.conv2d(x, tf.cast(weights, x.dtype), strides=1, padding="SAME")
    if scoring:
        return tf.nn.relu(_pooled(tf.nn.bias_add(x, bias)))
    return tf.nn.relu(tf.nn.bias_add(_pooled(x), bias))


def _pooled(x: tf.Tensor) -> tf.Tensor:
    return tf.nn.max_pool2d(x, ksize=2, strides=2, padding="SAME")


def _affine(x: tf.Tensor, layer: Layer) -> tf.Tensor:
    shares = tf.split(x, [block.shape[0] for block in layer.blocks], axis=1)
    products = [
        tf.linalg.matmul(share, tf.cast(block, x.dtype))
        for share, block in zip(shares, layer.blocks, strict=True)
    ]
    return tf.nn.bias_add(tf.add_n(products), tf.cast(layer.bias, x.dtype))
