"""What networks are made of: layers of weights and biases, as plain TensorFlow variables."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from mnist_bench.core.limits import MAX_STEPS, Precision
from mnist_bench.data.dataset import Images
from mnist_bench.models.batch_norm import Normalization
from mnist_bench.models.parameter_counts import LayerShape, layer_shapes
from mnist_bench.scenarios.hyperparameters import (
    FullyConnectedHyperparameters,
    Lenet5Hyperparameters,
    PaperCnnHyperparameters,
)

PIXEL_SCALE = 1 / 255
"""From bytes to [0, 1]."""

AskedT = TypeVar(
    "AskedT", PaperCnnHyperparameters, FullyConnectedHyperparameters, Lenet5Hyperparameters
)


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
        cut = shares(tensors["weights"], len(self.blocks))
        for block, share in zip(self.blocks, cut, strict=True):
            block.assign(share)

    def copy(self) -> Layer:
        """A layer of the same values that are not trained."""
        norm = self.normalization
        return Layer(
            tuple(_held(block) for block in self.blocks),
            _held(self.bias),
            norm and Normalization(_held(norm.scale), _held(norm.mean), _held(norm.variance)),
        )


class LayeredNetwork(ABC, Generic[AskedT]):
    """A network of layers, one after the other.

    How its layers begin, and what they make of pixels, its kind tells.

    Args:
        seed: Seeds the weights and the dropout.
        hyperparameters: Sizes, dropout, normalisation and averaging.
        precision: Of the arithmetic between pixels and logits. The weights are float32 in either.
        parts: Into how many parts the work of a training step is cut, each for a thread of its
            own. Sums come out the same but for their rounding.
    """

    def __init__(
        self, seed: int, hyperparameters: AskedT, precision: Precision = "float32", parts: int = 1
    ) -> None:
        self._arithmetic = tf.as_dtype(precision)
        self._parts = parts
        self._seed = seed
        self._dropout_rate = hyperparameters.dropout_rate
        self._average_decay = hyperparameters.average_decay
        shapes = layer_shapes(hyperparameters)
        self._names = [shape.name for shape in shapes]
        self.layers = tuple(self._first(shape, number) for number, shape in enumerate(shapes))
        """From the input on."""
        self.scored_layers = (
            tuple(layer.copy() for layer in self.layers) if self._average_decay else self.layers
        )
        """What scoring uses: these, or their average over the steps."""

    @abstractmethod
    def _first(self, shape: LayerShape, number: int) -> Layer:
        """A layer before its first step; the draw depends on the seed and its number alone."""

    @abstractmethod
    def logits(self, pixels: tf.Tensor, *, dropout_step: tf.Tensor | None = None) -> tf.Tensor:
        """Unnormalised log-probabilities of the ten digits.

        Args:
            pixels: uint8 (n, 28, 28).
            dropout_step: In training, the number of the step: with the seed it settles what is
                dropped. None when scoring.

        Returns:
            float32 (n, 10).
        """

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

    def _scored(self) -> Iterator[tuple[str, Layer]]:
        return zip(self._names, self.scored_layers, strict=True)


class HeldImages:
    """Images in TensorFlow's memory, once, as bytes.

    Variables, since a constant would be copied into every graph that uses it.
    """

    def __init__(self, images: Images) -> None:
        self.count = len(images.labels)
        self.pixels = tf.Variable(images.pixels, trainable=False)
        self.labels = tf.Variable(images.labels.astype(np.int32), trainable=False)


def made(shape: LayerShape, weights: tf.Tensor, bias: float, parts: int = 1) -> Layer:
    """A layer before its first step.

    Args:
        shape: Its own.
        weights: Its first weights, of that shape.
        bias: What every bias begins with.
        parts: Into how many blocks the weights are cut, as far as they have rows.
    """
    blocks = tuple(tf.Variable(share) for share in shares(weights, min(parts, shape.weights[0])))
    outputs = shape.weights[-1:]
    norm = None
    if shape.is_normalized:
        norm = Normalization(
            tf.Variable(tf.ones(outputs)),
            tf.Variable(tf.zeros(outputs), trainable=False),
            tf.Variable(tf.ones(outputs), trainable=False),
        )
    return Layer(blocks, tf.Variable(tf.fill(outputs, bias)), norm)


def dropped(
    x: tf.Tensor, rate: float, seed: int, step: tf.Tensor | None, layer: int = 0
) -> tf.Tensor:
    """Some of x set to zero and the rest scaled up, by seed, step and layer alone.

    Counter-based random numbers: a step drops the same whatever came before it, so a short
    training is an exact prefix of a longer one.

    Args:
        x: Outputs of a layer.
        rate: Share that is dropped.
        seed: Of the training.
        step: Number of the step; int32 (). None when scoring, where nothing is dropped.
        layer: Where several drop, the number of this one from 0 on: no two drop the same.
    """
    if step is None or not rate:
        return x
    seeds = tf.stack([tf.constant(seed, tf.int32), step + layer * MAX_STEPS])
    return tf.nn.experimental.stateless_dropout(x, rate, seed=seeds, rng_alg="philox")


def shares(x: tf.Tensor, parts: int) -> list[tf.Tensor]:
    """Cut along the first axis into as many pieces, alike but for one row."""
    length = int(x.shape[0])
    return tf.split(x, [(length + part) // parts for part in range(parts)])  # type: ignore[no-any-return]


def pooled(x: tf.Tensor) -> tf.Tensor:
    """The largest of each 2 by 2: (n, h, w, c) to (n, h/2, w/2, c)."""
    return tf.nn.max_pool2d(x, ksize=2, strides=2, padding="SAME")


def product(x: tf.Tensor, layer: Layer) -> tf.Tensor:
    """Of inputs and a dense layer's weights, summed over their blocks: (n, outputs)."""
    shares = tf.split(x, [block.shape[0] for block in layer.blocks], axis=1)
    products = [
        tf.linalg.matmul(share, tf.cast(block, x.dtype))
        for share, block in zip(shares, layer.blocks, strict=True)
    ]
    return tf.add_n(products)


def biased(x: tf.Tensor, layer: Layer) -> tf.Tensor:
    """With the layer's biases added, in the arithmetic of x."""
    return tf.nn.bias_add(x, tf.cast(layer.bias, x.dtype))


def flat(x: tf.Tensor) -> tf.Tensor:
    """An image's numbers in a row: (n, h, w, c) to (n, h × w × c)."""
    return tf.reshape(x, (-1, math.prod(x.shape[1:])))


def _held(variable: tf.Variable) -> tf.Variable:
    return tf.Variable(tf.identity(variable), trainable=False)
