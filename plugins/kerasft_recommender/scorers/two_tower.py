"""Two towers whose vectors meet in a dot product."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from kerasft_recommender.catalogue import Catalogue
from kerasft_recommender.layers import Fields, Table
from kerasft_recommender.scorers.vectored import Vectored
from kerasft_recommender.sides import Side, Sides


@keras.saving.register_keras_serializable(package="kerasft_recommender")
class TwoTower(Vectored):
    """The dot product of a user's vector and an item's, plus a bias of the item.

    A vector is that of the id plus those of all features: of an item with texts and pictures, say, the id's
    plus a dense layer over each normalised embedding. The id's vector is left out where nobody chose the item
    (or the user chose nothing), and at random in training, so that the features alone come to suffice and
    items that are new have a useful vector. Source: Volkovs et al., 2017, "DropoutNet: Addressing Cold Start
    in Recommender Systems"; Yi et al., 2019, for the towers.

    Args:
        catalogue: Users, items and choices; read when a step is compiled.
        sides: Features.
        factors: Length of a vector.
        id_dropout: How often the id's vector is left out in training, on a side that has features.
        deviation: Standard deviation of vectors at the start.

    Example:
        >>> catalogue = Catalogue.learn(["ann", "bob", "ann"], ["tea", "tea", "milk"], spare=0.1)
        >>> sides = Sides.blank([], {}, users=catalogue.users.capacity, items=catalogue.items.capacity)
        >>> scorer = TwoTower(
        ...     catalogue=catalogue, sides=sides, factors=4, id_dropout=0.3, deviation=0.1
        ... )
        >>> scorer(tf.constant([1, 2]), tf.constant([[2, 1, 1], [2, 2, 1]])).shape
        TensorShape([2, 3])
    """

    user_table: Table
    by_row = False

    def __init__(
        self,
        *,
        catalogue: Catalogue,
        sides: Sides,
        factors: int,
        id_dropout: float,
        deviation: float,
        **kwargs: Any,
    ) -> None:
        super().__init__(dtype="float32", **kwargs)
        self.catalogue = catalogue
        self.sides = sides
        self.id_dropout = id_dropout
        self.seed_generator = keras.random.SeedGenerator()
        self.user_table = Table(catalogue.users.capacity, factors, deviation=deviation, name="users")
        # The bias is the last column, here and in the vectors of features.
        self.item_table = Table(catalogue.items.capacity, factors + 1, deviation=deviation, name="items")
        self.fields = {
            name: Fields(side.features, width=width, deviation=deviation, name=f"{name}_features")
            for name, side, width in (("user", sides.user, factors), ("item", sides.item, factors + 1))
            if side.features
        }
        self.groups = {"user_table": [self.user_table], "item_table": [self.item_table]}
        if self.fields:
            self.groups["features"] = list(self.fields.values())

    def user(self, rows: Any) -> tf.Tensor:
        return self._user(rows, training=False)

    def users_for(self, features: dict[str, Any], *, training: bool) -> tf.Tensor:
        return self._user(features["user"], training=training)

    def _user(self, rows: tf.Tensor, *, training: bool) -> tf.Tensor:
        known = self.catalogue.histories.has_choices(rows)
        own = self.user_table(rows)
        return self._sum(own, known, rows, self.sides.user, "user", training=training)

    def item(self, rows: Any) -> tf.Tensor:
        return self.items_for(rows, training=False)

    def items_for(self, rows: tf.Tensor, *, training: bool) -> tf.Tensor:
        known = self.catalogue.histories.was_chosen(rows)
        own = self.item_table(rows)
        return self._sum(own, known, rows, self.sides.item, "item", training=training)

    def _sum(
        self, own: tf.Tensor, known: tf.Tensor, rows: tf.Tensor, side: Side, name: str, *, training: bool
    ) -> tf.Tensor:
        if name not in self.fields:
            return tf.where(known[..., None], own, 0.0)
        if training and self.id_dropout:
            kept = keras.random.uniform(tf.shape(rows), seed=self.seed_generator) >= self.id_dropout
            known &= kept
        own = tf.where(known[..., None], own, 0.0)
        return own + tf.reduce_sum(self.fields[name](side.take(rows)), -2)

    def items(self) -> tf.Tensor:
        return self.item(tf.range(self.catalogue.items.capacity))

    def points(self, *, start: Any = 0, stop: Any) -> tf.Tensor:
        return self.item(tf.range(start, stop))

    def every_for(self, users: tf.Tensor, *, stop: int, training: bool) -> tf.Tensor:
        return self.pairs(users, self.items_for(tf.range(stop), training=training)[None])

    def regularized(self, features: dict[str, Any]) -> tf.Tensor:
        return self.user(features["user"])
