"""Latents from seeds: a seed gives the same ones alone and in any batch, in Python and in a server."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


def latents(seed: Any, width: int) -> tf.Tensor:
    """Returns standard normal numbers, each row a function of its seed alone.

    Args:
        seed: int64 `[batch]`.
        width: Numbers in a row.

    Returns:
        float32 `[batch, width]`.

    Example:
        >>> one, both = latents(tf.constant([7], tf.int64), 4), latents(tf.constant([3, 7], tf.int64), 4)
        >>> bool(tf.reduce_all(one[0] == both[1]))
        True
    """

    def row(number: Any) -> tf.Tensor:
        # A fixed algorithm, because the default depends on the device.
        return tf.random.stateless_normal([width], [number, tf.zeros_like(number)], alg="philox")

    spec = tf.TensorSpec([width], tf.float32)
    return tf.map_fn(row, tf.cast(seed, tf.int64), fn_output_signature=spec)
