"""Vectors for people who come with a history, and whom training did not see."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
import tensorflow as tf

from kerasft_recommender.answering import ridge
from kerasft_recommender.likeness import counted

_USERS = 1000
_PAIRS = 1 << 28
_SCORES = 1 << 24


class Folding:
    """Finds the vector of a user from vectors of the items of a history, in the graph.

    Attributes:
        resources: What an export must keep.
    """

    resources: list[Any]

    @abstractmethod
    def __call__(self, items: tf.Tensor, chosen: tf.Tensor) -> tf.Tensor:
        """Returns vectors of users, float32 `[n, width]`.

        Args:
            items: Of the items of each history, without biases, float32 `[n, m, width]`.
            chosen: Which of them are there, bool `[n, m]`.
        """


class Ridge(Folding):
    """The ridge solution for scores of 1 for what was chosen and 0 for the rest, see `answering.ridge`.

    Args:
        vectors: Of all items, without biases, float32 `[items, width]`.
    """

    def __init__(self, vectors: tf.Tensor) -> None:
        with tf.init_scope():
            gram = tf.matmul(vectors, vectors, transpose_a=True)
            self._gram = tf.Variable(gram, trainable=False, name="folding_gram")
        self.resources = [self._gram]

    def __call__(self, items: tf.Tensor, chosen: tf.Tensor) -> tf.Tensor:
        return ridge(items, chosen, self._gram.value())


class Alike(Folding):
    """One step from the mean of those who would have chosen the same to what training would find.

    The mean is that of `likeness.mean_of_alike`, over at most 1,000 users. The step is Newton's, of the
    cross-entropy of the choices and the penalty of the distance from the mean; for the items expected of the
    user the mean of those expected of the others is taken, and for the curvature that of their mean user. So
    it costs some products of matrices, however many items there are.

    Args:
        scorer: A `Vectored` one, whose scores are logarithms of chances, but for a constant.
        users: Rows of users who chose something, int32 `[k]`.
        stop: Rows of items that can be chosen.
        pull: Weight of the penalty of one choice, and of one user: its gradient is the distance times
            `choices * pull[0] + pull[1]`, in units of the cross-entropy of one choice.
    """

    def __init__(self, scorer: Any, users: np.ndarray, *, stop: int, pull: tuple[float, float]) -> None:
        with tf.init_scope():
            users = users[:: -(-len(users) // max(1, min(_USERS, _PAIRS // stop)))]
            vectors = scorer.user(tf.constant(users))
            points = scorer.free(scorer.points(start=1, stop=stop))
            size = max(1, _SCORES // stop)
            parts = [
                _expected(scorer, points, vectors[start : start + size], stop=stop)
                for start in range(0, len(users), size)
            ]
            logs, means = (tf.concat(part, 0) for part in zip(*parts, strict=True))
            middle = tf.reduce_mean(vectors, 0, keepdims=True)
            chances = tf.nn.softmax(scorer.every(middle, stop=stop)[:, 1:])
            apart = (points - tf.matmul(chances, points)) * tf.sqrt(chances[0])[:, None]
            curvatures, directions = np.linalg.eigh(
                tf.matmul(apart, apart, transpose_a=True).numpy().astype(np.float64)
            )
            kept = {
                "users": vectors,
                "logs": logs,
                "means": means,
                "curvatures": np.maximum(curvatures, 0).astype(np.float32),
                "directions": directions.astype(np.float32),
            }
            self._kept = {
                name: tf.Variable(value, trainable=False, name=f"folding_{name}")
                for name, value in kept.items()
            }
        self._pull = pull
        self.resources = list(self._kept.values())

    def __call__(self, items: tf.Tensor, chosen: tf.Tensor) -> tf.Tensor:
        kept = {name: variable.value() for name, variable in self._kept.items()}
        there = tf.cast(chosen, tf.float32)
        count = tf.reduce_sum(there, 1, keepdims=True)
        total = tf.reduce_sum(items * there[..., None], 1)
        # Biases of the choices count for all users alike.
        logs = tf.matmul(total, kept["users"], transpose_b=True) - count * kept["logs"][None]
        weights = tf.nn.softmax(counted(count) * logs)
        uphill = total - count * tf.matmul(weights, kept["means"])
        curvature = count * (kept["curvatures"] + self._pull[0]) + self._pull[1]
        step = tf.math.divide_no_nan(tf.matmul(uphill, kept["directions"]), curvature)
        return tf.matmul(weights, kept["users"]) + tf.matmul(step, kept["directions"], transpose_b=True)


def _expected(scorer: Any, points: tf.Tensor, users: tf.Tensor, *, stop: int) -> tuple[tf.Tensor, tf.Tensor]:
    scores = scorer.every(users, stop=stop)[:, 1:]
    return tf.reduce_logsumexp(scores, 1), tf.matmul(tf.nn.softmax(scores), points)
