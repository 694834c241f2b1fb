"""The loss of a small convolutional network as a function of its weights, with its gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from mnist_bench.data.dataset import Dataset
from mnist_bench.data.idx import CLASSES
from mnist_bench.models.layers import PIXEL_SCALE, ImageVariables, flatten
from mnist_bench.models.paper_cnn import initial_variables

Weights: TypeAlias = npt.NDArray[np.float32]

FILTERS = (6, 12)
"""Filters of the two convolutions: few, so that a pass over all images takes seconds."""
LOSS_IMAGES = 10_000
"""The first training images, on which every reported loss is measured."""
_KERNEL_SIZE = 5
_PIXELS_LEFT = 7 * 7
"""Pixels that two convolutions of stride 2 leave of 28 by 28."""
_PIECE_IMAGES = 2_500
"""Images per piece of a pass over all images: more need memory, fewer cost time."""


class LossSurface:
    """Mean cross-entropy of two convolutions of stride 2 and ten outputs, over a dataset.

    Args:
        dataset: The splits; the whole training split is trained on.
        seed: Seed of the weights, which are initialized like those of Table I's network.
        shards: Pieces of a pass that are computed concurrently.
        filters: Of the two convolutions.
    """

    def __init__(
        self, dataset: Dataset, seed: int, shards: int = 1, filters: tuple[int, int] = FILTERS
    ) -> None:
        first, second = filters
        shapes: list[tuple[int, ...]] = [
            (_KERNEL_SIZE, _KERNEL_SIZE, 1, first),
            (_KERNEL_SIZE, _KERNEL_SIZE, first, second),
            (_PIXELS_LEFT * second, CLASSES),
        ]
        weights, biases = initial_variables(shapes, seed)
        self._variables = weights + biases
        self._train = ImageVariables(dataset.train)
        self._validation = ImageVariables(dataset.validation)
        self._shards = shards
        self.images = self._train.count
        self.loss_images = min(LOSS_IMAGES, self.images)
        self.filters = filters
        self._sums_graph = tf.function(self._loss_and_gradient_sums, autograph=False)
        self._score_graph = tf.function(self._loss_sum_and_correct, autograph=False)
        self._update_graph = tf.function(self._loop, autograph=False).get_concrete_function(
            tf.TensorSpec((None, None), tf.int32), tf.TensorSpec((), tf.float32)
        )
        # TensorFlow builds everything now, before the first timed call.
        self.score()
        self.loss_and_gradient()
        self.apply_updates(np.zeros((0, 1), np.int32), 0.0)

    def weights(self) -> Weights:
        """All weights and biases, float32 (parameters,)."""
        return np.concatenate([variable.numpy().ravel() for variable in self._variables])

    def set_weights(self, weights: npt.ArrayLike) -> None:
        """Replace all weights and biases, (parameters,)."""
        flat_weights = np.asarray(weights, np.float32)
        ends = np.cumsum([int(tf.size(variable)) for variable in self._variables])
        for variable, values in zip(
            self._variables, np.split(flat_weights, ends[:-1]), strict=True
        ):
            variable.assign(values.reshape(variable.shape))

    def loss_and_gradient(self) -> tuple[float, Weights]:
        """Mean loss over all training images, and its gradient, float32 (parameters,)."""
        means = self._sums_graph().numpy() / np.float32(self.images)
        return float(means[0]), means[1:]

    def apply_updates(self, batches: npt.NDArray[np.int32], learning_rate: float) -> None:
        """Do one gradient descent update per batch of indices, (updates, batch size)."""
        self._update_graph(tf.constant(batches), tf.constant(learning_rate, tf.float32)).numpy()

    def score(self) -> tuple[float, float]:
        """Mean loss over the first training images, and the validation accuracy."""
        loss_sum, correct = self._score_graph()
        return float(loss_sum) / self.loss_images, int(correct) / self._validation.count

    def logits(self, pixels: tf.Tensor) -> tf.Tensor:
        """Unnormalized log-probabilities, float32 (n, 10), for uint8 (n, 28, 28)."""
        kernel1, kernel2, weights, bias1, bias2, bias = self._variables
        x = (tf.cast(pixels, tf.float32) * PIXEL_SCALE)[..., tf.newaxis]  # (n, 28, 28, 1)
        for kernel, kernel_bias in ((kernel1, bias1), (kernel2, bias2)):
            x = tf.nn.conv2d(x, kernel, strides=2, padding="SAME")  # halves each side
            x = tf.nn.relu(tf.nn.bias_add(x, kernel_bias))
        return tf.nn.bias_add(tf.linalg.matmul(flatten(x), weights), bias)

    def _losses(self, pixels: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Cross-entropy of each image, float32 (n,)."""
        return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, self.logits(pixels))

    def _loss_and_gradients(
        self, pixels: tf.Tensor, labels: tf.Tensor, reduce: Callable[[tf.Tensor], tf.Tensor]
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(self._variables)
            loss = reduce(self._losses(pixels, labels))
        return loss, tape.gradient(loss, self._variables)

    def _loss_and_gradient_sums(self) -> tf.Tensor:
        """The loss, then its gradient, summed over all training images, (1 + parameters,)."""

        def of_piece(pixels: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
            loss, gradients = self._loss_and_gradients(pixels, labels, tf.reduce_sum)
            return tf.concat([tf.reshape(each, [-1]) for each in (loss, *gradients)], axis=0)

        return self._sum_over(self._train, self.images, of_piece)

    def _loss_sum_and_correct(self) -> tuple[tf.Tensor, tf.Tensor]:
        def loss(pixels: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
            return tf.reduce_sum(self._losses(pixels, labels))

        def correct(pixels: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
            digits = tf.argmax(self.logits(pixels), axis=1, output_type=tf.int32)
            return tf.reduce_sum(tf.cast(digits == labels, tf.float32))

        return (
            self._sum_over(self._train, self.loss_images, loss),
            self._sum_over(self._validation, self._validation.count, correct),
        )

    def _sum_over(
        self,
        images: ImageVariables,
        count: int,
        of_piece: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
    ) -> tf.Tensor:
        """Sum of a float32 tensor over the first `count` images, piece by piece."""

        def of_piece_from(start: tf.Tensor) -> tf.Tensor:
            end = tf.minimum(start + _PIECE_IMAGES, count)
            return of_piece(images.pixels[start:end], images.labels[start:end])

        pieces = tf.map_fn(
            of_piece_from,
            tf.range(0, count, _PIECE_IMAGES),
            fn_output_signature=tf.float32,
            parallel_iterations=self._shards,
        )
        return tf.reduce_sum(pieces, axis=0)

    def _loop(self, batches: tf.Tensor, learning_rate: tf.Tensor) -> tf.Tensor:
        """Do several updates inside one graph, so that no Python code runs between them."""

        def body(update: tf.Tensor) -> tuple[tf.Tensor]:
            batch = batches[update]
            pixels, labels = (tf.gather(x, batch) for x in (self._train.pixels, self._train.labels))
            _, gradients = self._loss_and_gradients(pixels, labels, tf.reduce_mean)
            for variable, gradient in zip(self._variables, gradients, strict=True):
                tf.raw_ops.ResourceApplyGradientDescent(
                    var=variable.handle, alpha=learning_rate, delta=gradient
                )
            return (update + 1,)

        count = tf.shape(batches)[0]
        (done,) = tf.while_loop(
            lambda update: update < count, body, (tf.constant(0),), parallel_iterations=1
        )
        return done
