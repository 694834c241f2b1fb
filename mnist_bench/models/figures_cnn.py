"""Network of the paper's Figures 1 to 4: three convolutions of 5, 5 and 20 filters."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from mnist_bench.data.idx import CLASSES
from mnist_bench.models.layers import PIXEL_SCALE, dropout, flatten, max_pool
from mnist_bench.models.paper_cnn import initial_variables

_KERNEL_SIZE = 5
FILTERS = (5, 5, 20)
"""Filters of the three convolutions, as shown in Figures 2, 3 and 4."""
_POOLED_PIXELS = 7 * 7


class SmallCnn:
    """Convolution, pool, convolution, pool, convolution with dropout, and ten outputs.

    The author's program builds this network too, but never trains it. In training, a share of
    `dropout_rate` of the last convolution's outputs is dropped.
    """

    def __init__(self, seed: int, dropout_rate: float) -> None:
        self._seed = seed
        self._dropout_rate = dropout_rate
        side, depths = _KERNEL_SIZE, (1, *FILTERS)
        shapes: list[tuple[int, ...]] = [
            (side, side, before, after) for before, after in zip(depths, FILTERS, strict=False)
        ]
        shapes.append((_POOLED_PIXELS * FILTERS[-1], CLASSES))
        self._weights, self._biases = initial_variables(shapes, seed)

    @property
    def variables(self) -> list[tf.Variable]:
        """The trained variables."""
        return [*self._weights, *self._biases]

    def average(self, updates: tf.Tensor) -> None:
        """Do nothing: scoring uses the current weights."""

    def maps(self, pixels: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Feature maps of each convolution, after ReLU and before pooling, for uint8 (n, 28, 28).

        Returns:
            float32 (n, 28, 28, 5), (n, 14, 14, 5) and (n, 7, 7, 20).
        """
        x = (tf.cast(pixels, tf.float32) * PIXEL_SCALE)[..., tf.newaxis]  # (n, 28, 28, 1)
        first = self._convolved(x, 0)
        second = self._convolved(max_pool(first), 1)
        return first, second, self._convolved(max_pool(second), 2)

    def logits(self, pixels: tf.Tensor, *, dropout_step: tf.Tensor | None = None) -> tf.Tensor:
        """As of `LayeredNetwork`."""
        x = flatten(self.maps(pixels)[-1])
        x = dropout(x, self._dropout_rate, self._seed, dropout_step)
        return tf.nn.bias_add(tf.linalg.matmul(x, self._weights[-1]), self._biases[-1])

    def weights(self) -> dict[str, npt.NDArray[np.float32]]:
        """The weights used for scoring, named by their index."""
        return {f"{i}": variable.numpy() for i, variable in enumerate(self.variables)}

    def _convolved(self, x: tf.Tensor, layer: int) -> tf.Tensor:
        x = tf.nn.conv2d(x, self._weights[layer], strides=1, padding="SAME")
        return tf.nn.relu(tf.nn.bias_add(x, self._biases[layer]))
