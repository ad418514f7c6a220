"""What all scorers answer."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import keras
import tensorflow as tf


class Scorer(keras.layers.Layer):
    """Scores of items for users, from a vector for each.

    Attributes:
        groups: Layers by layer group, input to head.
        folds_in: Whether the score is a dot product, so that a user can be fitted to items afterwards.
    """

    folds_in: ClassVar[bool] = False
    groups: dict[str, list[keras.layers.Layer]]

    @abstractmethod
    def user(self, rows: Any) -> tf.Tensor:
        """Returns the vectors of users: float32 `[users, width]` for rows int32 `[users]`."""

    @abstractmethod
    def item(self, rows: Any) -> tf.Tensor:
        """Returns the vectors of items: float32 `[..., width]` for rows int32 `[...]`."""

    @abstractmethod
    def items(self) -> tf.Tensor:
        """Returns the vectors of all items: float32 `[rows, width]`."""

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
        """Returns the scores of the first `stop` rows of items for each user, float32 `[users, stop]`."""
        return self.pairs(users, self.items()[None, :stop])

    def call(self, users: Any, items: Any) -> tf.Tensor:
        """Returns scores of some items for each user, float32 `[users, n]`, from rows."""
        return self.pairs(self.user(users), self.item(items))
