"""Maps of colours, and pictures recoloured by them: all changes of colour are one map.

A map is a matrix float `[batch, 4, 4]` of homogeneous coordinates (red, green, blue, 1), where pictures are
from -1 to 1. Grey, the axis on which all three are equal, is called luma.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tensorflow as tf

_LUMA = np.diag([1.0, 1.0, 1.0, 0.0])
_LUMA[:3, :3] = 1.0 / 3.0
_COLOURS = np.diag([1.0, 1.0, 1.0, 0.0])
_ONE = np.diag([0.0, 0.0, 0.0, 1.0])
_SHIFT = np.zeros((4, 4))
_SHIFT[:3, 3] = 1.0
_TURN = np.zeros((4, 4))
_TURN[:3, :3] = np.array([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]) / math.sqrt(3.0)


def brightness(amount: Any) -> tf.Tensor:
    """Returns maps that add amounts `[batch]`.

    Example:
        >>> brightness(tf.constant([0.5]))[0, 0].numpy().tolist()
        [1.0, 0.0, 0.0, 0.5]
    """
    return _sum((1.0, np.eye(4)), (amount, _SHIFT))


def contrast(factor: Any) -> tf.Tensor:
    """Returns maps that multiply by factors `[batch]`.

    Example:
        >>> contrast(tf.constant([2.0]))[0, 0].numpy().tolist()
        [2.0, 0.0, 0.0, 0.0]
    """
    return _sum((1.0, _ONE), (factor, _COLOURS))


def luma_flip(flipped: Any) -> tf.Tensor:
    """Returns maps that turn light into dark and keep hue and saturation, where `flipped` is 1 and not 0.

    Example:
        >>> round(float(tf.reduce_sum(luma_flip(tf.constant([1.0]))[0, 0])), 3)  # white becomes black
        -1.0
    """
    return _sum((1.0, np.eye(4)), (flipped, -2.0 * _LUMA))


def hue(angle: Any) -> tf.Tensor:
    """Returns maps that turn colours about the axis of luma by angles `[batch]`, in radians.

    Example:
        >>> int(tf.argmax(hue(tf.constant([2 * np.pi / 3]))[0, :3, 0]))  # red becomes green
        1
    """
    cosine, sine = tf.cos(angle), tf.sin(angle)
    return _sum((1.0, _ONE), (cosine, _COLOURS), (1.0 - cosine, _LUMA), (sine, _TURN))


def saturation(factor: Any) -> tf.Tensor:
    """Returns maps that multiply the distance from luma by factors `[batch]`.

    Example:
        >>> saturation(tf.constant([1.0]))[0, 0].numpy().tolist()
        [1.0, 0.0, 0.0, 0.0]
    """
    return _sum((1.0, _ONE), (factor, _COLOURS), (1.0 - factor, _LUMA))


def recolour(pictures: Any, matrix: Any) -> tf.Tensor:
    """Returns pictures, float `[batch, height, width, 3]`, with mapped colours."""
    height, width = pictures.shape[1:3]
    pixels = tf.reshape(pictures, [-1, height * width, 3])
    pixels = tf.matmul(pixels, matrix[:, :3, :3], transpose_b=True) + matrix[:, None, :3, 3]
    return tf.reshape(pixels, [-1, height, width, 3])


def _sum(*terms: tuple[Any, np.ndarray]) -> tf.Tensor:
    """Returns the sum of matrices, each multiplied by a number or by one for each picture."""
    dtype = next(factor.dtype for factor, _ in terms if tf.is_tensor(factor))
    return sum(
        tf.reshape(tf.cast(factor, dtype), [-1, 1, 1]) * tf.constant(matrix, dtype)
        for factor, matrix in terms
    )
