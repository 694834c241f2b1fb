"""Images shifted at random, in training only."""

from __future__ import annotations

import tensorflow as tf

from mnist_bench.idx import SIDE


def shifted(pixels: tf.Tensor, pixels_each_way: int, seed: tf.Tensor) -> tf.Tensor:
    """Shift each image by a distance of its own, down or up and right or left.

    What moves in from beyond the edge is paper, 0.

    Args:
        pixels: uint8 (n, 28, 28).
        pixels_each_way: The longest shift.
        seed: int32 (2,); the same seed shifts the same images alike.

    Returns:
        uint8 (n, 28, 28).
    """
    reach = pixels_each_way
    side = SIDE + 2 * reach
    padded = tf.pad(pixels, ((0, 0), (reach, reach), (reach, reach)))  # (n, side, side)
    count = tf.shape(pixels)[0]
    corners = tf.random.stateless_uniform(
        (count, 2), seed, minval=0, maxval=2 * reach + 1, dtype=tf.int32, alg="philox"
    )
    # Each image's place in the row of all padded pixels, and the pixels' places in each image.
    first = tf.range(count) * side * side + corners[:, 0] * side + corners[:, 1]  # (n,)
    inside = tf.range(SIDE)[:, tf.newaxis] * side + tf.range(SIDE)  # (28, 28)
    places = first[:, tf.newaxis, tf.newaxis] + inside  # (n, 28, 28)
    return tf.gather(tf.reshape(padded, (-1,)), places)
