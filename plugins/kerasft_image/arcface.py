"""ArcFace (Deng et al. 2019): angles between embeddings and the centres of persons, with a margin."""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf
from keras import ops


class Cosines(keras.layers.Layer):
    """Cosines between unit vectors and one learned centre a class.

    Args:
        classes: How many.
        name: Of the layer.
    """

    def __init__(self, classes: int, *, name: str = "cosines") -> None:
        super().__init__(name=name, dtype="float32")
        self.classes = classes

    def build(self, input_shape: Any) -> None:
        self.kernel = self.add_weight(
            (input_shape[-1], self.classes), initializer="glorot_normal", name="centres"
        )

    @property
    def centres(self) -> Any:
        """The centres, unit vectors, float32 `[classes, width]`."""
        return ops.transpose(ops.normalize(self.kernel, axis=0))

    def call(self, vectors: Any) -> Any:
        return ops.matmul(vectors, ops.normalize(self.kernel, axis=0))

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (*input_shape[:-1], self.classes)


def arcface(cosines: tf.Tensor, labels: tf.Tensor, *, margin: float, scale: float) -> tf.Tensor:
    """Returns the loss of each example: cross-entropy after the margin is added to the angle of its class.

    With theta_j the angle to centre j and y the true class it is
    ``-log(exp(s cos(theta_y + m)) / (exp(s cos(theta_y + m)) + sum over j != y of exp(s cos(theta_j))))``.
    Where theta_y + m would pass pi, the cosine goes on falling along its tangent, so that the loss does too.

    Args:
        cosines: float32 `[batch, classes]`.
        labels: int32 `[batch]`.
        margin: m, in radians.
        scale: s.

    Example:
        >>> loss = arcface(tf.constant([[0.5, 0.5]]), tf.constant([0]), margin=0.0, scale=1.0)
        >>> round(float(loss[0]), 4)
        0.6931
    """
    hot = tf.one_hot(labels, cosines.shape[-1], on_value=True, off_value=False, dtype=tf.bool)
    # Away from 1, where the angle has no slope.
    inside = tf.clip_by_value(cosines, -1.0 + 1e-6, 1.0 - 1e-6)
    moved = inside * math.cos(margin) - tf.sqrt(1.0 - tf.square(inside)) * math.sin(margin)
    beyond = inside - math.sin(math.pi - margin) * margin
    moved = tf.where(inside > math.cos(math.pi - margin), moved, beyond)
    return tf.nn.sparse_softmax_cross_entropy_with_logits(
        labels=labels, logits=scale * tf.where(hot, moved, cosines)
    )
