"""A network over the vectors of user and item."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from kerasft_recommender.layers import Table
from kerasft_recommender.scorers.base import Scorer


@keras.saving.register_keras_serializable(package="kerasft_recommender")
class Tower(keras.layers.Layer):
    """Dense layers with ReLU over user and item, of which the first adds a part of each.

    A layer over the two vectors side by side is the sum of a layer over each; so what depends on the user is
    computed once, however many items there are.

    Args:
        widths: Of the layers.

    Example:
        >>> tower = Tower([8, 4])
        >>> tower(tf.ones((2, 3)), tower.first(tf.ones((2, 5, 3)))).shape
        TensorShape([2, 5, 4])
    """

    def __init__(self, widths: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.widths = tuple(widths)
        self.of_user = keras.layers.Dense(self.widths[0], use_bias=False, name="of_user")
        self.of_item = keras.layers.Dense(self.widths[0], name="of_item")
        self.others = [
            keras.layers.Dense(width, activation="relu", name=f"hidden_{i}")
            for i, width in enumerate(self.widths[1:], start=1)
        ]

    def first(self, items: tf.Tensor) -> tf.Tensor:
        """Returns the part of items in the first layer, float32 `[..., first width]` for `[..., width]`."""
        with keras.name_scope(self.name):
            return tf.cast(self.of_item(items), tf.float32)

    def call(self, users: Any, items: Any) -> tf.Tensor:
        """Returns `[users, n, last width]` for `[users, width]` and `first` of `[users or 1, n, width]`."""
        of_users = self.of_user(users)[:, None]
        hidden = tf.nn.relu(of_users + tf.cast(items, of_users.dtype))
        for layer in self.others:
            hidden = layer(hidden)
        return tf.cast(hidden, tf.float32)


@keras.saving.register_keras_serializable(package="kerasft_recommender")
class MLP(Scorer):
    """A multilayer perceptron over the vectors of user and item.

    Source: He et al., 2017, "Neural Collaborative Filtering", section 3.3.

    Args:
        user_rows: Rows of the table of users.
        item_rows: Rows of the table of items.
        layers: Widths: of both vectors together, then of the hidden layers.
        deviation: Standard deviation of vectors at the start.

    Example:
        >>> scorer = MLP(user_rows=3, item_rows=5, layers=(8, 4, 2), deviation=0.1)
        >>> scorer(tf.constant([1, 2]), tf.constant([[4, 1], [2, 2]])).shape
        TensorShape([2, 2])
    """

    user_table: Table

    def __init__(
        self, *, user_rows: int, item_rows: int, layers: Sequence[int], deviation: float, **kwargs: Any
    ) -> None:
        super().__init__(dtype="float32", **kwargs)
        width = layers[0] // 2
        self.user_table = Table(user_rows, width, deviation=deviation, name="users")
        self.item_table = Table(item_rows, width, deviation=deviation, name="items")
        self.tower = Tower(layers[1:], name="tower")
        self.head = keras.layers.Dense(1, dtype="float32", name="head")
        self(tf.zeros((1,), tf.int32), tf.zeros((1, 1), tf.int32))
        self.groups = {
            "user_table": [self.user_table],
            "item_table": [self.item_table],
            "tower": [self.tower],
            "head": [self.head],
        }

    def user(self, rows: Any) -> tf.Tensor:
        return self.user_table(rows)

    def pairs(self, users: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
        return self._scored(users, self.tower.first(items))

    def of_rows(self, users: tf.Tensor, rows: tf.Tensor, *, training: bool) -> tf.Tensor:
        return self._scored(users, self.item_table.each(self.tower.first, rows))

    def _scored(self, users: tf.Tensor, firsts: tf.Tensor) -> tf.Tensor:
        return self.head(self.tower(users, firsts))[..., 0]
