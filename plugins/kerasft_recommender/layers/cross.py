"""Products of features."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from kerasft_recommender.vocabulary import UNKNOWN


@keras.saving.register_keras_serializable(package="kerasft_recommender")
class Cross(keras.layers.Layer):
    """Multiplies the first layer into the present one: `x0 * (W x + b) + x`.

    After n of them, the output holds polynomials of the inputs up to degree n + 1. Source: Wang et al., 2021,
    "DCN V2: Improved Deep & Cross Network", equation 1.

    Example:
        >>> layer = Cross()
        >>> x = tf.constant([[1.0, 2.0]])
        >>> layer(x, x).shape
        TensorShape([1, 2])
    """

    def build(self, first: Any, *others: Any) -> None:
        """Makes the weights."""
        width = first[-1]
        self.kernel = self.add_weight(name="kernel", shape=(width, width), initializer="glorot_uniform")
        self.bias = self.add_weight(name="bias", shape=(width,), initializer="zeros")

    def call(self, first: Any, present: Any) -> tf.Tensor:
        """Returns `[..., width]` for the first layer and the present one, `[..., width]` each."""
        return first * (tf.linalg.matmul(present, self.kernel) + self.bias) + present


@keras.saving.register_keras_serializable(package="kerasft_recommender")
class Pairs(keras.layers.Layer):
    """A weight for each pair of a user's value and an item's, of two categorical or multi-valued features.

    These are the cross-product transformations of Cheng et al., 2016, "Wide & Deep Learning for Recommender
    Systems", section 3.1, as a table of all pairs: `onehot(user)' W onehot(item)`. Several values share one.

    Args:
        user_rows: Rows of the user's vocabulary.
        item_rows: Rows of the item's vocabulary.

    Example:
        >>> layer = Pairs(3, 4)
        >>> weights, shares = layer.of_user(tf.constant([[1]])), layer.of_item(tf.constant([[2, 3]]))
        >>> weights.shape, shares.numpy().tolist()
        (TensorShape([1, 4]), [[0.0, 0.0, 0.5, 0.5]])
    """

    def __init__(self, user_rows: int, item_rows: int, **kwargs: Any) -> None:
        super().__init__(dtype="float32", **kwargs)
        self.user_rows = user_rows
        self.item_rows = item_rows
        self.built = True
        self.weight = self.add_weight(name="weight", shape=(user_rows, item_rows), initializer="zeros")

    def of_user(self, rows: Any) -> tf.Tensor:
        """Returns `[users, item_rows]` for rows `[users, m]`, filled up with 0."""
        return tf.matmul(marks(rows, self.user_rows), self.weight)

    def of_item(self, rows: Any) -> tf.Tensor:
        """Returns `[..., item_rows]` for rows `[..., m]`, filled up with 0."""
        return marks(rows, self.item_rows)


def marks(rows: Any, count: int) -> tf.Tensor:
    """Returns one over the number of values at each value, `[..., count]`; row 0 has no mark."""
    hot = tf.reduce_sum(tf.one_hot(rows, count), -2) * (1.0 - tf.one_hot(UNKNOWN, count))
    return tf.math.divide_no_nan(hot, tf.reduce_sum(hot, -1, keepdims=True))
