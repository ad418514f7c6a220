"""Factorisation machine and network over the same vectors."""

from __future__ import annotations

import keras
import tensorflow as tf

from kerasft_recommender.scorers.featured import Featured


@keras.saving.register_keras_serializable(package="kerasft_recommender")
class DeepFM(Featured):
    """Dot products of all pairs of features, plus a network over all features.

    The sum over pairs is half of the squared sum less the sum of squares, and the sum is one of the user's
    and one of the item's; so all items cost one product of matrices. Source: Guo et al., 2017, "DeepFM: A
    Factorization-Machine based Neural Network for CTR Prediction", equations 1 to 4.

    Example:
        >>> from kerasft_recommender.catalogue import Catalogue
        >>> from kerasft_recommender.sides import Sides
        >>> catalogue = Catalogue.learn(["ann", "bob", "ann"], ["tea", "tea", "milk"], spare=0.1)
        >>> sides = Sides.blank([], {}, users=catalogue.users.capacity, items=catalogue.items.capacity)
        >>> scorer = DeepFM(catalogue=catalogue, sides=sides, width=4, hidden=(8,), deviation=0.1)
        >>> scorer(tf.constant([1, 2]), tf.constant([[2, 1, 1], [2, 2, 1]])).shape
        TensorShape([2, 3])
    """

    def combine(self, users: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
        of_users, of_items = tf.reduce_sum(users, -2), tf.reduce_sum(items, -2)
        products = tf.reduce_sum(of_users[:, None] * of_items, -1)
        products += _within(users, of_users)[:, None] + _within(items, of_items)
        return products + self.head(self.deep(users, items))[..., 0]


def _within(vectors: tf.Tensor, total: tf.Tensor) -> tf.Tensor:
    squares = tf.reduce_sum(tf.square(total), -1) - tf.reduce_sum(tf.square(vectors), [-2, -1])
    return 0.5 * squares
