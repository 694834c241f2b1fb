"""Network of the paper's Figures 1 to 4: three convolutions of 5, 5 and 20 filters."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from mnist_bench.data.idx import CLASSES
from mnist_bench.models.layers import PIXEL_SCALE, dropout, flatten, max_pool
from mnist_bench.models.paper_cnn import BIAS, WEIGHT_STDDEV

_KERNEL_SIZE = 5
FILTERS = (5, 5, 20)
"""Filters of the three convolutions, as shown in Figures 2, 3 and 4."""
_POOLED_PIXELS = 7 * 7


class SmallCnn:
    """Convolution, pool, convolution, pool, convolution with dropout, and ten outputs.

    Weights and biases are initialized like those of Table I's network. The author's program builds
    this network too, but never trains it.

    Args:
        seed: Seed of weights and dropout.
        dropout_rate: Share of the last convolution's outputs dropped in training.
    """

    def __init__(self, seed: int, dropout_rate: float) -> None:
        self._seed = seed
        self._dropout_rate = dropout_rate
        side, depths = _KERNEL_SIZE, (1, *FILTERS)
        shapes: list[tuple[int, ...]] = [
            (side, side, before, after) for before, after in zip(depths, FILTERS, strict=False)
        ]
        shapes.append((_POOLED_PIXELS * FILTERS[-1], CLASSES))
        self._weights = [
            tf.Variable(tf.random.stateless_truncated_normal(s, (seed, i), stddev=WEIGHT_STDDEV))
            for i, s in enumerate(shapes)
        ]
        self._biases = [tf.Variable(tf.fill(shape[-1:], BIAS)) for shape in shapes]

    @property
    def variables(self) -> list[tf.Variable]:
        """The trained variables."""
        return [*self._weights, *self._biases]

    def average(self, updates: tf.Tensor) -> None:
        """Do nothing: scoring uses the current weights."""

    def maps(self, pixels: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Feature maps of each convolution, after ReLU and before pooling.

        Args:
            pixels: uint8 (n, 28, 28).

        Returns:
            float32 (n, 28, 28, 5), (n, 14, 14, 5) and (n, 7, 7, 20).
        """
        x = (tf.cast(pixels, tf.float32) * PIXEL_SCALE)[..., tf.newaxis]  # (n, 28, 28, 1)
        first = self._convolved(x, 0)
        second = self._convolved(max_pool(first), 1)
        return first, second, self._convolved(max_pool(second), 2)

    def logits(self, pixels: tf.Tensor, *, dropout_step: tf.Tensor | None = None) -> tf.Tensor:
        """Unnormalized log-probabilities of the ten digits.

        Args:
            pixels: uint8 (n, 28, 28).
            dropout_step: Number of the step in training; None when scoring.

        Returns:
            float32 (n, 10).
        """
        last = self.maps(pixels)[-1]
        x = flatten(last)
        x = dropout(x, self._dropout_rate, self._seed, dropout_step)
        return tf.nn.bias_add(tf.linalg.matmul(x, self._weights[-1]), self._biases[-1])

    def weights(self) -> dict[str, npt.NDArray[np.float32]]:
        """The weights used for scoring, named by their index."""
        return {f"{i}": variable.numpy() for i, variable in enumerate(self.variables)}

    def _convolved(self, x: tf.Tensor, layer: int) -> tf.Tensor:
        x = tf.nn.conv2d(x, self._weights[layer], strides=1, padding="SAME")
        return tf.nn.relu(tf.nn.bias_add(x, self._biases[layer]))
