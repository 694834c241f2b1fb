"""The paper's network and its variants as plain TensorFlow variables and operations."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from mnist_bench.hyperparameters import Hyperparameters
from mnist_bench.idx import CLASSES
from mnist_bench.limits import Precision
from mnist_bench.normalization import Normalization, normalized

PIXEL_SCALE = 1 / 255
"""From bytes to the program's [0, 1]."""
_POOLED_PIXELS = 7 * 7
"""What two pools leave of an image's 28 by 28."""
WEIGHT_STDDEV = 0.1
"""Of the normal distribution that weights are drawn from, cut at two deviations."""
BIAS = 0.1
"""What every bias begins with."""
_LAYERS = ("conv1", "conv2", "dense", "output")


@dataclass(frozen=True)
class Layer:
    """Weights and bias of one layer.

    Attributes:
        blocks: The weights, cut along their first axis: several threads train them side by side.
        bias: (outputs,).
        normalization: None where there is none.
    """

    blocks: tuple[tf.Variable, ...]
    bias: tf.Variable
    normalization: Normalization | None = None

    @property
    def weights(self) -> tf.Tensor:
        """(height, width, channels in, channels out), or (inputs, outputs) when dense."""
        return tf.concat(self.blocks, axis=0)

    @property
    def variables(self) -> tuple[tf.Variable, ...]:
        """What is trained: weights, bias, scale."""
        scale = (self.normalization.scale,) if self.normalization else ()
        return (*self.blocks, self.bias, *scale)

    @property
    def state(self) -> tuple[tf.Variable, ...]:
        """All that scoring needs: what is trained, and the statistics."""
        norm = self.normalization
        return (*self.variables, *((norm.mean, norm.variance) if norm else ()))

    @property
    def tensors(self) -> dict[str, tf.Tensor]:
        """The same by name, the weights in one."""
        norm = self.normalization
        known = {"weights": self.weights, "bias": self.bias}
        if norm is None:
            return known
        return known | {"scale": norm.scale, "mean": norm.mean, "variance": norm.variance}

    @property
    def parameter_count(self) -> int:
        """Weights, biases and scales."""
        return sum(math.prod(map(int, v.shape)) for v in self.variables)

    def take(self, tensors: Mapping[str, npt.NDArray[np.float32]]) -> None:
        """Put other values in place of these.

        Args:
            tensors: As `tensors` names them.

        Raises:
            ValueError: One has another shape.
        """
        for name, variable in self.tensors.items():
            if name != "weights":  # these are in one there
                variable.assign(tensors[name])
        shares = _shares(tensors["weights"], len(self.blocks))
        for block, share in zip(self.blocks, shares, strict=True):
            block.assign(share)

    def copy(self) -> Layer:
        """A layer of the same values that are not trained."""
        norm = self.normalization
        return Layer(
            tuple(_held(block) for block in self.blocks),
            _held(self.bias),
            norm and Normalization(_held(norm.scale), _held(norm.mean), _held(norm.variance)),
        )


