"""Scorers that see users and items as lists of features, of which the ids are one."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from kerasft_recommender.catalogue import Catalogue
from kerasft_recommender.layers import Fields, Table
from kerasft_recommender.scorers.base import Scorer
from kerasft_recommender.scorers.mlp import Tower
from kerasft_recommender.sides import Sides

CONTEXT = "context/"
"""What names of context features begin with in a batch."""


class Featured(Scorer):
    """A weight for each feature, plus what a subclass makes of their vectors.

    The vector of a user is that of the id, those of the user's features and of the context, side by side; the
    last entry of each is its weight. The id of whom no choice is known counts as zeros.

    Args:
        catalogue: Users, items and choices; read when a step is compiled.
        sides: Features.
        width: Length of the vector of a feature.
        hidden: Widths of the dense layers.
        deviation: Standard deviation of vectors at the start.
    """

    user_table: Table
    by_row = False

    def __init__(
        self,
        *,
        catalogue: Catalogue,
        sides: Sides,
        width: int,
        hidden: Sequence[int],
        deviation: float,
        **kwargs: Any,
    ) -> None:
        super().__init__(dtype="float32", **kwargs)
        self.catalogue = catalogue
        self.sides = sides
        self.width = width
        whole = width + 1
        self.user_table = Table(catalogue.users.capacity, whole, deviation=deviation, name="users")
        self.item_table = Table(catalogue.items.capacity, whole, deviation=deviation, name="items")
        self.fields = {
            name: Fields(features, width=whole, deviation=deviation, name=f"{name}_features")
            for name, features in (
                ("user", sides.user.features),
                ("item", sides.item.features),
                ("context", sides.context),
            )
            if features
        }
        self.of_user = 1 + len(sides.user.features) + len(sides.context)
        self.of_item = 1 + len(sides.item.features)
        self.tower = Tower(hidden, dtype="float32", name="tower")
        self.head = keras.layers.Dense(1, dtype="float32", name="head")
        self.make()
        self(tf.zeros((1,), tf.int32), tf.zeros((1, 1), tf.int32))
        groups = {
            "user_table": [self.user_table],
            "item_table": [self.item_table],
            "features": list(self.fields.values()),
            "tower": [self.tower, *self.others],
            "head": [self.head],
        }
        self.groups = {name: layers for name, layers in groups.items() if layers}

    def make(self) -> None:
        """Makes further layers, which `others` returns."""

    @property
    def others(self) -> Sequence[keras.layers.Layer]:
        """Layers of the subclass that belong to the group "tower"."""
        return ()

    @abstractmethod
    def combine(self, users: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
        """Returns a part of the score, `[users, n]`.

        Args:
            users: Vectors of features, `[users, features, width]`.
            items: The same, `[users or 1, n, features, width]`.
        """

    def user(self, rows: Any) -> tf.Tensor:
        return self._user(rows, {})

    def users_for(self, features: dict[str, Any], *, training: bool) -> tf.Tensor:
        context = {name: features[CONTEXT + name] for name in self._names("context")}
        return self._user(features["user"], context)

    def _names(self, side: str) -> Sequence[str]:
        return self.fields[side].names if side in self.fields else ()

    def _user(self, rows: tf.Tensor, context: dict[str, Any]) -> tf.Tensor:
        known = self.catalogue.histories.has_choices(rows)
        parts = [tf.where(known[:, None], self.user_table(rows), 0.0)[:, None]]
        if "user" in self.fields:
            parts.append(self.fields["user"](self.sides.user.take(rows)))
        if context:
            parts.append(self.fields["context"](context))
        elif "context" in self.fields:
            count = len(self._names("context"))
            parts.append(tf.zeros([tf.shape(rows)[0], count, self.width + 1]))
        return flat(tf.concat(parts, -2), self.of_user * (self.width + 1))

    def item(self, rows: Any) -> tf.Tensor:
        known = self.catalogue.histories.was_chosen(rows)
        vectors = tf.where(known[..., None], self.item_table(rows), 0.0)[..., None, :]
        if "item" in self.fields:
            vectors = tf.concat([vectors, self.fields["item"](self.sides.item.take(rows))], -2)
        return flat(vectors, self.of_item * (self.width + 1))

    def items(self) -> tf.Tensor:
        return self.item(tf.range(self.catalogue.items.capacity))

    def points(self, *, start: Any = 0, stop: Any) -> tf.Tensor:
        return self.item(tf.range(start, stop))

    def regularized(self, features: dict[str, Any]) -> tf.Tensor:
        return self.users_for(features, training=False)

    def pairs(self, users: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
        whole = self.width + 1
        users = tf.reshape(users, [-1, self.of_user, whole])
        items = tf.reshape(items, tf.concat([tf.shape(items)[:2], [self.of_item, whole]], 0))
        weights = tf.reduce_sum(users[..., -1], -1)[:, None] + tf.reduce_sum(items[..., -1], -1)
        return weights + self.combine(users[..., :-1], items[..., :-1])

    def deep(self, users: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
        """Returns the last hidden layer over all vectors side by side, `[users, n, width]`."""
        firsts = self.tower.first(flat(items, self.of_item * self.width))
        return self.tower(flat(users, self.of_user * self.width), firsts)


def flat(vectors: tf.Tensor, width: int) -> tf.Tensor:
    """Lays the vectors of features end to end: `[..., features, w]` to `[..., width]`."""
    return tf.reshape(vectors, tf.concat([tf.shape(vectors)[:-2], [width]], 0))
