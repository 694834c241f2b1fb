"""The paper's program, reimplemented for `tf.compat.v1`.

Like the original, it uses a session per training, placeholders, NumPy batches through `feed_dict`,
and evaluates the whole test set in one batch. Like the original reader, it scales images to float32
in advance and copies them in a new order in each epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from contenders import BATCH_SIZE, Task, flat_and_scaled

from mnist_bench.data import mnist
from mnist_bench.data.dataset import Images

Pair = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]
"""Images (n, 784) in [0, 1] and one-hot labels (n, 10)."""


class PaperProgram:
    """One training's graph and session.

    In complete trainings, each evaluation adds nodes to the graph, as in the original.
    """

    settings = "float32, a session with its defaults, batches through `feed_dict`"

    def __init__(self, task: Task) -> None:
        import tensorflow.compat.v1 as tf

        dataset = mnist.load(task.source)
        self._grows = bool(task.step_counts)
        self._batches = _batches(_flat(dataset.train), task.seed)
        self._test = _flat(dataset.test_images)
        self.ways = {"10,000 at once": self._accuracy}
        self._graph = tf.Graph()
        with self._graph.as_default():
            tf.set_random_seed(task.seed)
            self._images = tf.placeholder(tf.float32, (None, 784))
            self._labels = tf.placeholder(tf.float32, (None, 10))
            self._keep = tf.placeholder(tf.float32)
            self._logits = _network(self._images, self._keep)
            losses = tf.nn.softmax_cross_entropy_with_logits_v2(self._labels, self._logits)
            self._update = tf.train.AdamOptimizer(1e-3).minimize(tf.reduce_mean(losses))
            start = tf.global_variables_initializer()
            self._accuracy_node = self._accuracy_nodes()
        self._session = tf.Session(graph=self._graph)
        self._session.run(start)
        self._step = 0

    def train(self, stops: Sequence[int], reached: Callable[[], None]) -> None:
        """Train to the last stop."""
        for stop in stops:
            while self._step < stop:
                self._session.run(self._update, self._feed(next(self._batches), keep=0.5))
                self._step += 1
            reached()

    def _accuracy(self) -> float:
        """Test accuracy, with all images in one batch."""
        if self._grows:
            with self._graph.as_default():
                self._accuracy_node = self._accuracy_nodes()
        return float(self._session.run(self._accuracy_node, self._feed(self._test, keep=1.0)))

    def _accuracy_nodes(self) -> Any:
        import tensorflow.compat.v1 as tf

        correct = tf.equal(tf.argmax(self._logits, 1), tf.argmax(self._labels, 1))
        return tf.reduce_mean(tf.cast(correct, tf.float32))

    def _feed(self, pair: Pair, *, keep: float) -> dict[Any, Any]:
        return {self._images: pair[0], self._labels: pair[1], self._keep: keep}


def _network(images: Any, keep: Any) -> Any:
    """Logits (n, 10) of images (n, 784)."""
    import tensorflow.compat.v1 as tf

    x = tf.reshape(images, (-1, 28, 28, 1))
    for shape in ((5, 5, 1, 32), (5, 5, 32, 64)):
        weights, bias = _variables(shape)
        x = tf.nn.relu(tf.nn.conv2d(x, weights, strides=1, padding="SAME") + bias)
        x = tf.nn.max_pool2d(x, ksize=2, strides=2, padding="SAME")
    weights, bias = _variables((7 * 7 * 64, 1024))
    x = tf.nn.relu(tf.matmul(tf.reshape(x, (-1, 7 * 7 * 64)), weights) + bias)
    weights, bias = _variables((1024, 10))
    return tf.matmul(tf.nn.dropout(x, keep_prob=keep), weights) + bias


def _variables(shape: tuple[int, ...]) -> tuple[Any, Any]:
    import tensorflow.compat.v1 as tf

    weights = tf.Variable(tf.truncated_normal(shape, stddev=0.1))
    return weights, tf.Variable(tf.constant(0.1, shape=shape[-1:]))


def _flat(images: Images) -> Pair:
    return flat_and_scaled(images), np.eye(10, dtype=np.float32)[images.labels]


def _batches(pair: Pair, seed: int) -> Iterator[Pair]:
    """Endless batches; the images are reordered in each epoch."""
    random = np.random.default_rng(seed)
    pixels, labels = pair
    while True:
        order = random.permutation(len(pixels))
        pixels, labels = pixels[order], labels[order]
        for begin in range(0, len(pixels) - BATCH_SIZE + 1, BATCH_SIZE):
            piece = slice(begin, begin + BATCH_SIZE)
            yield pixels[piece], labels[piece]


def prepare(_threads: int) -> None:
    """Import TensorFlow as the original did, with its default threads."""
    import tensorflow.compat.v1 as tf

    tf.disable_v2_behavior()
    tf.logging.set_verbosity(tf.logging.ERROR)


make = PaperProgram
