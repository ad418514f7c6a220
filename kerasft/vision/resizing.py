"""Pictures of any size to squares of one, in the graph."""

from __future__ import annotations

from typing import Literal

import tensorflow as tf

Fit = Literal["crop", "stretch", "pad"]


def resize(picture: tf.Tensor, *, size: int, fit: Fit, crop: float = 1.0) -> tf.Tensor:
    """Brings pictures to a square, with anti-aliasing.

    Args:
        picture: uint8 or float in 0 to 255, `[..., height, width, 3]`, one or a batch.
        size: Side of the square.
        fit: "crop" cuts the square out of the middle, "stretch" changes the proportions, "pad" adds black.
        crop: With "crop", the share of the shorter side that is kept.

    Returns:
        uint8 `[..., size, size, 3]`.

    Example:
        >>> resize(tf.zeros((5, 30, 40, 3)), size=16, fit="crop").shape.as_list()
        [5, 16, 16, 3]
    """
    picture = tf.cast(picture, tf.float32)
    if fit == "crop":
        shape = tf.shape(picture)
        height, width = shape[-3], shape[-2]
        short = tf.cast(tf.minimum(height, width), tf.float32)
        side = tf.maximum(tf.cast(tf.round(short * crop), tf.int32), 1)
        top, left = (height - side) // 2, (width - side) // 2
        picture = picture[..., top : top + side, left : left + side, :]
    if fit == "pad":
        resized = _padded(picture, size)
    else:
        resized = tf.image.resize(picture, (size, size), antialias=True)
    resized = tf.ensure_shape(resized, [*picture.shape[:-3], size, size, 3])
    return tf.cast(tf.round(tf.clip_by_value(resized, 0.0, 255.0)), tf.uint8)


def _padded(picture: tf.Tensor, size: int) -> tf.Tensor:
    shape = tf.cast(tf.shape(picture)[-3:-1], tf.float32)
    inner = tf.maximum(tf.cast(tf.round(shape * size / tf.reduce_max(shape)), tf.int32), 1)
    resized = tf.image.resize(picture, inner, antialias=True)
    return tf.image.resize_with_crop_or_pad(resized, size, size)
