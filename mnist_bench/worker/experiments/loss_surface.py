"""The loss of a small convolutional network as a function of its weights, with its gradient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from mnist_bench.data.dataset import Dataset
from mnist_bench.data.idx import CLASSES
from mnist_bench.models.layers import PIXEL_SCALE, HeldImages, flat
from mnist_bench.models.paper_cnn import BIAS, WEIGHT_STDDEV

Weights: TypeAlias = npt.NDArray[np.float32]

FILTERS = (6, 12)
"""Of the two convolutions: small, so that a pass over all images is a matter of seconds."""
LOSS_IMAGES = 10_000
"""Of the training images, the first: every loss that is told is measured on these."""
_KERNEL_SIZE = 5
_PIXELS_LEFT = 7 * 7
"""What two convolutions of stride 2 leave of an image's 28 by 28."""
_PIECE_IMAGES = 2_500
"""Of a pass over all images, in work at the same time: more take memory, fewer take time."""


class LossSurface:
    """Two convolutions of stride 2 and ten outputs, their images, and the mean cross-entropy.

    Args:
        dataset: Images; trained on are those of the training split, all of them.
        seed: Of the weights, which are drawn as those of Table I's network.
        parts: So many pieces of a pass are in work at the same time.
        filters: Of the two convolutions.
    """

    def __init__(
        self, dataset: Dataset, seed: int, parts: int = 1, filters: tuple[int, int] = FILTERS
    ) -> None:
        first, second = filters
        shapes = [
            (_KERNEL_SIZE, _KERNEL_SIZE, 1, first),
            (_KERNEL_SIZE, _KERNEL_SIZE, first, second),
            (_PIXELS_LEFT * second, CLASSES),
        ]
        drawn = [
            tf.random.stateless_truncated_normal(shape, (seed, layer), stddev=WEIGHT_STDDEV)
            for layer, shape in enumerate(shapes)
        ]
        self._variables = [tf.Variable(weights) for weights in drawn]
        self._variables += [tf.Variable(tf.fill(shape[-1:], BIAS)) for shape in shapes]
        self._train, self._validation = HeldImages(dataset.train), HeldImages(dataset.validation)
        self._parts = parts
        self.images = self._train.count
        self.loss_images = min(LOSS_IMAGES, self.images)
        self.filters = filters
        self._whole = tf.function(self._mean_and_gradient, autograph=False)
        self._scored = tf.function(self._losses_and_rights, autograph=False)
        self._descend = tf.function(self._loop, autograph=False).get_concrete_function(
            tf.TensorSpec((None, None), tf.int32), tf.TensorSpec((), tf.float32)
        )
        self._warm()

    def weights(self) -> Weights:
        """All weights and biases, float32 (parameters,)."""
        return np.concatenate([variable.numpy().ravel() for variable in self._variables])

    def take(self, weights: npt.ArrayLike) -> None:
        """Put others in their place, (parameters,)."""
        given = np.asarray(weights, np.float32)
        ends = np.cumsum([int(tf.size(variable)) for variable in self._variables])
        for variable, values in zip(self._variables, np.split(given, ends[:-1]), strict=True):
            variable.assign(values.reshape(variable.shape))

    def whole(self) -> tuple[float, Weights]:
        """Mean loss over all training images, and its gradient, float32 (parameters,)."""
        loss, gradient = self._whole()
        return float(loss), gradient.numpy()

    def descend(self, batches: npt.NDArray[np.int32], learning_rate: float) -> None:
        """An update for each batch of training images, and wait for them.

        Args:
            batches: Indices, int32 (updates, batch size).
            learning_rate: What a gradient is multiplied with.
        """
        self._descend(tf.constant(batches), tf.constant(learning_rate, tf.float32)).numpy()

    def scored(self) -> tuple[float, float]:
        """Mean loss over the first training images, and the share of validation that is right."""
        losses, rights = self._scored()
        return float(losses) / self.loss_images, int(rights) / self._validation.count

    def logits(self, pixels: tf.Tensor) -> tf.Tensor:
        """Unnormalised log-probabilities of the ten digits.

        Args:
            pixels: uint8 (n, 28, 28).

        Returns:
            float32 (n, 10).
        """
        kernel1, kernel2, weights, bias1, bias2, bias = self._variables
        x = (tf.cast(pixels, tf.float32) * PIXEL_SCALE)[..., tf.newaxis]  # (n, 28, 28, 1)
        for kernel, own_bias in ((kernel1, bias1), (kernel2, bias2)):
            x = tf.nn.conv2d(x, kernel, strides=2, padding="SAME")  # half of each side
            x = tf.nn.relu(tf.nn.bias_add(x, own_bias))
        return tf.nn.bias_add(tf.linalg.matmul(flat(x), weights), bias)

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
        loss, *gradients = self._in_pieces(self._train, self.images, summed, zeros)
        whole = tf.concat([tf.reshape(gradient, [-1]) for gradient in gradients], axis=0)
        return loss / self.images, whole / self.images

    def _losses_and_rights(self) -> tuple[tf.Tensor, tf.Tensor]:
        def loss(pixels: tf.Tensor, labels: tf.Tensor) -> list[tf.Tensor]:
            return [tf.reduce_sum(self._losses(pixels, labels))]

        def right(pixels: tf.Tensor, labels: tf.Tensor) -> list[tf.Tensor]:
            digits = tf.argmax(self.logits(pixels), axis=1, output_type=tf.int32)
            return [tf.reduce_sum(tf.cast(digits == labels, tf.int32))]

        held = self._validation
        (losses,) = self._in_pieces(self._train, self.loss_images, loss, [tf.constant(0.0)])
        (rights,) = self._in_pieces(held, held.count, right, [tf.constant(0)])
        return losses, rights

    def _in_pieces(
        self,
        held: HeldImages,
        count: int,
        of_piece: Callable[[tf.Tensor, tf.Tensor], Sequence[tf.Tensor]],
        zeros: Sequence[tf.Tensor],
    ) -> list[tf.Tensor]:
        """Sums over the first images, piece by piece; always added in the same order."""

        def body(start: tf.Tensor, *sums: tf.Tensor) -> tuple[tf.Tensor, ...]:
            end = tf.minimum(start + _PIECE_IMAGES, count)
            more = of_piece(held.pixels[start:end], held.labels[start:end])
            return (start + _PIECE_IMAGES, *(a + b for a, b in zip(sums, more, strict=True)))

        sums: list[tf.Tensor]
        _, *sums = tf.while_loop(
            lambda start, *_: start < count,
            body,
            (tf.constant(0), *zeros),
            parallel_iterations=self._parts,
        )
        return sums

    def _loop(self, batches: tf.Tensor, learning_rate: tf.Tensor) -> tf.Tensor:
        """Many updates inside one graph: nothing of Python's runs between two of them."""

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

    def _warm(self) -> None:
        """Have TensorFlow build what it else would build on somebody's clock."""
        self.scored()
        self.whole()
        self.descend(np.zeros((0, 1), np.int32), 0.0)
