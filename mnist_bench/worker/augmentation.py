"""Images shifted, turned and zoomed at random, in training only."""

from __future__ import annotations

import math

import tensorflow as tf

from mnist_bench.data.idx import SIDE

_CENTRE = (SIDE - 1) / 2
"""Of an image, in pixels; its first pixel's middle is 0."""
_NOT_OF_SHIFTS = 1
"""Makes of a step's seed another one, or how far an image is turned told how far it is shifted."""


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


def turned_and_zoomed(
    pixels: tf.Tensor, rotation_degrees: float, zoom_share: float, seed: tf.Tensor
) -> tf.Tensor:
    """Turn each image by an angle of its own and zoom both its sides, about its centre.

    Pixels between pixels are had by linear interpolation; what comes in from beyond the edge is
    paper, 0.

    Args:
        pixels: uint8 (n, 28, 28).
        rotation_degrees: The largest angle, in either direction.
        zoom_share: The largest share that a side is stretched or shrunk by, each for itself.
        seed: int32 (2,); the same seed changes the same images alike.

    Returns:
        uint8 (n, 28, 28).
    """
    own_seed = tf.random.experimental.stateless_fold_in(seed, _NOT_OF_SHIFTS, alg="philox")
    drawn = tf.random.stateless_uniform(
        (tf.shape(pixels)[0], 3), own_seed, minval=-1.0, maxval=1.0, alg="philox"
    )
    angle = drawn[:, 0] * math.radians(rotation_degrees)  # (n,)
    # Where a pixel's content comes from: a side that is stretched has nearer sources.
    across, down = 1 / (1 + drawn[:, 1] * zoom_share), 1 / (1 + drawn[:, 2] * zoom_share)
    cosine, sine, none = tf.cos(angle), tf.sin(angle), tf.zeros_like(angle)
    right_by_x, right_by_y = cosine * across, sine * across
    down_by_x, down_by_y = -sine * down, cosine * down
    transforms = tf.stack(
        (
            *(right_by_x, right_by_y, _CENTRE * (1 - right_by_x - right_by_y)),
            *(down_by_x, down_by_y, _CENTRE * (1 - down_by_x - down_by_y)),
            *(none, none),
        ),
        axis=1,
    )  # (n, 8)
    result = tf.raw_ops.ImageProjectiveTransformV3(
        images=pixels[..., tf.newaxis],
        transforms=transforms,
        output_shape=(SIDE, SIDE),
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )
    return tf.reshape(result, tf.shape(pixels))
