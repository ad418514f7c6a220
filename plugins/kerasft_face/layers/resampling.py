"""Low-pass filtered resampling as products with banded matrices: no custom operation, two derivatives."""

from __future__ import annotations

import functools
from typing import Any

import keras
import numpy as np
import tensorflow as tf

FILTER = (0.125, 0.375, 0.375, 0.125)
"""The binomial filter of StyleGAN2, of either axis."""

# Outputs of one product, at most: the matrix for a whole large picture would be nothing but zeros.
_BLOCK = 64


def resample(
    x: Any, *, up: int = 1, down: int = 1, padding: tuple[int, int], taps: tuple[float, ...] = FILTER
) -> Any:
    """Inserts zeros, pads, filters and keeps every n-th pixel, as `scipy.signal.upfirdn` on both axes.

    Args:
        x: float `[batch, height, width, channels]`; only the batch may be of unknown size.
        up: Pixels for each pixel; the brightness is kept.
        down: Of so many pixels, the first is kept.
        padding: Zeros before and after, counted in pixels after the insertion.
        taps: The filter of either axis; its sum is 1, and the first one meets the first pixel.

    Returns:
        float `[batch, (height * up + padding - len(taps)) // down + 1, ..., channels]`.

    Example:
        >>> resample(tf.ones([1, 4, 4, 3]), up=2, padding=(2, 1)).shape
        TensorShape([1, 8, 8, 3])
    """
    height, width, channels = x.shape[1:]
    x = _along(tf.reshape(x, [-1, height, width * channels]), up, down, padding, taps)
    height = x.shape[1]
    x = _along(tf.reshape(x, [-1, width, channels]), up, down, padding, taps)
    return tf.reshape(x, [-1, height, x.shape[1], channels])


def _along(x: Any, up: int, down: int, padding: tuple[int, int], taps: tuple[float, ...]) -> Any:
    """Resamples the second of three axes."""
    length, before = x.shape[1], padding[0]
    outputs = (length * up + sum(padding) - len(taps)) // down + 1
    if outputs <= _BLOCK:
        return tf.matmul(tf.constant(band(0, length, outputs, up, down, before, taps), x.dtype), x)
    step, first = _BLOCK * down // up, -(before // up)
    last = (len(taps) - 1 - before + (_BLOCK - 1) * down) // up
    size, blocks = last - first + 1, -(-outputs // _BLOCK)
    needed = (blocks - 1) * step + size
    x = tf.pad(x, [[0, 0], [-first, max(0, needed - length + first)], [0, 0]])
    windows = tf.stack([x[:, i * step : i * step + size] for i in range(blocks)], axis=1)
    matrix = tf.constant(band(first, size, _BLOCK, up, down, before, taps), x.dtype)
    joined = tf.reshape(tf.matmul(matrix, windows), [-1, blocks * _BLOCK, x.shape[2]])
    return joined[:, :outputs]


@functools.cache
def band(
    first: int,
    inputs: int,
    outputs: int,
    up: int,
    down: int,
    before: int,
    taps: tuple[float, ...] = FILTER,
) -> np.ndarray:
    """Returns the matrix `[outputs, inputs]` of the filter.

    Args:
        first: Position of the first input.
        inputs: How many there are.
        outputs: How many outputs, from position 0.
        up: As in `resample`.
        down: As in `resample`.
        before: Zeros before the picture.
        taps: The filter.

    Example:
        >>> (band(0, 3, 2, 1, 2, 1) * 8).tolist()
        [[3.0, 3.0, 1.0], [0.0, 1.0, 3.0]]
    """
    tap = (first + np.arange(inputs)) * up - np.arange(outputs)[:, None] * down + before
    inside = (tap >= 0) & (tap < len(taps))
    return np.where(inside, np.array(taps)[np.clip(tap, 0, len(taps) - 1)] * up, 0.0)


@keras.saving.register_keras_serializable(package="kerasft_face")
class Resample(keras.layers.Layer):
    """Doubles or halves height and width.

    Args:
        factor: 2.0 or 0.5.
        **kwargs: Of `keras.layers.Layer`.

    Raises:
        ValueError: Another factor.

    Example:
        >>> Resample(0.5)(keras.ops.ones((1, 8, 8, 3))).shape
        TensorShape([1, 4, 4, 3])
    """

    def __init__(self, factor: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if factor not in (2.0, 0.5):
            raise ValueError(f"Resample: the factor must be 2.0 or 0.5, not {factor!r}.")
        self.factor = float(factor)

    def call(self, x: Any) -> Any:
        if self.factor == 2.0:
            return resample(x, up=2, padding=(2, 1))
        return resample(x, down=2, padding=(1, 1))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": self.factor}
