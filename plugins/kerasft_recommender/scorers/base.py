"""What all scorers answer."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import keras
import tensorflow as tf

from kerasft_recommender.layers import Table

PAIRS = 1 << 17
"""How many pairs of user and item go through hidden layers at once when all items are scored."""


class Scorer(keras.layers.Layer):
    """Scores of items for users, from a vector for each.

    Attributes:
        groups: Layers by layer group, input to head.
        user_table: A row for each user; None where users are made of something else.
        by_row: Whether the vector of a user is made of a row of that table alone.
        item_table: A row for each item.
    """

    user_table: Table | None = None
    by_row: ClassVar[bool] = True
    item_table: Table
    groups: dict[str, list[keras.layers.Layer]]

    @abstractmethod
    def user(self, rows: Any) -> tf.Tensor:
        """Returns the vectors of users: float32 `[users, width]` for rows int32 `[users]`."""

    def item(self, rows: Any) -> tf.Tensor:
        """Returns the vectors of items, the rows of the table by default.

        Args:
            rows: int32 `[...]`.

        Returns:
            float32 `[..., width]`.
        """
        return self.item_table(rows)

    def items(self) -> tf.Tensor:
        """Returns the vectors of all items, the table by default: float32 `[rows, width]`."""
        return tf.convert_to_tensor(self.item_table.table.value)

    def points(self, *, start: Any = 0, stop: Any) -> tf.Tensor:
        """Returns the vectors of the items from row `start` to `stop`, numbers or int32 scalars."""
        return self.items()[start:stop]

    def free(self, items: tf.Tensor) -> tf.Tensor:
        """Returns vectors of items `[..., width]` without what is there for all users alike, a bias."""
        return items

    def directions(self, *, stop: int) -> tf.Tensor:
        """Returns by what the first `stop` items are alike, `[stop, width]` of length 1: no biases."""
        return tf.math.l2_normalize(self.items()[:stop], -1)

    @abstractmethod
    def pairs(self, users: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
        """Returns scores of some items for each user.

        Args:
            users: `[users, width]`, from `user`.
            items: `[users, n, width]`, from `item`; or `[1, n, width]`, the same for all users.

        Returns:
            float32 `[users, n]`.
        """

    def every(self, users: tf.Tensor, *, stop: int) -> tf.Tensor:
        """Returns the scores of the first `stop` rows of items for each user, float32 `[users, stop]`.

        By default some thousands of items at a time, so that the hidden layers over all pairs of user and
        item need not fit in memory at once.
        """
        size = tf.maximum(1, PAIRS // tf.maximum(1, tf.shape(users)[0]))
        count = -(-stop // size)

        def scored(place: tf.Tensor, parts: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
            start = place * size
            items = self.points(start=start, stop=tf.minimum(start + size, stop))
            return place + 1, parts.write(place, tf.transpose(self.pairs(users, items[None])))

        parts = tf.TensorArray(tf.float32, size=count, infer_shape=False)
        _, parts = tf.while_loop(
            lambda place, _: place < count, scored, (tf.constant(0), parts), parallel_iterations=1
        )
        return tf.transpose(tf.reshape(parts.concat(), [stop, tf.shape(users)[0]]))

    def of_history(self, items: tf.Tensor, chosen: tf.Tensor, folding: Any, *, stop: int) -> tf.Tensor:
        """Returns scores for whoever chose some items, and has no vector: the sum of the cosines to these.

        Args:
            items: Rows int32 `[n, m]`.
            chosen: Which of them are there, bool `[n, m]`.
            folding: What finds vectors of users, for scorers of vectors.
            stop: Rows of items to score.

        Returns:
            float32 `[n, stop]`.
        """
        vectors = self.directions(stop=stop)
        mine = tf.gather(vectors, items) * tf.cast(chosen, tf.float32)[..., None]
        return tf.matmul(tf.reduce_sum(mine, 1), vectors, transpose_b=True)

    def users_for(self, features: dict[str, Any], *, training: bool) -> tf.Tensor:
        """Returns the vectors of the users of a batch, as `user` does; override it to use more than rows.

        Args:
            features: "user" int32 `[users]`, and whatever else the task's `preprocess` gives.
            training: Whether the batch is trained on.
        """
        return self.user(features["user"])

    def items_for(self, rows: tf.Tensor, *, training: bool) -> tf.Tensor:
        """Returns vectors of items as `item` does, in training too."""
        return self.item(rows)

    def of_rows(self, users: tf.Tensor, rows: tf.Tensor, *, training: bool) -> tf.Tensor:
        """Returns scores of some items for each user, as `pairs` does, in training too.

        Args:
            users: `[users, width]`, from `users_for`.
            rows: int32 `[users, n]`.
            training: Whether they are trained on.

        Returns:
            float32 `[users, n]`.
        """
        return self.pairs(users, self.items_for(rows, training=training))

    def every_for(self, users: tf.Tensor, *, stop: int, training: bool) -> tf.Tensor:
        """Returns scores as `every` does, in training too: at once, as gradients need them."""
        return self.pairs(users, self.points(stop=stop)[None])

    def regularized(self, features: dict[str, Any]) -> tf.Tensor | None:
        """Returns vectors of the users of a batch `[users, width]` that shall stay short, if any."""
        return None if self.user_table is None else self.user(features["user"])

    def call(self, users: Any, items: Any) -> tf.Tensor:
        """Returns scores of some items for each user, float32 `[users, n]`, from rows."""
        return self.pairs(self.user(users), self.item(items))
