"""Whole numbers at random, many at once."""

from __future__ import annotations

import tensorflow as tf


def draw(count: tf.Tensor, below: int, *, seed: tf.Tensor) -> tf.Tensor:
    """Draws numbers uniformly, a function of the seed alone.

    Hashes a counter: XLA turns it into vector instructions, where the generators of TensorFlow take a hundred
    times as long on a CPU. Good enough to choose what to train with, not for secrets.
    Source: the finalizer of MurmurHash3 (Appleby), over the Weyl sequence of Steele et al., 2014, "Fast
    Splittable Pseudorandom Number Generators".

    Args:
        count: How many, int32.
        below: Numbers are at least 0 and less than this.
        seed: Two whole numbers.

    Returns:
        int32 `[count]`.

    Example:
        >>> int(draw(tf.constant(1000), 6, seed=tf.constant([1, 2])).numpy().max())
        5
    """
    first, second = tf.unstack(tf.bitcast(tf.cast(seed, tf.int32), tf.uint32))
    counter = tf.cast(tf.range(count), tf.uint32)
    mixed = _finalized(counter * tf.constant(0x9E3779B9, tf.uint32) + _finalized(first))
    other = _finalized(second + tf.constant(0x7F4A7C15, tf.uint32))
    mixed = _finalized(tf.bitwise.bitwise_xor(mixed, other))
    scaled = tf.cast(mixed, tf.uint64) * tf.constant(below, tf.uint64)
    return tf.cast(tf.bitwise.right_shift(scaled, tf.constant(32, tf.uint64)), tf.int32)


def _finalized(x: tf.Tensor) -> tf.Tensor:
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):
        x = tf.bitwise.bitwise_xor(x, tf.bitwise.right_shift(x, tf.constant(shift, tf.uint32)))
        x = x * tf.constant(factor, tf.uint32)
    return x
