"""Batch normalisation of a batch that comes in parts, with a gradient of its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import tensorflow as tf

_STATISTICS_DECAY = 0.9
"""Share of the statistics so far in those that scoring normalises with; as in PyTorch."""
_SMALLEST_VARIANCE = 1e-5


@dataclass(frozen=True)
class Normalization:
    """Batch normalisation of a layer's outputs; the layer's bias comes after it.

    Attributes:
        scale: (outputs,).
        mean: Of the outputs over the last steps, (outputs,); not trained.
        variance: The same.
    """

    scale: tf.Variable
    mean: tf.Variable
    variance: tf.Variable


def normalized(parts: list[tf.Tensor], norm: Normalization, *, scoring: bool) -> list[tf.Tensor]:
    """Each channel with the mean 0 and the variance 1 over the batch, then scaled.

    The batch's parts share their statistics, so that it is the same however many there are; these
    are sums of many, and so float32 in either arithmetic. In training the statistics that scoring
    normalises with follow the batch.
    """
    dtype = parts[0].dtype
    parts = [tf.cast(x, tf.float32) for x in parts]
    if scoring:
        factor = norm.scale * tf.math.rsqrt(norm.variance + _SMALLEST_VARIANCE)
        return [tf.cast((x - norm.mean) * factor, dtype) for x in parts]
    *scaled, mean, variance = _of_batch(tf.convert_to_tensor(norm.scale), *parts)
    for kept, now in ((norm.mean, mean), (norm.variance, variance)):
        kept.assign_sub((1 - _STATISTICS_DECAY) * (kept - now))
    return [tf.cast(x, dtype) for x in scaled]


@tf.custom_gradient  # type: ignore[untyped-decorator]  # TensorFlow comes without types
def _of_batch(scale: tf.Tensor, *parts: tf.Tensor) -> tuple[tuple[tf.Tensor, ...], object]:
    """The parts normalised by the batch's own statistics, and these: mean and variance.

    What TensorFlow derives by itself goes twice as often over all of the outputs: docs/speed.md.
    """
    count = sum(math.prod(map(int, x.shape[:-1])) for x in parts)
    mean = _sum(parts) / count
    centred = [x - mean for x in parts]
    variance = _sum([tf.square(x) for x in centred]) / count
    shrink = tf.math.rsqrt(variance + _SMALLEST_VARIANCE)
    factor = scale * shrink

    def gradient(*upstream: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Of scale and parts; nobody asks for those of mean and variance."""
        by_output = upstream[: len(parts)]
        along = _sum([dy * x for dy, x in zip(by_output, centred, strict=True)])
        mean_of_outputs, share = _sum(by_output) / count, along * shrink * shrink / count
        by_part = [
            (dy - (mean_of_outputs + x * share)) * factor
            for dy, x in zip(by_output, centred, strict=True)
        ]
        return (along * shrink, *by_part)

    return (*(x * factor for x in centred), mean, variance), gradient


def _sum(parts: Sequence[tf.Tensor]) -> tf.Tensor:
    """Of each channel, over all parts: (channels,)."""
    others = list(range(len(parts[0].shape) - 1))
    return tf.add_n([tf.reduce_sum(x, axis=others) for x in parts])
