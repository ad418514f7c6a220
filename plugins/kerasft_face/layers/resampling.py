"""Low-pass filtered resampling as products with banded matrices: no custom operation, two derivatives."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

FILTER = (0.125, 0.375, 0.375, 0.125)
"""The binomial filter of StyleGAN2, of either axis."""

# Outputs of one product, at most: the matrix for a whole large picture would be nothing but zeros. A little
# more than a power of two, as pictures are one pixel larger between filter and convolution.
_BLOCK = 72


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
    rows, columns = ((side * up + sum(padding) - len(taps)) // down + 1 for side in (height, width))
    x = _along(tf.reshape(x, [-1, height, width * channels]), rows, up, down, padding[0], taps)
    x = _along(tf.reshape(x, [-1, width, channels]), columns, up, down, padding[0], taps)
    return tf.reshape(x, [-1, rows, columns, channels])


def _along(x: Any, outputs: int, up: int, down: int, before: int, taps: tuple[float, ...]) -> Any:
    """Resamples the second of three axes; its derivative is a resampling as well."""
    inputs = x.shape[1]

    @tf.custom_gradient
    def resampled(x: Any) -> tuple[Any, Callable[[Any], Any]]:
        def transposed(upstream: Any) -> Any:
            mirrored = tuple(tap * up / down for tap in reversed(taps))
            return _along(upstream, inputs, down, up, len(taps) - 1 - before, mirrored)

        return _product(x, outputs, up, down, before, taps), transposed

    return resampled(x)


def _product(x: Any, outputs: int, up: int, down: int, before: int, taps: tuple[float, ...]) -> Any:
    inputs = x.shape[1]
    if outputs <= _BLOCK:
        return tf.matmul(tf.constant(band(0, inputs, outputs, up, down, before, taps), x.dtype), x)
    block = -(-outputs // -(-outputs // _BLOCK))
    block += -block % up
    blocks = -(-outputs // block)
    step, first = block * down // up, -max(0, before // up)
    last = (len(taps) - 1 - before + (block - 1) * down) // up
    size = last - first + 1
    needed = (blocks - 1) * step + size
    x = tf.pad(x, [[0, 0], [-first, max(0, needed - inputs + first)], [0, 0]])
    windows = tf.stack([x[:, i * step : i * step + size] for i in range(blocks)], axis=1)
    matrix = tf.constant(band(first, size, block, up, down, before, taps), x.dtype)
    joined = tf.reshape(tf.matmul(matrix, windows), [-1, blocks * block, x.shape[2]])
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
