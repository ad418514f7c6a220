"""Maps of places, and pictures moved by them: all moves of a picture are one map and one resampling.

A map is a matrix float `[batch, 3, 3]` of homogeneous coordinates (x, y, 1) in pixels from the centre of a
picture; x grows to the right and y downwards.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import tensorflow as tf

from kerasft_face.layers.resampling import band, resample

_SYM6 = (
    0.015404109327027373,
    0.0034907120842174702,
    -0.11799011114819057,
    -0.048311742585633,
    0.4910559419267466,
    0.787641141030194,
    0.3379294217276218,
    -0.07263752278646252,
    -0.021060292512300564,
    0.04472490177066578,
    0.0017677118642428036,
    -0.007800708325034148,
)

LOW_PASS = tuple(tap / math.sqrt(2.0) for tap in _SYM6)
"""The low-pass filter of the wavelet sym6, of sum 1: up with it reversed and down again changes nothing."""

# Where the filter leaves a ramp in place: of the doubled picture, this sample is at the first pixel.
_CENTRE = float(np.arange(len(LOW_PASS)) @ LOW_PASS)


def scaling(x: Any, y: Any) -> tf.Tensor:
    """Returns maps that stretch the axes by factors `[batch]`; a negative one mirrors.

    Example:
        >>> scaling(tf.constant([2.0]), tf.constant([-1.0])).numpy().tolist()
        [[[2.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, 1.0]]]
    """
    return _matrix([[x, 0, 0], [0, y, 0]], x)


def rotation(angle: Any) -> tf.Tensor:
    """Returns maps that turn by angles `[batch]`, in radians from the axis x towards y.

    Example:
        >>> rotation(tf.constant([0.0]))[0, 1].numpy().tolist()
        [0.0, 1.0, 0.0]
    """
    return _turn(tf.cos(angle), tf.sin(angle))


def quarter_turns(number: Any) -> tf.Tensor:
    """Returns maps that turn by quarters, exactly.

    Args:
        number: Quarters, whole floats from 0 to 3, `[batch]`.

    Example:
        >>> quarter_turns(tf.constant([1.0])).numpy().tolist()
        [[[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]]
    """
    cosines = tf.constant([1, 0, -1, 0], number.dtype)
    number = tf.cast(number, tf.int32)
    return _turn(tf.gather(cosines, number), tf.gather(cosines, (number + 3) % 4))


def translation(x: Any, y: Any) -> tf.Tensor:
    """Returns maps that move by so many pixels `[batch]`.

    Example:
        >>> translation(tf.constant([2.0]), tf.constant([0.5])).numpy().tolist()
        [[[1.0, 0.0, 2.0], [0.0, 1.0, 0.5], [0.0, 0.0, 1.0]]]
    """
    return _matrix([[1, 0, x], [0, 1, y]], x)


def compose(later: Any, earlier: Any) -> tf.Tensor:
    """Returns the maps that do `earlier` and then `later`.

    Example:
        >>> one = tf.ones([1])
        >>> compose(translation(one, one), scaling(2 * one, 2 * one)).numpy()[0, 0].tolist()
        [2.0, 0.0, 1.0]
    """
    # No tf.matmul, which on a GPU rounds to ten bits: too few for places in large pictures.
    return tf.reduce_sum(later[:, :, :, None] * earlier[:, None, :, :], axis=2)


def warp(pictures: Any, forward: Any) -> tf.Tensor:
    """Returns pictures moved by maps, mirrored beyond their borders.

    A map that takes pixels to pixels is a look-up and loses nothing. Any other one doubles the resolution
    with the filter of an orthogonal wavelet, looks up places bilinearly, and halves the resolution again.
    Source: Karras et al., 2020, "Training Generative Adversarial Networks with Limited Data", appendix B.2.

    Args:
        pictures: float `[batch, side, side, channels]`; the side is even, at least 4, and known.
        forward: Where each place of a picture goes.

    Example:
        >>> picture = tf.reshape(tf.range(16.0), [1, 4, 4, 1])
        >>> warp(picture, translation(tf.constant([1.0]), tf.constant([0.0])))[0, 0, :, 0].numpy().tolist()
        [1.0, 0.0, 1.0, 2.0]
    """
    count, centre = tf.shape(pictures)[0], (pictures.shape[1] - 1) / 2
    first = tf.fill([count], tf.constant(centre, pictures.dtype))
    backward = compose(translation(first, first), compose(_inverse(forward), translation(-first, -first)))
    whole = tf.reduce_all(backward == tf.round(backward), axis=[1, 2])[:, None, None, None]
    return tf.where(whole, _looked_up(pictures, backward), _resampled(pictures, backward))


def _looked_up(pictures: Any, backward: Any) -> tf.Tensor:
    side = pictures.shape[1]
    period = 2 * (side - 1)
    column, row = (tf.cast(tf.round(place), tf.int32) % period for place in _places(backward, side))
    return _pixels(pictures, tf.minimum(row, period - row), tf.minimum(column, period - column))


def _resampled(pictures: Any, backward: Any) -> tf.Tensor:
    side, taps = pictures.shape[1], len(LOW_PASS)
    double = _doubled(pictures)
    ones = tf.ones_like(backward[:, 0, 0])
    into = compose(translation(_CENTRE * ones, _CENTRE * ones), scaling(2.0 * ones, 2.0 * ones))
    backward = compose(into, compose(backward, _inverse(into)))
    x, y = _places(backward, 2 * side + taps - 2)
    left, top = tf.floor(x), tf.floor(y)
    right_share, bottom_share = (x - left)[..., None], (y - top)[..., None]
    period = double.shape[1]
    column, row = tf.cast(left, tf.int32) % period, tf.cast(top, tf.int32) % period
    next_column, next_row = (column + 1) % period, (row + 1) % period
    upper, lower = (
        (1.0 - right_share) * _pixels(double, at, column) + right_share * _pixels(double, at, next_column)
        for at in (row, next_row)
    )
    moved = (1.0 - bottom_share) * upper + bottom_share * lower
    return resample(moved, down=2, padding=(0, 0), taps=LOW_PASS)


def _doubled(pictures: Any) -> tf.Tensor:
    """Returns the endless mirrored picture at twice the resolution, one period of it."""
    side, channels = pictures.shape[2:]
    matrix = tf.constant(_doubling(side), pictures.dtype)
    for _ in range(2):
        # One wide product for each picture is much faster than many narrow ones.
        pictures = tf.transpose(pictures, [0, 2, 1, 3])
        length = pictures.shape[2]
        pictures = tf.matmul(matrix, tf.reshape(pictures, [-1, side, length * channels]))
        pictures = tf.reshape(pictures, [-1, matrix.shape[0], length, channels])
    return pictures


@functools.cache
def _doubling(side: int) -> np.ndarray:
    """Returns the matrix `[4 * (side - 1), side]` of one axis."""
    period, back = 2 * (side - 1), len(LOW_PASS) // 2 - 1
    filtered = band(0, period + back, 2 * period, 2, 1, 1, LOW_PASS[::-1])
    place = (np.arange(period + back) - back) % period
    folded = np.zeros((2 * period, side))
    np.add.at(folded.T, np.minimum(place, period - place), filtered.T)
    return folded


def _places(backward: Any, side: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns where each pixel of the result comes from: x and y, `[batch, side, side]`."""
    at = tf.range(side, dtype=backward.dtype)
    x, y = (
        row[:, 0, None, None] * at[None, None, :]
        + row[:, 1, None, None] * at[None, :, None]
        + row[:, 2, None, None]
        for row in (backward[:, 0], backward[:, 1])
    )
    return x, y


def _pixels(pictures: Any, row: Any, column: Any) -> tf.Tensor:
    """Returns the pixels at places `[batch, height, width]`."""
    height, width, channels = pictures.shape[1:]
    first = tf.range(tf.shape(pictures)[0])[:, None, None] * (height * width)
    flat = tf.reshape(pictures, [-1, channels])
    # gather_nd, because the gradient of gather is sparse.
    return tf.gather_nd(flat, (first + row * width + column)[..., None])


def _matrix(rows: list[list[Any]], like: Any) -> tf.Tensor:
    entries = [tf.broadcast_to(tf.cast(entry, like.dtype), tf.shape(like)) for row in rows for entry in row]
    last = [tf.zeros_like(like), tf.zeros_like(like), tf.ones_like(like)]
    return tf.reshape(tf.stack(entries + last, axis=-1), [-1, 3, 3])


def _turn(cosine: Any, sine: Any) -> tf.Tensor:
    return _matrix([[cosine, -sine, 0], [sine, cosine, 0]], cosine)


def _inverse(affine: Any) -> tf.Tensor:
    (a, b, x), (c, d, y) = (tf.unstack(affine[:, i], axis=-1) for i in (0, 1))
    determinant = a * d - b * c
    a, b, c, d = d / determinant, -b / determinant, -c / determinant, a / determinant
    return _matrix([[a, b, -(a * x + b * y)], [c, d, -(c * x + d * y)]], x)
