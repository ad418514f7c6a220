"""Weights of values and of pairs of values, and a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from kerasft_recommender.layers import Pairs
from kerasft_recommender.scorers.featured import Featured

_KINDS = ("categorical", "multi")


@keras.saving.register_keras_serializable(package="kerasft_recommender")
class WideDeep(Featured):
    """A weight for each pair of a user's (or the context's) value and an item's, plus a network.

    Source: Cheng et al., 2016, "Wide & Deep Learning for Recommender Systems".

    Args:
        pairs: Largest number of pairs of two features that get weights; beyond it they get none.
        **arguments: Of `Featured`.

    Example:
        >>> from kerasft_recommender.catalogue import Catalogue
        >>> from kerasft_recommender.sides import Sides
        >>> catalogue = Catalogue.learn(["ann", "bob", "ann"], ["tea", "tea", "milk"], spare=0.1)
        >>> sides = Sides.blank([], {}, users=catalogue.users.capacity, items=catalogue.items.capacity)
        >>> scorer = WideDeep(
        ...     catalogue=catalogue, sides=sides, width=4, hidden=(8,), deviation=0.1, pairs=100
        ... )
        >>> scorer(tf.constant([1, 2]), tf.constant([[2, 1, 1], [2, 2, 1]])).shape
        TensorShape([2, 3])
    """

    def __init__(self, *, pairs: int, **arguments: Any) -> None:
        self._most = pairs
        super().__init__(**arguments)

    def make(self) -> None:
        chosen = [
            (one, other)
            for one in (*self.sides.user.features, *self.sides.context)
            for other in self.sides.item.features
            if one.kind in _KINDS and other.kind in _KINDS and one.rows * other.rows <= self._most
        ]
        self.crossed = [(one.name, other.name) for one, other in chosen]
        self.crosses = [
            Pairs(one.rows, other.rows, name=f"pairs_{place}")
            for place, (one, other) in enumerate(chosen, start=1)
        ]
        self._extra = sum(layer.item_rows for layer in self.crosses)

    @property
    def others(self) -> Sequence[keras.layers.Layer]:
        return self.crosses

    # Behind the vectors of a user stand the weights of all pairs that the user's values are in; behind those
    # of an item, which values it has: so the weights that count are a dot product away.

    def _user(self, rows: tf.Tensor, context: dict[str, Any]) -> tf.Tensor:
        values = {**self.sides.user.take(rows), **context}
        parts = [super()._user(rows, context)]
        for (name, _), layer in zip(self.crossed, self.crosses, strict=True):
            if name in values:
                parts.append(layer.of_user(several(values[name], rows)))
            else:
                parts.append(tf.zeros([tf.shape(rows)[0], layer.item_rows]))
        return tf.concat(parts, -1)

    def item(self, rows: Any) -> tf.Tensor:
        values = self.sides.item.take(rows)
        parts = [super().item(rows)]
        for (_, name), layer in zip(self.crossed, self.crosses, strict=True):
            parts.append(layer.of_item(several(values[name], rows)))
        return tf.concat(parts, -1)

    def pairs(self, users: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
        if not self._extra:
            return super().pairs(users, items)
        weights = tf.reduce_sum(users[:, None, -self._extra :] * items[..., -self._extra :], -1)
        return super().pairs(users[:, : -self._extra], items[..., : -self._extra]) + weights

    def combine(self, users: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
        return self.head(self.deep(users, items))[..., 0]


def several(values: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """Returns values of a feature `[..., m]`, also of one that has a single value for each of `rows`."""
    return values[..., None] if values.shape.rank == rows.shape.rank else values
