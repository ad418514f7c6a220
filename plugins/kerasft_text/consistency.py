"""R-Drop: each text is read twice, with different dropout, and the two answers are held together.

Source: Liang et al., 2021, "R-Drop: Regularized Dropout for Neural Networks".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from kerasft.training.update import Batch, weighted_mean

Supervised = Callable[..., tuple[tf.Tensor, tf.Tensor]]
Divergence = Callable[[Batch, tf.Tensor, tf.Tensor], tf.Tensor]


def consistent(
    supervised: Supervised, divergence: Divergence, batch: Batch, *, weight: float
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the mean loss of two readings of a batch and `weight` times their divergence; and outputs.

    Args:
        supervised: `Task.supervised`.
        divergence: Called with the batch and the outputs of both readings; returns float32 `[batch]`.
        batch: The batch.
        weight: What the paper calls alpha; its loss is the sum of both readings, so its alpha is twice this.

    Returns:
        A scalar, and the outputs of the first reading.
    """
    twice = tf.nest.map_structure(lambda part: None if part is None else tf.concat([part, part], 0), batch)
    loss, outputs = supervised(twice, training=True)
    one, other = tf.split(outputs, 2)
    apart = weighted_mean(divergence(batch, one, other), batch.sample_weight)
    return loss + weight * apart, one


def softmax_divergence(one: Any, other: Any) -> tf.Tensor:
    """Returns the mean of both Kullback-Leibler divergences of two distributions.

    Args:
        one: Logits, float [..., classes].
        other: The same of the other.

    Returns:
        float32 [...].

    Example:
        >>> float(softmax_divergence(tf.constant([1.0, 2.0]), tf.constant([2.0, 3.0])))
        0.0
    """
    one, other = (tf.nn.log_softmax(tf.cast(logits, tf.float32)) for logits in (one, other))
    return tf.reduce_sum((tf.exp(one) - tf.exp(other)) * (one - other), -1) / 2


def sigmoid_divergence(one: Any, other: Any) -> tf.Tensor:
    """Returns the same of yes and no, for logits of any shape: float32 of their shape."""
    one, other = (tf.cast(logits, tf.float32) for logits in (one, other))
    return (tf.sigmoid(one) - tf.sigmoid(other)) * (one - other) / 2
