"""Trainer of networks in TensorFlow: updates and evaluation, without timing or files."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from mnist_bench.core.limits import Precision
from mnist_bench.data.dataset import Dataset
from mnist_bench.data.idx import CLASSES
from mnist_bench.models.figures_cnn import SmallCnn
from mnist_bench.models.layers import ImageVariables
from mnist_bench.models.networks import NETWORKS
from mnist_bench.results.run import Split
from mnist_bench.scenarios.hyperparameters import AnyNetworkHyperparameters
from mnist_bench.worker import optimizers
from mnist_bench.worker.augmentation import rotate_and_zoom, shift
from mnist_bench.worker.lr_schedules import learning_rates
from mnist_bench.worker.scores import Scores, scores_of

_EVALUATION_IMAGES = 500
"""Images in work at the same time in an evaluation, one piece per shard: docs/speed.md."""
_MIN_PIECE_IMAGES = 50
"""Least images in a piece: with fewer, the overhead per piece dominates."""


class Trainer:
    """A training of a network from step 0.

    The same seed on the same machine with the same number of shards gives the same losses and
    accuracies, bit for bit, regardless of how the steps are divided among calls of `advance`.

    Args:
        dataset: The splits; images stay bytes and are scaled inside the graph.
        hyperparameters: Of the network and its training.
        seed: Seeds weights, batches, dropout and augmentation.
        total_steps: Length of the whole training, on which a schedule depends; None if the
            learning rate is constant.
        precision: Of the network's arithmetic; weights, loss and optimizer are always float32.
        shards: Pieces that a batch is cut into, at most one per image.
        network: The figures' network; None creates that of the hyperparameters from the seed.
    """

    def __init__(
        self,
        dataset: Dataset,
        hyperparameters: AnyNetworkHyperparameters,
        seed: int,
        *,
        total_steps: int | None = None,
        precision: Precision = "float32",
        shards: int = 1,
        network: SmallCnn | None = None,
    ) -> None:
        if total_steps is None and not hyperparameters.step_counts_share_training:
            raise ValueError(f"a {hyperparameters.schedule} training needs its total_steps")
        batch_size = hyperparameters.batch_size
        self._shards = shards
        self._hyperparameters = hyperparameters
        self._total_steps = total_steps or 1
        self._seed = seed
        self.model = network or NETWORKS[type(hyperparameters)](
            seed, hyperparameters, precision, min(shards, batch_size)
        )
        self.step = 0
        self._batches = shuffled_batches(len(dataset.train.labels), batch_size, seed)
        self._train = ImageVariables(dataset.train)
        scored = dataset.scored
        self._images = {split: ImageVariables(images) for split, images in scored.items()}
        self._labels = {split: images.labels for split, images in scored.items()}
        self._optimizer = optimizers.make(hyperparameters.optimizer, self.model.variables)
        # No AutoGraph: nothing here is Python control flow, and it would write source files to the
        # temporary folder, which a worker does not remove when it exits.
        self._advance = tf.function(self._loop, autograph=False).get_concrete_function(
            tf.TensorSpec((None, batch_size), tf.int32),
            tf.TensorSpec((None,), tf.float32),
            tf.TensorSpec((), tf.int32),
        )
        # A call without steps makes TensorFlow build everything before the first timed step.
        self._advance(tf.zeros((0, batch_size), tf.int32), tf.zeros(0), tf.constant(0))
        self._score = {
            split: tf.function(
                lambda images=images: self._scores(images), autograph=False
            ).get_concrete_function()
            for split, images in self._images.items()
        }

    def advance(self, steps: int) -> npt.NDArray[np.float32]:
        """Do `steps` updates.

        Returns:
            The loss of each step's batch, with dropout, float32 (steps,).
        """
        batches = np.stack([next(self._batches) for _ in range(steps)])
        rates = learning_rates(self._hyperparameters, self.step, steps, self._total_steps)
        losses: npt.NDArray[np.float32] = self._advance(
            tf.constant(batches), tf.constant(rates), tf.constant(self.step, tf.int32)
        ).numpy()
        self.step += steps
        return losses

    def evaluate(self, split: Split) -> Scores:
        """Score every image of a split."""
        label, probability = (tensor.numpy() for tensor in self._score[split]())
        return scores_of(label, probability, self._labels[split])

    def weights(self) -> dict[str, npt.NDArray[np.float32]]:
        """The weights used for scoring, by names like `conv1_weights`."""
        return self.model.weights()

    def _loop(self, batches: tf.Tensor, rates: tf.Tensor, first_step: tf.Tensor) -> tf.Tensor:
        """Do several updates inside one graph, so that no Python code runs between them."""
        count = tf.shape(batches)[0]
        losses = tf.TensorArray(tf.float32, size=count, element_shape=())

        def body(index: tf.Tensor, losses: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
            loss = self._update(batches[index], rates[index], first_step + index)
            return index + 1, losses.write(index, loss)

        _, losses = tf.while_loop(
            lambda index, _: index < count, body, (0, losses), parallel_iterations=1
        )
        return losses.stack()

    def _update(self, batch: tf.Tensor, learning_rate: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        """Do one update on the images with the given indices and return the loss."""
        pixels = tf.gather(self._train.pixels, batch)  # (batch, 28, 28)
        labels = tf.gather(self._train.labels, batch)  # (batch,)
        pixels = self._augmented(pixels, tf.stack([tf.constant(self._seed, tf.int32), step]))
        variables = self.model.variables
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            logits = self.model.logits(pixels, dropout_step=step)
            loss = _loss(labels, logits, self._hyperparameters.label_smoothing)
        gradients = tape.gradient(loss, variables)
        updates = tf.cast(step + 1, tf.float32)
        self._optimizer.apply(gradients, learning_rate, updates)
        self.model.average(updates)
        return loss

    def _augmented(self, pixels: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Augmented images of one step, uint8 (batch, 28, 28)."""
        settings = self._hyperparameters
        if settings.rotation_degrees or settings.zoom_share:
            pixels = rotate_and_zoom(pixels, settings.rotation_degrees, settings.zoom_share, seed)
        if settings.shift_pixels:
            pixels = shift(pixels, settings.shift_pixels, seed)
        return pixels

    def _scores(self, images: ImageVariables) -> tuple[tf.Tensor, tf.Tensor]:
        """Predicted digits uint8 (n,) and their probabilities float16 (n,), computed in pieces."""
        piece_images = max(_EVALUATION_IMAGES // self._shards, _MIN_PIECE_IMAGES)
        pieces = -(-images.count // piece_images)
        digits = tf.TensorArray(tf.uint8, pieces, infer_shape=False, element_shape=(None,))
        probabilities = tf.TensorArray(tf.float16, pieces, infer_shape=False, element_shape=(None,))

        def body(
            index: tf.Tensor, digits: tf.TensorArray, probabilities: tf.TensorArray
        ) -> tuple[tf.Tensor, tf.TensorArray, tf.TensorArray]:
            # A slice past the end is cut there: the last piece may be shorter.
            piece = images.pixels[index * piece_images : (index + 1) * piece_images]
            class_probabilities = tf.nn.softmax(self.model.logits(piece))
            digit = tf.cast(tf.argmax(class_probabilities, axis=1), tf.uint8)
            probability = tf.cast(tf.reduce_max(class_probabilities, axis=1), tf.float16)
            return index + 1, digits.write(index, digit), probabilities.write(index, probability)

        _, digits, probabilities = tf.while_loop(
            lambda index, *_: index < pieces,
            body,
            (0, digits, probabilities),
            parallel_iterations=self._shards,
        )
        return digits.concat(), probabilities.concat()


def _loss(labels: tf.Tensor, logits: tf.Tensor, smoothing: float) -> tf.Tensor:
    """Mean cross-entropy of labels, int32 (n,), and logits, (n, 10)."""
    if not smoothing:
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    else:
        smoothed = tf.one_hot(labels, CLASSES) * (1 - smoothing) + smoothing / CLASSES
        losses = tf.nn.softmax_cross_entropy_with_logits(smoothed, logits)
    return tf.reduce_mean(losses)


def shuffled_batches(images: int, batch_size: int, seed: int) -> Iterator[npt.NDArray[np.int32]]:
    """Yield batches of training image indices, shuffled each epoch.

    As in the author's program, a batch at the end of an epoch is filled from the next epoch, so
    that no batch is short and no image is left out.
    """
    random = np.random.default_rng(seed)
    pending = np.empty(0, np.int32)
    while True:
        while len(pending) < batch_size:
            epoch = random.permutation(images).astype(np.int32)
            pending = np.concatenate((pending, epoch))
        yield pending[:batch_size]
        pending = pending[batch_size:]
