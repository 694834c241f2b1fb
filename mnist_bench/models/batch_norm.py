"""Batch normalization of a batch that is cut into shards, with a custom gradient."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import tensorflow as tf

_STATISTICS_DECAY = 0.9
"""Weight of the old statistics in the running ones used for scoring; as in PyTorch."""
_EPSILON = 1e-5


@dataclass(frozen=True)
class Normalization:
    """Variables of the batch normalization of a layer, which is applied before the layer's bias.

    Attributes:
        scale: (outputs,).
        mean: Running mean of the outputs, (outputs,); not trained.
        variance: Running variance of the outputs, (outputs,); not trained.
    """

    scale: tf.Variable
    mean: tf.Variable
    variance: tf.Variable


def batch_normalize(
    shards: list[tf.Tensor], norm: Normalization, *, scoring: bool
) -> list[tf.Tensor]:
    """Normalize each channel to mean 0 and variance 1 over the batch, then scale it.

    Statistics are taken over all shards, so that the result does not depend on their number, and
    are always float32, because they are sums of many terms. In training, the running statistics
    are updated.
    """
    dtype = shards[0].dtype
    shards = [tf.cast(x, tf.float32) for x in shards]
    if scoring:
        factor = norm.scale * tf.math.rsqrt(norm.variance + _EPSILON)
        return [tf.cast((x - norm.mean) * factor, dtype) for x in shards]
    *scaled, mean, variance = _normalize_batch(tf.convert_to_tensor(norm.scale), *shards)
    for running, batch in ((norm.mean, mean), (norm.variance, variance)):
        running.assign_sub((1 - _STATISTICS_DECAY) * (running - batch))
    return [tf.cast(x, dtype) for x in scaled]


@tf.custom_gradient  # type: ignore[untyped-decorator]  # TensorFlow has no types
def _normalize_batch(scale: tf.Tensor, *shards: tf.Tensor) -> tuple[tuple[tf.Tensor, ...], object]:
    """Shards normalized by the batch's statistics, followed by these: mean and variance.

    TensorFlow's own gradient would make twice as many passes over the outputs: docs/speed.md.
    """
    count = sum(math.prod(map(int, x.shape[:-1])) for x in shards)
    mean = _channel_sums(shards) / count
    centered = [x - mean for x in shards]
    variance = _channel_sums([tf.square(x) for x in centered]) / count
    inverse_stddev = tf.math.rsqrt(variance + _EPSILON)
    factor = scale * inverse_stddev

    def gradient(*upstream: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Gradients of scale and shards; those of mean and variance are not used."""
        by_output = upstream[: len(shards)]
        projection = _channel_sums([dy * x for dy, x in zip(by_output, centered, strict=True)])
        mean_gradient = _channel_sums(by_output) / count
        slope = projection * inverse_stddev * inverse_stddev / count
        by_shard = [
            (dy - (mean_gradient + x * slope)) * factor
            for dy, x in zip(by_output, centered, strict=True)
        ]
        return (projection * inverse_stddev, *by_shard)

    return (*(x * factor for x in centered), mean, variance), gradient


def _channel_sums(shards: Sequence[tf.Tensor]) -> tf.Tensor:
    """Sum of each channel over all shards, (channels,)."""
    axes = list(range(len(shards[0].shape) - 1))
    return tf.add_n([tf.reduce_sum(x, axis=axes) for x in shards])
