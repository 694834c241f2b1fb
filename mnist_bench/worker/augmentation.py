"""Random shifts, rotations and zooms of training images."""

from __future__ import annotations

import math

import tensorflow as tf

from mnist_bench.data.idx import SIDE

_CENTER = (SIDE - 1) / 2
"""Center of an image in pixels; the center of its first pixel is 0."""
_ROTATION_FOLD = 1
"""Folded into a step's seed, so that rotations are independent of shifts."""


def shift(pixels: tf.Tensor, max_pixels: int, seed: tf.Tensor) -> tf.Tensor:
    """Shift each image by its own random distance, vertically and horizontally.

    Pixels from beyond the edge are background, 0.

    Args:
        pixels: uint8 (n, 28, 28), as the result.
        max_pixels: The largest shift in each direction.
        seed: int32 (2,); the same seed shifts the same images by the same distances.
    """
    side, border = SIDE + 2 * max_pixels, (max_pixels, max_pixels)
    padded = tf.pad(pixels, ((0, 0), border, border))  # (n, side, side)
    count = tf.shape(pixels)[0]
    corners = tf.random.stateless_uniform(
        (count, 2), seed, minval=0, maxval=2 * max_pixels + 1, dtype=tf.int32, alg="philox"
    )
    # Index of each image's corner in the flat padded pixels, and pixel offsets within an image.
    first = tf.range(count) * side * side + corners[:, 0] * side + corners[:, 1]  # (n,)
    offsets = tf.range(SIDE)[:, tf.newaxis] * side + tf.range(SIDE)  # (28, 28)
    indices = first[:, tf.newaxis, tf.newaxis] + offsets  # (n, 28, 28)
    return tf.gather(tf.reshape(padded, (-1,)), indices)


def rotate_and_zoom(
    pixels: tf.Tensor, rotation_degrees: float, zoom_share: float, seed: tf.Tensor
) -> tf.Tensor:
    """Rotate each image by its own random angle and scale both sides, about its center.

    Pixels are interpolated bilinearly; those from beyond the edge are background, 0.

    Args:
        pixels: uint8 (n, 28, 28), as the result.
        rotation_degrees: The largest angle, in either direction.
        zoom_share: The largest share by which a side is stretched or shrunk, each independently.
        seed: int32 (2,); the same seed changes the same images in the same way.
    """
    rotation_seed = tf.random.experimental.stateless_fold_in(seed, _ROTATION_FOLD, alg="philox")
    uniform = tf.random.stateless_uniform(
        (tf.shape(pixels)[0], 3), rotation_seed, minval=-1.0, maxval=1.0, alg="philox"
    )
    angle = uniform[:, 0] * math.radians(rotation_degrees)  # (n,)
    # The transform maps output to input pixels: stretching a side divides its distances.
    x_scale, y_scale = 1 / (1 + uniform[:, 1] * zoom_share), 1 / (1 + uniform[:, 2] * zoom_share)
    cosine, sine, zero = tf.cos(angle), tf.sin(angle), tf.zeros_like(angle)
    x_from_x, x_from_y = cosine * x_scale, sine * x_scale
    y_from_x, y_from_y = -sine * y_scale, cosine * y_scale
    transforms = tf.stack(
        (
            *(x_from_x, x_from_y, _CENTER * (1 - x_from_x - x_from_y)),
            *(y_from_x, y_from_y, _CENTER * (1 - y_from_x - y_from_y)),
            *(zero, zero),
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
