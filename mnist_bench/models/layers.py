"""Layers, the base class of networks, and shared operations."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from mnist_bench.core.limits import MAX_STEPS, Precision
from mnist_bench.data.dataset import Images
from mnist_bench.models.batch_norm import Normalization
from mnist_bench.models.parameter_counts import LayerShape, layer_shapes
from mnist_bench.scenarios.hyperparameters import AnyNetworkHyperparameters

PIXEL_SCALE = 1 / 255
"""Scales bytes to [0, 1]."""


@dataclass(frozen=True)
class Layer:
    """Weights and bias of one layer.

    Attributes:
        blocks: The weights, split along their first axis, so that several threads can train them.
        bias: (outputs,).
        normalization: None for a layer without batch normalization.
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
        """The trained variables: weights, bias, scale."""
        scale = (self.normalization.scale,) if self.normalization else ()
        return (*self.blocks, self.bias, *scale)

    @property
    def state(self) -> tuple[tf.Variable, ...]:
        """All variables used for scoring: the trained ones and the running statistics."""
        norm = self.normalization
        return (*self.variables, *((norm.mean, norm.variance) if norm else ()))

    @property
    def tensors(self) -> dict[str, tf.Tensor]:
        """The state by name, with the weights as one tensor."""
        norm = self.normalization
        tensors = {"weights": self.weights, "bias": self.bias}
        if norm is None:
            return tensors
        return tensors | {"scale": norm.scale, "mean": norm.mean, "variance": norm.variance}

    def set_tensors(self, tensors: Mapping[str, npt.NDArray[np.float32]]) -> None:
        """Replace the state, named as in the property `tensors`."""
        for name, variable in self.tensors.items():
            if name != "weights":  # split into blocks below
                variable.assign(tensors[name])
        blocks = split_rows(tensors["weights"], len(self.blocks))
        for variable, values in zip(self.blocks, blocks, strict=True):
            variable.assign(values)

    def copy(self) -> Layer:
        """An untrained layer with the same values."""
        norm = self.normalization
        return Layer(
            tuple(map(_frozen_copy, self.blocks)),
            _frozen_copy(self.bias),
            norm and Normalization(*map(_frozen_copy, (norm.scale, norm.mean, norm.variance))),
        )


class LayeredNetwork(ABC):
    """Base class of networks: a sequence of layers.

    Subclasses define the initial weights and the forward pass.

    Args:
        seed: Seed of weights and dropout.
        hyperparameters: Sizes, dropout, normalization and averaging.
        precision: Of the arithmetic between pixels and logits; weights are always float32.
        shards: Pieces that a training batch is cut into, each for one thread. The number changes
            sums only by rounding.
    """

    def __init__(
        self,
        seed: int,
        hyperparameters: AnyNetworkHyperparameters,
        precision: Precision = "float32",
        shards: int = 1,
    ) -> None:
        self._arithmetic = tf.as_dtype(precision)
        self._shards = shards
        self._seed = seed
        self._dropout_rate = hyperparameters.dropout_rate
        self._average_decay = hyperparameters.average_decay
        shapes = layer_shapes(hyperparameters)
        self._names = [shape.name for shape in shapes]
        self.layers = tuple(
            self._create_layer(shape, number) for number, shape in enumerate(shapes)
        )
        """In order from the input."""
        self.scored_layers = (
            tuple(layer.copy() for layer in self.layers) if self._average_decay else self.layers
        )
        """The layers used for scoring: the trained ones, or their average over the steps."""

    @abstractmethod
    def _create_layer(self, shape: LayerShape, number: int) -> Layer:
        """Create a layer; its initial weights depend on the seed and `number` only."""

    @abstractmethod
    def logits(self, pixels: tf.Tensor, *, dropout_step: tf.Tensor | None = None) -> tf.Tensor:
        """Unnormalized log-probabilities of the ten digits.

        Args:
            pixels: uint8 (n, 28, 28).
            dropout_step: Number of the step in training, which with the seed determines what is
                dropped; None when scoring.

        Returns:
            float32 (n, 10).
        """

    @property
    def variables(self) -> list[tf.Variable]:
        """The trained variables, layer by layer, weights before bias."""
        return [variable for layer in self.layers for variable in layer.variables]

    def average(self, updates: tf.Tensor) -> None:
        """Update the averaged layers after an update; does nothing without averaging.

        Args:
            updates: Updates done so far, from 1 on; float32 (). The decay is smaller for the first
                ones, so that the initial weights do not dominate the average for long.
        """
        if not self._average_decay:
            return
        decay = tf.minimum(self._average_decay, (1 + updates) / (10 + updates))
        for layer, averaged in zip(self.layers, self.scored_layers, strict=True):
            for current, mean in zip(layer.state, averaged.state, strict=True):
                mean.assign_sub((1 - decay) * (mean - current))

    def weights(self) -> dict[str, npt.NDArray[np.float32]]:
        """The weights used for scoring, by names like `conv1_weights`."""
        return {
            f"{name}_{kind}": variable.numpy()
            for name, layer in self._scored()
            for kind, variable in layer.tensors.items()
        }

    def set_weights(self, weights: Mapping[str, npt.NDArray[np.float32]]) -> None:
        """Replace the weights used for scoring by those of another network of the same sizes."""
        names = {f"{name}_{kind}" for name, layer in self._scored() for kind in layer.tensors}
        if names != set(weights):
            raise ValueError("these weights belong to another network")
        for name, layer in self._scored():
            layer.set_tensors({kind: weights[f"{name}_{kind}"] for kind in layer.tensors})

    def _scored(self) -> Iterator[tuple[str, Layer]]:
        return zip(self._names, self.scored_layers, strict=True)


