"""The model of a recommender: a scorer under an objective."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from kerasft_recommender.objectives import Objective
from kerasft_recommender.scorers import Scorer


class Ranker(keras.Model):
    """Scores the items of a batch as its objective wants them.

    It computes in float32, hidden layers apart: rows of tables are read and moved, hardly computed with.

    Args:
        scorer: How much a user likes an item.
        objective: What is learned.
        penalty: Weight of the mean squared length of the vectors of users and of items; biases are free, so
            that of a user with few choices what is left is popularity.
    """

    def __init__(self, *, scorer: Scorer, objective: Objective, penalty: float, **kwargs: Any) -> None:
        super().__init__(dtype="float32", **kwargs)
        self.scorer = scorer
        self.objective = objective
        self.penalty = penalty
        self.built = True

    def call(self, inputs: dict[str, Any], training: bool = False) -> tf.Tensor:
        """Returns scores `[examples, n]` of features "user" `[examples]` and "items" `[examples, m]`."""
        if self.penalty:
            of_items = self.scorer.items() if self.objective.by_user else self.scorer.item(inputs["items"])
            of_users = self.scorer.regularized(inputs)
            present = [v for v in (of_users, self.scorer.free(of_items)) if v is not None]
            lengths = [tf.reduce_mean(tf.reduce_sum(tf.square(v), -1)) for v in present]
            self.add_loss(self.penalty * tf.add_n(lengths))
        return self.objective.scores(self.scorer, inputs, training=bool(training))
