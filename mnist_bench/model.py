"""The paper's network as plain TensorFlow variables and operations."""

from __future__ import annotations

import math
from collections.abc import Callable
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
        weights: (height, width, channels in, channels out), or (inputs, outputs) when dense.
        bias: (outputs,).
    """

    weights: tf.Variable
    bias: tf.Variable

    @property
    def parameter_count(self) -> int:
        """Weights and biases."""
        return sum(math.prod(map(int, v.shape)) for v in (self.weights, self.bias))


class PaperCnn:
    """Two convolutions with pooling, a dense layer with dropout, and ten outputs.

    Weights are drawn from a normal distribution of stddev 0.1 cut at two deviations, biases are
    0.1, as in the author's program. The draw depends on the seed alone.

    Args:
        seed: Seeds the weights and the dropout.
        dropout_rate: Share of the dense layer's outputs dropped in training.
        precision: Of the arithmetic between pixels and logits. The weights are float32 in either.
    """

    def __init__(self, seed: int, dropout_rate: float, precision: Precision = "float32") -> None:
        self._arithmetic = tf.as_dtype(precision)
        self._seed = seed
        self._dropout_rate = dropout_rate
        shapes = ((5, 5, 1, 32), (5, 5, 32, 64), (7 * 7 * 64, 1024), (1024, 10))
        self.conv1, self.conv2, self.dense, self.output = (
            _layer(shape, (seed, index)) for index, shape in enumerate(shapes)
        )

    @property
    def layers(self) -> tuple[Layer, ...]:
        """All layers with parameters, from the input on."""
        return (self.conv1, self.conv2, self.dense, self.output)

    @property
    def variables(self) -> list[tf.Variable]:
        """All parameters, layer by layer, weights before bias."""
        return [variable for layer in self.layers for variable in (layer.weights, layer.bias)]

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
        x = tf.cast(pixels, tf.float32) * PIXEL_SCALE  # (n, 28, 28)
        x = tf.cast(x[..., tf.newaxis], self._arithmetic)  # (n, 28, 28, 1)
        x = _convolved_and_pooled(x, self.conv1)  # (n, 14, 14, 32)
        x = _convolved_and_pooled(x, self.conv2)  # (n, 7, 7, 64)
        x = tf.reshape(x, (-1, 7 * 7 * 64))  # (n, 3136)
        x = tf.nn.relu(_affine(x, self.dense))  # (n, 1024)
        if dropout_step is not None and self._dropout_rate > 0:
            x = self._dropped(x, dropout_step)  # (n, 1024)
        return tf.cast(_affine(x, self.output), tf.float32)  # (n, 10)

    def _dropped(self, x: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        # Counter-based random numbers: a step drops the same whatever came before it, so a short
        # training is an exact prefix of a longer one.
        seed = tf.stack([tf.constant(self._seed, tf.int32), step])
        return tf.nn.experimental.stateless_dropout(
            x, self._dropout_rate, seed=seed, rng_alg="philox"
        )


def _layer(shape: tuple[int, ...], seed: tuple[int, int]) -> Layer:
    weights = tf.random.stateless_truncated_normal(shape, seed=seed, stddev=_WEIGHT_STDDEV)
    return Layer(tf.Variable(weights), tf.Variable(tf.fill(shape[-1:], _BIAS)))


def _convolved_and_pooled(x: tf.Tensor, layer: Layer) -> tf.Tensor:
    """Convolution, max pool, bias, ReLU: (n, h, w, c) to (n, h/2, w/2, outputs).

    The program adds the bias and applies ReLU before it pools. Both rise with their argument and
    act on each channel alone, so the maximum may be taken first: the same numbers from a quarter
    of the additions.
    """
    x = tf.nn.conv2d(x, tf.cast(layer.weights, x.dtype), strides=1, padding="SAME")
    x = tf.nn.max_pool2d(x, ksize=2, strides=2, padding="SAME")
    return tf.nn.relu(tf.nn.bias_add(x, tf.cast(layer.bias, x.dtype)))


def _affine(x: tf.Tensor, layer: Layer) -> tf.Tensor:
    product = _product(x, tf.cast(layer.weights, x.dtype))
    return tf.nn.bias_add(product, tf.cast(layer.bias, x.dtype))


@tf.custom_gradient  # type: ignore[untyped-decorator]  # TensorFlow comes without types
def _product(
    x: tf.Tensor, weights: tf.Tensor
) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]]:
    """Matrix product (n, inputs) by (inputs, outputs), and its gradients.

    TensorFlow's own gradient for `x` multiplies by the transposed weights in a kernel that took
    two to three times as long as the same product asked for as a batch of one: docs/speed.md.
    """

    def gradients(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        batch_of_one = tf.linalg.matmul(
            upstream[tf.newaxis], weights[tf.newaxis], transpose_b=True
        )  # (1, n, inputs)
        return batch_of_one[0], tf.linalg.matmul(x, upstream, transpose_a=True)

    return tf.linalg.matmul(x, weights), gradients
