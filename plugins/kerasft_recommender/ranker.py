"""The model of a recommender: a scorer under an objective."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kerasft_recommender.folding import Alike, Folding, Ridge
from kerasft_recommender.likeness import mean_of_alike
from kerasft_recommender.objectives import Objective
from kerasft_recommender.scorers import Scorer
from kerasft_recommender.scorers.vectored import Vectored


class Ranker(keras.Model):
    """Scores the items of a batch as its objective wants them.

    It computes in float32, hidden layers apart: rows of tables are read and moved, hardly computed with.

    Args:
        scorer: How much a user likes an item.
        objective: What is learned.
        penalty: Weight of the mean squared length of the vectors of users and of items; biases are free, so
            that of a user with few choices what is left is popularity.

    Attributes:
        apart: Whether the users who came last are learned alone. Where a user is a row, the penalty of users
            then is of the distance from what their choices let expect (`mean_of_alike`), or from the mean of
            those who were there, where scores are no chances: a new user is like others until choices say
            otherwise.
    """

    apart: bool = False

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
            of_users = self._excess(self.scorer.regularized(inputs), inputs["user"])
            present = [v for v in (of_users, self.scorer.free(of_items)) if v is not None]
            lengths = [tf.reduce_mean(tf.reduce_sum(tf.square(v), -1)) for v in present]
            if self.objective.by_user:
                # Rows of items to come are kept short too, but make the mean of those that are there no less.
                lengths[-1] *= of_items.shape[0] / len(self.objective.catalogue.items)
            self.add_loss(self.penalty * tf.add_n(lengths))
        return self.objective.scores(self.scorer, inputs, training=bool(training))

    def welcome(self) -> None:
        """Lets the rows of the users who came last begin at what they are expected to be near."""
        table, catalogue = self.scorer.user_table, self.objective.catalogue
        if table is not None and len(catalogue.first):
            table.put(catalogue.last, self._expected(table))

    def folding(self) -> Folding | None:
        """Returns what finds vectors for histories; None where the scorer needs none or has its own way."""
        scorer, catalogue = self.scorer, self.objective.catalogue
        if not isinstance(scorer, Vectored) or scorer.user_table is None:
            return None
        stop = len(catalogue.items)
        if not (self.objective.normalised and self.penalty):
            return Ridge(scorer.free(scorer.points(start=1, stop=stop)))
        users = np.flatnonzero(np.diff(catalogue.histories.offsets)).astype(np.int32)
        # The loss counts a user in units of the usual number of choices, or is the mean over choices.
        pull = 2 * self.penalty * np.array([0, catalogue.usual] if self.objective.by_user else [1, 0])
        return Alike(scorer, users, stop=stop, pull=tuple(pull.tolist()))

    def _expected(self, read: Callable[[Any], tf.Tensor]) -> tf.Tensor:
        """Returns vectors `[n, width]` for the users who came last, from those that `read` gives of rows."""
        catalogue = self.objective.catalogue
        new, others = catalogue.last, catalogue.first
        if not (self.scorer.by_row and self.objective.normalised):
            return tf.repeat(tf.reduce_mean(read(tf.constant(others)), 0, keepdims=True), len(new), 0)
        return mean_of_alike(
            self.scorer, catalogue.histories, new=new, others=others, stop=len(catalogue.items), read=read
        )

    def _excess(self, users: tf.Tensor | None, rows: tf.Tensor) -> tf.Tensor | None:
        """Returns what the penalty of users is of, for their vectors and rows."""
        catalogue = self.objective.catalogue
        if users is None or not (self.apart and self.scorer.by_row and len(catalogue.first)):
            return users
        with tf.init_scope():
            # Outside of the graph: read once, when a step is compiled, and no constant of the graph.
            expected = self._expected(self.scorer.user)
        places = rows - catalogue.new_from
        near = tf.gather(expected, tf.maximum(places, 0))
        return tf.where((places >= 0)[:, None], users - near, users)