class PaperCnn:
    """Two convolutions with pooling, a dense layer with dropout, and ten outputs.

    Weights are drawn from a normal distribution of stddev 0.1 cut at two deviations, biases are
    0.1, as in the author's program. The draw depends on the seed alone.

    Args:
        seed: Seeds the weights and the dropout.
        hyperparameters: Sizes, dropout, normalisation and averaging.
        precision: Of the arithmetic between pixels and logits. The weights are float32 in either.
        parts: Into how many parts the work of a training step is cut, each for a thread of its
            own: the convolutions by images, the dense layer by inputs. Sums come out the same
            but for their rounding.
    """

    def __init__(
        self,
        seed: int,
        hyperparameters: Hyperparameters,
        precision: Precision = "float32",
        parts: int = 1,
    ) -> None:
        self._arithmetic = tf.as_dtype(precision)
        self._parts = parts
        self._seed = seed
        self._dropout_rate = hyperparameters.dropout_rate
        self._average_decay = hyperparameters.average_decay
        size1, size2 = hyperparameters.conv1_kernel_size, hyperparameters.conv2_kernel_size
        filters1, filters2 = hyperparameters.conv1_filters, hyperparameters.conv2_filters
        units = hyperparameters.dense_units
        norm = hyperparameters.batch_normalization
        self.layers = (
            _layer((size1, size1, 1, filters1), (seed, 0), norm=norm),
            _layer((size2, size2, filters1, filters2), (seed, 1), norm=norm),
            _layer((_POOLED_PIXELS * filters2, units), (seed, 2), parts, norm=norm),
            _layer((units, CLASSES), (seed, 3)),
        )
        """From the input on."""
        self.scored_layers = (
            tuple(layer.copy() for layer in self.layers) if self._average_decay else self.layers
        )
        """What scoring uses: these, or their average over the steps."""

    @property
    def variables(self) -> list[tf.Variable]:
        """All that is trained, layer by layer, weights before bias."""
        return [variable for layer in self.layers for variable in layer.variables]

    @property
    def parameter_count(self) -> int:
        """Weights, biases and scales of the whole network."""
        return sum(layer.parameter_count for layer in self.layers)

    def average(self, updates: tf.Tensor) -> None:
        """After an update, let the average follow; nothing where scoring takes no average.

        Args:
            updates: Done so far, from 1 on; float32 (). The first ones weigh more than the decay
                tells, or the first weights would stay in the average for long.
        """
        if not self._average_decay:
            return
        decay = tf.minimum(self._average_decay, (1 + updates) / (10 + updates))
        for layer, averaged in zip(self.layers, self.scored_layers, strict=True):
            for now, mean in zip(layer.state, averaged.state, strict=True):
                mean.assign_sub((1 - decay) * (mean - now))

    def logits(self, pixels: tf.Tensor, *, dropout_step: tf.Tensor | None = None) -> tf.Tensor:
        """Unnormalised log-probabilities of the ten digits.

        In training the statistics that scoring normalises with follow the batch.

        Args:
            pixels: uint8 (n, 28, 28).
            dropout_step: In training, the number of the step: with the seed it settles what is
                dropped. None when scoring.

        Returns:
            float32 (n, 10).
        """
        scoring = dropout_step is None
        conv1, conv2, dense, output = self.scored_layers if scoring else self.layers
        parts = [pixels] if scoring else _shares(pixels, self._parts)
        xs = [self._scaled(part) for part in parts]  # (n, 28, 28, 1), in parts
        xs = _convolved_and_pooled(xs, conv1, scoring=scoring)  # (n, 14, 14, filters)
        xs = _convolved_and_pooled(xs, conv2, scoring=scoring)  # (n, 7, 7, filters)
        x = tf.concat([tf.reshape(x, (-1, math.prod(x.shape[1:]))) for x in xs], axis=0)
        x = _product(x, dense)  # (n, units)
        if dense.normalization:
            (x,) = normalized([x], dense.normalization, scoring=scoring)
        x = tf.nn.relu(tf.nn.bias_add(x, tf.cast(dense.bias, x.dtype)))
        if dropout_step is not None and self._dropout_rate > 0:
            x = dropped(x, self._dropout_rate, self._seed, dropout_step)  # (n, units)
        x = tf.nn.bias_add(_product(x, output), tf.cast(output.bias, x.dtype))
        return tf.cast(x, tf.float32)  # (n, 10)

    def _scaled(self, pixels: tf.Tensor) -> tf.Tensor:
        """From bytes to the program's [0, 1], with a channel: (n, 28, 28, 1)."""
        x = tf.cast(pixels, tf.float32) * PIXEL_SCALE
        return tf.cast(x[..., tf.newaxis], self._arithmetic)

    def weights(self) -> dict[str, npt.NDArray[np.float32]]:
        """All that scoring uses, by a name that says the layer."""
        return {
            f"{name}_{kind}": variable.numpy()
            for name, layer in self._scored()
            for kind, variable in layer.tensors.items()
        }

    def take(self, weights: Mapping[str, npt.NDArray[np.float32]]) -> None:
        """Put kept weights in place of those that scoring uses.

        Args:
            weights: As `weights` gives them.

        Raises:
            ValueError: They are not those of such a network.
        """
        known = {f"{name}_{kind}" for name, layer in self._scored() for kind in layer.tensors}
        if known != set(weights):
            raise ValueError("these are not the weights of such a network")
        for name, layer in self._scored():
            layer.take({kind: weights[f"{name}_{kind}"] for kind in layer.tensors})

    def maps(self, pixels: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """What each convolution hands on, after its pool.

        Args:
            pixels: uint8 (n, 28, 28).

        Returns:
            float32 (n, 14, 14, filters) and (n, 7, 7, filters).
        """
        conv1, conv2, *_ = self.scored_layers
        first = _convolved_and_pooled([self._scaled(pixels)], conv1, scoring=True)
        second = _convolved_and_pooled(first, conv2, scoring=True)
        return tuple(tf.cast(x, tf.float32) for x in (*first, *second))

    def _scored(self) -> Iterator[tuple[str, Layer]]:
        return zip(_LAYERS, self.scored_layers, strict=True)


def dropped(x: tf.Tensor, rate: float, seed: int, step: tf.Tensor) -> tf.Tensor:
    """Some of x set to zero and the rest scaled up, by seed and step alone.

    Counter-based random numbers: a step drops the same whatever came before it, so a short
    training is an exact prefix of a longer one.
    """
    seeds = tf.stack([tf.constant(seed, tf.int32), step])
    return tf.nn.experimental.stateless_dropout(x, rate, seed=seeds, rng_alg="philox")


def _layer(
    shape: tuple[int, ...], seed: tuple[int, int], parts: int = 1, *, norm: bool = False
) -> Layer:
    weights = tf.random.stateless_truncated_normal(shape, seed=seed, stddev=WEIGHT_STDDEV)
    blocks = tuple(tf.Variable(share) for share in _shares(weights, min(parts, shape[0])))
    outputs = shape[-1:]
    made = Normalization(
        tf.Variable(tf.ones(outputs)),
        tf.Variable(tf.zeros(outputs), trainable=False),
        tf.Variable(tf.ones(outputs), trainable=False),
    )
    return Layer(blocks, tf.Variable(tf.fill(outputs, BIAS)), made if norm else None)


def _held(variable: tf.Variable) -> tf.Variable:
    return tf.Variable(tf.identity(variable), trainable=False)


def _shares(x: tf.Tensor, parts: int) -> list[tf.Tensor]:
    """Cut along the first axis into as many pieces, alike but for one row."""
    length = int(x.shape[0])
    return tf.split(x, [(length + part) // parts for part in range(parts)])  # type: ignore[no-any-return]


def _convolved_and_pooled(
    parts: list[tf.Tensor], layer: Layer, *, scoring: bool
) -> list[tf.Tensor]:
    """Convolution, max pool, normalisation, bias, ReLU: (n, h, w, c) to (n, h/2, w/2, outputs).

    The program adds the bias and applies ReLU before it pools. Both rise with their argument and
    act on each channel alone, so the maximum may be taken first: the same numbers from a quarter
    of the additions, and of the gradient's sums. In scoring there is no gradient, and TensorFlow
    adds a bias that follows at once inside the convolution, for nothing.
    """
    (weights,) = layer.blocks
    dtype = parts[0].dtype
    weights, bias = tf.cast(weights, dtype), tf.cast(layer.bias, dtype)
    parts = [tf.nn.conv2d(x, weights, strides=1, padding="SAME") for x in parts]
    if layer.normalization:
        parts = normalized([pooled(x) for x in parts], layer.normalization, scoring=scoring)
        return [tf.nn.relu(tf.nn.bias_add(x, bias)) for x in parts]
    if scoring:
        return [tf.nn.relu(pooled(tf.nn.bias_add(x, bias))) for x in parts]
    return [tf.nn.relu(tf.nn.bias_add(pooled(x), bias)) for x in parts]


def pooled(x: tf.Tensor) -> tf.Tensor:
    """The largest of each 2 by 2: (n, h, w, c) to (n, h/2, w/2, c)."""
    return tf.nn.max_pool2d(x, ksize=2, strides=2, padding="SAME")


def _product(x: tf.Tensor, layer: Layer) -> tf.Tensor:
    """Of inputs and a dense layer's weights, summed over their blocks: (n, outputs)."""
    shares = tf.split(x, [block.shape[0] for block in layer.blocks], axis=1)
    products = [
        tf.linalg.matmul(share, tf.cast(block, x.dtype))
        for share, block in zip(shares, layer.blocks, strict=True)
    ]
    return tf.add_n(products)
