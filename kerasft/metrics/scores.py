"""Precision, recall and F1 from counts."""

from __future__ import annotations

import tensorflow as tf

Scores = dict[str, tf.Tensor]


def ratio(top: tf.Tensor, bottom: tf.Tensor) -> tf.Tensor:
    """Divides counts as float32; 0 by 0 is 0."""
    return tf.math.divide_no_nan(tf.cast(top, tf.float32), tf.cast(bottom, tf.float32))


def precision_recall_f1(hits: tf.Tensor, predicted: tf.Tensor, actual: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """Returns the three scores of counts of any shape."""
    return ratio(hits, predicted), ratio(hits, actual), ratio(2 * hits, predicted + actual)


def averages(
    hits: tf.Tensor, predicted: tf.Tensor, actual: tf.Tensor, *, prefix: str, counted: tf.Tensor
) -> Scores:
    """Macro (mean over the classes that count) and micro (over all decisions) scores from counts by class."""
    by_class = precision_recall_f1(hits, predicted, actual)
    micro = precision_recall_f1(*map(tf.reduce_sum, (hits, predicted, actual)))
    names = ("precision", "recall", "f1")
    weights = tf.cast(counted, tf.float32)
    macro = (ratio(tf.reduce_sum(values * weights), tf.reduce_sum(weights)) for values in by_class)
    return {
        **{f"macro_{prefix}{name}": value for name, value in zip(names, macro, strict=True)},
        **{f"micro_{prefix}{name}": value for name, value in zip(names, micro, strict=True)},
    }
