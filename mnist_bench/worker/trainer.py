"""Training and scoring of the network: `advance` and `evaluate`; no clock, no files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from mnist_bench.core.limits import Precision
from mnist_bench.data.dataset import Dataset
from mnist_bench.data.idx import CLASSES
from mnist_bench.models.layers import HeldImages
from mnist_bench.models.lenet5 import Lenet5
from mnist_bench.models.mlp import FullyConnected
from mnist_bench.models.paper_cnn import PaperCnn
from mnist_bench.results.run import Split
from mnist_bench.scenarios.hyperparameters import (
    AnyNetworkHyperparameters,
    FullyConnectedHyperparameters,
    Lenet5Hyperparameters,
    PaperCnnHyperparameters,
)
from mnist_bench.worker import optimizers
from mnist_bench.worker.augmentation import shifted, turned_and_zoomed
from mnist_bench.worker.lr_schedules import learning_rates
from mnist_bench.worker.scores import Scores, scores_of

_SCORED_AT_ONCE = 500
"""Images in work at the same time in an evaluation, in a piece for each thread: docs/speed.md."""
_SMALLEST_PIECE = 50
"""Of an evaluation: with still fewer images the time goes into beginning with them."""


class Network(Protocol):
    """What can be trained here."""

    @property
    def variables(self) -> list[tf.Variable]:
        """All that is trained."""
        ...

    def logits(self, pixels: tf.Tensor, *, dropout_step: tf.Tensor | None = None) -> tf.Tensor:
        """float32 (n, 10) of uint8 (n, 28, 28); in training with the number of the step."""
        ...

    def average(self, updates: tf.Tensor) -> None:
        """Called after each update, with their number so far."""
        ...

    def weights(self) -> dict[str, npt.NDArray[np.float32]]:
        """All that scoring uses, by a name that says the layer."""
        ...


class Trainer:
    """One training of a network from step 0.

    The same seed on the same machine with the same number of parts gives the same losses and
    accuracies, bit for bit, however the steps are divided among calls of `advance`.

    Args:
        dataset: Images; the training split is held as bytes and scaled inside the graph.
        hyperparameters: Of the network and its training.
        seed: Seeds weights, batches, dropout, shifts, turns and zooms.
        total_steps: Length of the whole training, at whose end a schedule arrives; None where
            the learning rate is constant.
        precision: Of the network's arithmetic; weights, loss and optimizer are float32 in either.
        parts: Into how many parts the work is cut; a step's, into no more than it has images.
        network: What is trained; None for that of the hyperparameters, drawn from the seed.
    """

    def __init__(
        self,
        dataset: Dataset,
        hyperparameters: AnyNetworkHyperparameters,
        seed: int,
        *,
        total_steps: int | None = None,
        precision: Precision = "float32",
        parts: int = 1,
        network: Network | None = None,
    ) -> None:
        if total_steps is None and not hyperparameters.rows_share_steps:
            raise ValueError(f"a {hyperparameters.schedule} training needs its total_steps")
        batch_size = hyperparameters.batch_size
        self._parts = parts
        self._hyperparameters = hyperparameters
        self._total_steps = total_steps or 1
        self._seed = seed
        self.model: Network = network or _network(
            seed, hyperparameters, precision, min(parts, batch_size)
        )
        self.step = 0
        self._batches = shuffled_batches(len(dataset.train.labels), batch_size, seed)
        self._train = HeldImages(dataset.train)
        scored = dataset.scored
        self._held = {split: HeldImages(images) for split, images in scored.items()}
        self._labels = {split: images.labels for split, images in scored.items()}
        self._optimizer = optimizers.make(hyperparameters.optimizer, self.model.variables)
        # Nothing here is Python's own control flow. AutoGraph would write its source to a file in
        # the system's folder for such, and a worker ends without removing it.
        self._advance = tf.function(self._loop, autograph=False).get_concrete_function(
            tf.TensorSpec((None, batch_size), tf.int32),
            tf.TensorSpec((None,), tf.float32),
            tf.TensorSpec((), tf.int32),
        )
        # A call of no steps makes TensorFlow build what it else would build in the first step.
        self._advance(tf.zeros((0, batch_size), tf.int32), tf.zeros(0), tf.constant(0))
        self._score = {
            split: tf.function(
                lambda held=held: self._scores(held), autograph=False
            ).get_concrete_function()
            for split, held in self._held.items()
        }

    def advance(self, steps: int) -> npt.NDArray[np.float32]:
        """Do `steps` updates and wait for them.

        Returns:
            The loss of each step's batch, dropout on, float32 (steps,).
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
        """All that scoring uses, by a name that says the layer."""
        return self.model.weights()

    def _loop(self, batches: tf.Tensor, rates: tf.Tensor, first_step: tf.Tensor) -> tf.Tensor:
        """Many updates inside one graph: nothing of Python's runs between two steps."""
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
        """One step on the images with the given indices; returns its loss."""
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
        """Images for one step, changed as the hyperparameters tell: uint8 (batch, 28, 28)."""
        chosen = self._hyperparameters
        if chosen.rotation_degrees or chosen.zoom_share:
            pixels = turned_and_zoomed(pixels, chosen.rotation_degrees, chosen.zoom_share, seed)
        if chosen.shift_pixels:
            pixels = shifted(pixels, chosen.shift_pixels, seed)
        return pixels

    def _scores(self, held: HeldImages) -> tuple[tf.Tensor, tf.Tensor]:
        """Predicted digits uint8 (n,) and their probabilities float16 (n,), piece by piece."""
        at_once = max(_SCORED_AT_ONCE // self._parts, _SMALLEST_PIECE)
        pieces = -(-held.count // at_once)
        digits = tf.TensorArray(tf.uint8, pieces, infer_shape=False, element_shape=(None,))
        shares = tf.TensorArray(tf.float16, pieces, infer_shape=False, element_shape=(None,))

        def body(
            index: tf.Tensor, digits: tf.TensorArray, shares: tf.TensorArray
        ) -> tuple[tf.Tensor, tf.TensorArray, tf.TensorArray]:
            # A slice that reaches past the end is cut there: the last piece is a short one.
            piece = held.pixels[index * at_once : (index + 1) * at_once]
            probabilities = tf.nn.softmax(self.model.logits(piece))
            digit = tf.cast(tf.argmax(probabilities, axis=1), tf.uint8)
            share = tf.cast(tf.reduce_max(probabilities, axis=1), tf.float16)
            return index + 1, digits.write(index, digit), shares.write(index, share)

        _, digits, shares = tf.while_loop(
            lambda index, *_: index < pieces,
            body,
            (0, digits, shares),
            parallel_iterations=self._parts,
        )
        return digits.concat(), shares.concat()


def _network(
    seed: int, asked: AnyNetworkHyperparameters, precision: Precision, parts: int
) -> Network:
    """The network that the hyperparameters are of."""
    match asked:
        case PaperCnnHyperparameters():
            return PaperCnn(seed, asked, precision, parts)
        case FullyConnectedHyperparameters():
            return FullyConnected(seed, asked, precision, parts)
        case Lenet5Hyperparameters():
            return Lenet5(seed, asked, precision, parts)


def _loss(labels: tf.Tensor, logits: tf.Tensor, smoothing: float) -> tf.Tensor:
    """Mean cross-entropy of labels int32 (n,) and logits (n, 10)."""
    if not smoothing:
        each = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    else:
        smoothed = tf.one_hot(labels, CLASSES) * (1 - smoothing) + smoothing / CLASSES
        each = tf.nn.softmax_cross_entropy_with_logits(smoothed, logits)
    return tf.reduce_mean(each)


def shuffled_batches(images: int, batch_size: int, seed: int) -> Iterator[npt.NDArray[np.int32]]:
    """Indices of the training images, batch by batch, shuffled anew each epoch.

    As in the author's program a batch that reaches past the end of an epoch is filled from the
    next one, so that none is short and no image is left out.
    """
    random = np.random.default_rng(seed)
    pending = np.empty(0, np.int32)
    while True:
        while len(pending) < batch_size:
            epoch = random.permutation(images).astype(np.int32)
            pending = np.concatenate((pending, epoch))
        yield pending[:batch_size]
        pending = pending[batch_size:]
