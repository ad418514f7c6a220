"""Generalised matrix factorisation."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from kerasft_recommender.layers import Table
from kerasft_recommender.scorers.vectored import Vectored


@keras.saving.register_keras_serializable(package="kerasft_recommender")
class GMF(Vectored):
    """A weighted dot product of the vectors of user and item, plus a bias of the item.

    Source: He et al., 2017, "Neural Collaborative Filtering", section 3.2; the bias as in Koren et al., 2009,
    "Matrix Factorization Techniques for Recommender Systems".

    Args:
        user_rows: Rows of the table of users.
        item_rows: Rows of the table of items.
        factors: Length of a vector.
        deviation: Standard deviation of vectors at the start.

    Example:
        >>> scorer = GMF(user_rows=3, item_rows=5, factors=2, deviation=0.1)
        >>> scorer(tf.constant([1, 2]), tf.constant([[4, 1], [2, 2]])).shape
        TensorShape([2, 2])
    """

    user_table: Table

    def __init__(
        self, *, user_rows: int, item_rows: int, factors: int, deviation: float, **kwargs: Any
    ) -> None:
        super().__init__(dtype="float32", **kwargs)
        self.factors = factors
        self.user_table = Table(user_rows, factors, deviation=deviation, name="users")
        # The bias is the last column, so that one gather brings all there is of an item.
        self.item_table = Table(item_rows, factors + 1, deviation=deviation, name="items")
        self.importance = Importance(dtype="float32", name="importance")
        self.importance.build((None, factors))
        self.groups = {
            "user_table": [self.user_table],
            "item_table": [self.item_table],
            "head": [self.importance],
        }

    def user(self, rows: Any) -> tf.Tensor:
        return self.importance(self.user_table(rows))


@keras.saving.register_keras_serializable(package="kerasft_recommender")
class Importance(keras.layers.Layer):
    """A weight for each factor.

    Example:
        >>> Importance()(tf.constant([[2.0, 3.0]])).numpy().tolist()
        [[2.0, 3.0]]
    """

    def build(self, shape: Any) -> None:
        """Makes the weights, ones at first."""
        self.weight = self.add_weight(name="weight", shape=(shape[-1],), initializer="ones")

    def call(self, vectors: Any) -> tf.Tensor:
        """Returns the factors times their weights."""
        return vectors * self.weight
