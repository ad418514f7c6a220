"""Scorers whose score is the dot product of two vectors."""

from __future__ import annotations

from typing import Any, ClassVar

import tensorflow as tf

from kerasft_recommender.folding import Folding
from kerasft_recommender.scorers.base import Scorer


class Vectored(Scorer):
    """A vector of the user times a vector of the item, plus a bias of the item.

    So the best items are neighbours of a user, and can be found without scoring all.

    Attributes:
        biased: Whether the last entry of an item's vector (`item`, `points`) is its bias.
    """

    biased: ClassVar[bool] = True

    def queries(self, users: tf.Tensor) -> tf.Tensor:
        """Returns vectors of users `[n, width]` as those whose dot products with `points` are the scores."""
        return tf.concat([users, tf.ones_like(users[:, :1])], -1) if self.biased else users

    def free(self, items: tf.Tensor) -> tf.Tensor:
        return items[..., :-1] if self.biased else items

    def bias(self, items: tf.Tensor) -> Any:
        """Returns the biases in vectors of items, `[...]`."""
        return items[..., -1] if self.biased else 0.0

    def directions(self, *, stop: int) -> tf.Tensor:
        return tf.math.l2_normalize(self.free(self.points(stop=stop)), -1)

    def pairs(self, users: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
        if items.shape[0] == 1:
            return tf.matmul(users, self.free(items)[0], transpose_b=True) + self.bias(items)
        return tf.reduce_sum(users[:, None] * self.free(items), -1) + self.bias(items)

    def every(self, users: tf.Tensor, *, stop: int) -> tf.Tensor:
        return self.pairs(users, self.points(stop=stop)[None])

    def fold(self, items: tf.Tensor, chosen: tf.Tensor, folding: Folding) -> tf.Tensor:
        """Returns vectors of users who chose some items, and whom training did not see.

        Args:
            items: Rows int32 `[n, m]`.
            chosen: Which of them are there, bool `[n, m]`.
            folding: Finds them.

        Returns:
            float32 `[n, width]`.
        """
        return folding(self.free(self.item(items)), chosen)

    def of_history(self, items: tf.Tensor, chosen: tf.Tensor, folding: Any, *, stop: int) -> tf.Tensor:
        return self.every(self.fold(items, chosen, folding), stop=stop)
