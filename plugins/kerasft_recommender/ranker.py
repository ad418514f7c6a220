"""The model of a recommender: a scorer under an objective."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kerasft_recommender.objectives import Objective
from kerasft_recommender.scorers import Scorer
from kerasft_recommender.vocabulary import UNKNOWN

# On MovieLens 1M 15 was too much and 5 was not, for other users than those whose results are told.
_FEW = 3.0


class Ranker(keras.Model):
    """Scores the items of a batch as its objective wants them.

    It computes in float32, hidden layers apart: rows of tables are read and moved, hardly computed with.

    Args:
        scorer: How much a user likes an item.
        objective: What is learned.
        penalty: Weight of the mean squared length of the vectors of users and of items; biases are free, so
            that of a user with few choices what is left is popularity.

    Attributes:
        others: Rows of users who stay as they are while others are learned, int32 `[n]`; None: all are
            learned. The penalty of users then is of the distance from the mean of these: a new user is like
            most until choices say otherwise. Where it weighs per user, not per choice, that of n choices
            counts n / (n + 3), as one choice would hardly count otherwise.
    """

    others: np.ndarray | None = None

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
            of_users = self._apart(self.scorer.regularized(inputs), inputs["items"])
            present = [v for v in (of_users, self.scorer.free(of_items)) if v is not None]
            lengths = [tf.reduce_mean(tf.reduce_sum(tf.square(v), -1)) for v in present]
            if self.objective.by_user:
                # Rows of items to come are kept short too, but make the mean of those that are there no less.
                lengths[-1] *= of_items.shape[0] / len(self.objective.catalogue.items)
            self.add_loss(self.penalty * tf.add_n(lengths))
        return self.objective.scores(self.scorer, inputs, training=bool(training))

    def _apart(self, users: tf.Tensor | None, items: tf.Tensor) -> tf.Tensor | None:
        """Returns what the penalty is of, for vectors of users who chose items `[users, n]`."""
        typical = None if users is None or self.others is None else self.scorer.typical(self.others)
        if typical is None:
            return users
        apart = users - typical
        if self.objective.by_user:
            count = tf.reduce_sum(tf.cast(items != UNKNOWN, tf.float32), 1, keepdims=True)
            apart *= tf.sqrt(count / (count + _FEW))
        return apart