class ImageVariables:
    """Images and labels as TensorFlow variables; pixels stay bytes.

    Constants would be copied into every graph that uses them.
    """

    def __init__(self, images: Images) -> None:
        self.count = len(images.labels)
        self.pixels = tf.Variable(images.pixels, trainable=False)
        self.labels = tf.Variable(images.labels.astype(np.int32), trainable=False)


def make_layer(shape: LayerShape, weights: tf.Tensor, bias: float, blocks: int = 1) -> Layer:
    """Create a layer with equal biases, its weights in at most one block per row."""
    rows = split_rows(weights, min(blocks, shape.weights[0]))
    variables = tuple(tf.Variable(block) for block in rows)
    outputs = shape.weights[-1:]
    norm = None
    if shape.is_normalized:
        norm = Normalization(
            tf.Variable(tf.ones(outputs)),
            tf.Variable(tf.zeros(outputs), trainable=False),
            tf.Variable(tf.ones(outputs), trainable=False),
        )
    return Layer(variables, tf.Variable(tf.fill(outputs, bias)), norm)


def dropout(
    x: tf.Tensor, rate: float, seed: int, step: tf.Tensor | None, layer: int = 0
) -> tf.Tensor:
    """Dropout that depends on seed, step and layer only.

    The random numbers are counter-based, so that a short training is an exact prefix of a longer
    one.

    Args:
        x: Outputs of a layer.
        rate: Share that is dropped.
        seed: Seed of the training.
        step: Number of the step, int32 (); None when scoring, which drops nothing.
        layer: Number of the dropout layer, from 0 on; each drops different outputs.
    """
    if step is None or not rate:
        return x
    seeds = tf.stack([tf.constant(seed, tf.int32), step + layer * MAX_STEPS])
    return tf.nn.experimental.stateless_dropout(x, rate, seed=seeds, rng_alg="philox")


def split_rows(x: tf.Tensor, count: int) -> list[tf.Tensor]:
    """Split along the first axis into `count` pieces, whose lengths differ by at most one."""
    length = int(x.shape[0])
    return tf.split(x, [(length + index) // count for index in range(count)])  # type: ignore[no-any-return]


def max_pool(x: tf.Tensor) -> tf.Tensor:
    """Maximum of each 2 by 2: (n, h, w, c) to (n, h/2, w/2, c)."""
    return tf.nn.max_pool2d(x, ksize=2, strides=2, padding="SAME")


def matmul(x: tf.Tensor, layer: Layer) -> tf.Tensor:
    """Product of inputs and a dense layer's weights, summed over blocks: (n, outputs)."""
    inputs = tf.split(x, [block.shape[0] for block in layer.blocks], axis=1)
    products = [
        tf.linalg.matmul(columns, tf.cast(block, x.dtype))
        for columns, block in zip(inputs, layer.blocks, strict=True)
    ]
    return tf.add_n(products)


def add_bias(x: tf.Tensor, layer: Layer) -> tf.Tensor:
    """Add the layer's bias, in the data type of x."""
    return tf.nn.bias_add(x, tf.cast(layer.bias, x.dtype))


def flatten(x: tf.Tensor) -> tf.Tensor:
    """Flatten each image: (n, h, w, c) to (n, h × w × c)."""
    return tf.reshape(x, (-1, math.prod(x.shape[1:])))


def _frozen_copy(variable: tf.Variable) -> tf.Variable:
    return tf.Variable(tf.identity(variable), trainable=False)
