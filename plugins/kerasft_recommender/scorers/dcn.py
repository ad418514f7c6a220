"""Cross network beside a deep one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from kerasft_recommender.layers import Cross
from kerasft_recommender.scorers.featured import Featured, flat


@keras.saving.register_keras_serializable(package="kerasft_recommender")
class DCN(Featured):
    """Products of features up to a degree, beside a network, weighed by one layer.

    Source: Wang et al., 2021, "DCN V2: Improved Deep & Cross Network and Practical Lessons for Web-scale
    Learning to Rank Systems", the parallel structure of figure 1.

    Args:
        crosses: How many cross layers.
        **arguments: Of `Featured`.

    Example:
        >>> from kerasft_recommender.catalogue import Catalogue
        >>> from kerasft_recommender.sides import Sides
        >>> catalogue = Catalogue.learn(["ann", "bob", "ann"], ["tea", "tea", "milk"], spare=0.1)
        >>> sides = Sides.blank([], {}, users=catalogue.users.capacity, items=catalogue.items.capacity)
        >>> scorer = DCN(
        ...     catalogue=catalogue, sides=sides, width=4, hidden=(8,), deviation=0.1, crosses=2
        ... )
        >>> scorer(tf.constant([1, 2]), tf.constant([[2, 1, 1], [2, 2, 1]])).shape
        TensorShape([2, 3])
    """

    def __init__(self, *, crosses: int, **arguments: Any) -> None:
        self._count = crosses
        super().__init__(**arguments)

    def make(self) -> None:
        self.crosses = [Cross(dtype="float32", name=f"cross_{i}") for i in range(1, self._count + 1)]

    @property
    def others(self) -> Sequence[keras.layers.Layer]:
        return self.crosses

    def combine(self, users: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
        left, right = flat(users, self.of_user * self.width), flat(items, self.of_item * self.width)
        shape = tf.concat([tf.shape(left)[:1], tf.shape(right)[1:2], [left.shape[-1]]], 0)
        left = tf.broadcast_to(left[:, None], shape)
        right = tf.broadcast_to(right, tf.concat([shape[:2], [right.shape[-1]]], 0))
        first = present = tf.concat([left, right], -1)
        for layer in self.crosses:
            present = layer(first, present)
        return self.head(tf.concat([present, self.deep(users, items)], -1))[..., 0]
