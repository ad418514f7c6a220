"""Neural matrix factorisation: both at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kerasft_recommender.layers import Table
from kerasft_recommender.scorers.base import Scorer
from kerasft_recommender.scorers.gmf import GMF
from kerasft_recommender.scorers.mlp import MLP, Tower

Rows = np.ndarray


@keras.saving.register_keras_serializable(package="kerasft_recommender")
class NeuMF(Scorer):
    """The products of GMF and the last hidden layer of an MLP, weighed by one layer.

    One table an entity holds the vectors of both parts side by side, that of items a bias as well.
    Source: He et al., 2017, "Neural Collaborative Filtering", section 3.4.

    Args:
        user_rows: Rows of the table of users.
        item_rows: Rows of the table of items.
        factors: Length of a vector of the GMF part.
        layers: Widths of the MLP part: of both vectors together, then of the hidden layers.
        deviation: Standard deviation of vectors at the start.

    Example:
        >>> scorer = NeuMF(user_rows=3, item_rows=5, factors=2, layers=(8, 4, 2), deviation=0.1)
        >>> scorer(tf.constant([1, 2]), tf.constant([[4, 1], [2, 2]])).shape
        TensorShape([2, 2])
    """

    user_table: Table

    def __init__(
        self,
        *,
        user_rows: int,
        item_rows: int,
        factors: int,
        layers: Sequence[int],
        deviation: float,
        **kwargs: Any,
    ) -> None:
        super().__init__(dtype="float32", **kwargs)
        self.factors = factors
        width = factors + layers[0] // 2
        self.user_table = Table(user_rows, width, deviation=deviation, name="users")
        self.item_table = Table(item_rows, width + 1, deviation=deviation, name="items")
        self.tower = Tower(layers[1:], name="tower")
        self.head = keras.layers.Dense(1, dtype="float32", name="head")
        self.head.build((None, factors + layers[-1]))
        self(tf.zeros((1,), tf.int32), tf.zeros((1, 1), tf.int32))
        self.groups = {
            "user_table": [self.user_table],
            "item_table": [self.item_table],
            "tower": [self.tower],
            "head": [self.head],
        }

    def user(self, rows: Any) -> tf.Tensor:
        return self.user_table(rows)

    def free(self, items: tf.Tensor) -> tf.Tensor:
        return items[..., :-1]

    def directions(self, *, stop: int) -> tf.Tensor:
        return tf.math.l2_normalize(self.free(self.items()[:stop]), -1)

    def pairs(self, users: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
        return self._scored(users, *self._parts(items))

    def of_rows(self, users: tf.Tensor, rows: tf.Tensor, *, training: bool) -> tf.Tensor:
        return self._scored(users, *self.item_table.each(self._parts, rows))

    def _parts(self, items: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Returns factors, what the tower takes, and biases."""
        factors, hidden, bias = tf.split(items, [self.factors, items.shape[-1] - self.factors - 1, 1], -1)
        return factors, self.tower.first(hidden), bias[..., 0]

    def _scored(self, users: tf.Tensor, factors: tf.Tensor, firsts: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
        # A layer over products and hidden side by side is the sum of a layer over each.
        of_products, of_hidden = tf.split(self.head.kernel, [self.factors, self.tower.widths[-1]])
        weighed = users[:, None, : self.factors] * of_products[:, 0]
        hidden = self.tower(users[:, self.factors :], firsts)
        scores = tf.reduce_sum(weighed * factors, -1) + tf.matmul(hidden, of_hidden)[..., 0]
        return scores + self.head.bias + bias

    def combine(self, gmf: GMF, mlp: MLP, *, users: Rows, items: Rows, alpha: float) -> None:
        """Takes both parts from scorers trained apart.

        Args:
            gmf: Its score counts `alpha`.
            mlp: Its score counts `1 - alpha`.
            users: Rows of a user here, in `gmf` and in `mlp`, int `[known, 3]`.
            items: The same of items.
            alpha: Between 0 and 1 (He et al., 2017, equation 13).
        """
        tables = (
            (self.user_table, gmf.user_table, mlp.user_table),
            (self.item_table, gmf.item_table, mlp.item_table),
        )
        for (mine, first, second), rows in zip(tables, (users, items), strict=True):
            here, there, other = rows.T
            values = mine.table.numpy()
            values[here, : self.factors] = first.table.numpy()[there, : self.factors]
            split = self.factors + mlp.user_table.width
            values[here, self.factors : split] = second.table.numpy()[other]
            if first is gmf.item_table:
                values[here, -1] = alpha * first.table.numpy()[there, -1]
            mine.table.assign(values)
        for mine, theirs in zip(self.tower.weights, mlp.tower.weights, strict=True):
            mine.assign(theirs)
        products, hidden = gmf.importance.weight.numpy()[:, None], mlp.head.kernel.numpy()
        self.head.kernel.assign(np.concatenate([alpha * products, (1 - alpha) * hidden]))
        self.head.bias.assign((1 - alpha) * mlp.head.bias.numpy())
