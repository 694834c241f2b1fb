"""The loss of a small convolutional network as a function of its weights, with its gradient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from mnist_bench.data.dataset import Dataset
from mnist_bench.data.idx import CLASSES
from mnist_bench.models.layers import PIXEL_SCALE, ImageVariables, flatten
from mnist_bench.models.paper_cnn import BIAS, WEIGHT_STDDEV

Weights: TypeAlias = npt.NDArray[np.float32]

FILTERS = (6, 12)
"""Filters of the two convolutions: few, so that a pass over all images takes seconds."""
LOSS_IMAGES = 10_000
"""The first training images, on which every reported loss is measured."""
_KERNEL_SIZE = 5
_PIXELS_LEFT = 7 * 7
"""Pixels that two convolutions of stride 2 leave of 28 by 28."""
_PIECE_IMAGES = 2_500
"""Images per piece of a pass over all images: piece_sums need memory, fewer cost time."""


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
        shapes = [
            (_KERNEL_SIZE, _KERNEL_SIZE, 1, first),
            (_KERNEL_SIZE, _KERNEL_SIZE, first, second),
            (_PIXELS_LEFT * second, CLASSES),
        ]
        initial = [
            tf.random.stateless_truncated_normal(shape, (seed, layer), stddev=WEIGHT_STDDEV)
            for layer, shape in enumerate(shapes)
        ]
        self._variables = [tf.Variable(weights) for weights in initial]
        self._variables += [tf.Variable(tf.fill(shape[-1:], BIAS)) for shape in shapes]
        self._train, self._validation = (
            ImageVariables(dataset.train),
            ImageVariables(dataset.validation),
        )
        self._shards = shards
        self.images = self._train.count
        self.loss_images = min(LOSS_IMAGES, self.images)
        self.filters = filters
        self._loss_and_gradient_graph = tf.function(self._mean_and_gradient, autograph=False)
        self._score_graph = tf.function(self._loss_sum_and_correct, autograph=False)
        self._update_graph = tf.function(self._loop, autograph=False).get_concrete_function(
            tf.TensorSpec((None, None), tf.int32), tf.TensorSpec((), tf.float32)
        )
        self._warm_up()

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
        loss, gradient = self._loss_and_gradient_graph()
        return float(loss), gradient.numpy()

    def apply_updates(self, batches: npt.NDArray[np.int32], learning_rate: float) -> None:
        """Do one gradient descent update per batch of training images.

        Args:
            batches: Indices, int32 (updates, batch size).
            learning_rate: Factor of the gradient.
        """
        self._update_graph(tf.constant(batches), tf.constant(learning_rate, tf.float32)).numpy()

    def score(self) -> tuple[float, float]:
        """Mean loss over the first training images, and the validation accuracy."""
        loss_sum, correct = self._score_graph()
        return float(loss_sum) / self.loss_images, int(correct) / self._validation.count

    def logits(self, pixels: tf.Tensor) -> tf.Tensor:
        """Unnormalized log-probabilities of the ten digits.

        Args:
            pixels: uint8 (n, 28, 28).

        Returns:
            float32 (n, 10).
        """
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

    def _mean_and_gradient(self) -> tuple[tf.Tensor, tf.Tensor]:
        def summed(pixels: tf.Tensor, labels: tf.Tensor) -> list[tf.Tensor]:
            loss, gradients = self._loss_and_gradients(pixels, labels, tf.reduce_sum)
            return [loss, *gradients]

        zeros = [tf.constant(0.0), *(tf.zeros_like(variable) for variable in self._variables)]
        loss, *gradients = self._sum_in_pieces(self._train, self.images, summed, zeros)
        flat_gradient = tf.concat([tf.reshape(gradient, [-1]) for gradient in gradients], axis=0)
        return loss / self.images, flat_gradient / self.images

    def _loss_sum_and_correct(self) -> tuple[tf.Tensor, tf.Tensor]:
        def loss(pixels: tf.Tensor, labels: tf.Tensor) -> list[tf.Tensor]:
            return [tf.reduce_sum(self._losses(pixels, labels))]

        def correct(pixels: tf.Tensor, labels: tf.Tensor) -> list[tf.Tensor]:
            digits = tf.argmax(self.logits(pixels), axis=1, output_type=tf.int32)
            return [tf.reduce_sum(tf.cast(digits == labels, tf.int32))]

        validation = self._validation
        (loss_sum,) = self._sum_in_pieces(self._train, self.loss_images, loss, [tf.constant(0.0)])
        (correct_count,) = self._sum_in_pieces(
            validation, validation.count, correct, [tf.constant(0)]
        )
        return loss_sum, correct_count

    def _sum_in_pieces(
        self,
        images: ImageVariables,
        count: int,
        of_piece: Callable[[tf.Tensor, tf.Tensor], Sequence[tf.Tensor]],
        zeros: Sequence[tf.Tensor],
    ) -> list[tf.Tensor]:
        """Sums over the first `count` images, piece by piece, always added in the same order."""

        def body(start: tf.Tensor, *sums: tf.Tensor) -> tuple[tf.Tensor, ...]:
            end = tf.minimum(start + _PIECE_IMAGES, count)
            piece_sums = of_piece(images.pixels[start:end], images.labels[start:end])
            return (start + _PIECE_IMAGES, *(a + b for a, b in zip(sums, piece_sums, strict=True)))

        sums: list[tf.Tensor]
        _, *sums = tf.while_loop(
            lambda start, *_: start < count,
            body,
            (tf.constant(0), *zeros),
            parallel_iterations=self._shards,
        )
        return sums

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

    def _warm_up(self) -> None:
        """Make TensorFlow build everything before the first timed call."""
        self.score()
        self.loss_and_gradient()
        self.apply_updates(np.zeros((0, 1), np.int32), 0.0)
