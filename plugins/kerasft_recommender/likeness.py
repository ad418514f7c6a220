"""Users who were there before, weighed by how likely they would have chosen what new ones chose."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

if TYPE_CHECKING:
    from kerasft_recommender.histories import Histories
    from kerasft_recommender.scorers import Scorer

# Choices of one user depend on each other, so that many of them would leave one user of all as likely.
# On MovieLens 1M, for other users than those whose results are told.
_CHOICES = 10.0
_OTHERS = 10_000
_PAIRS = 1 << 26
_AT_ONCE = 4096
_SCORES = 1 << 24
_NEVER = -1e9


def mean_of_alike(
    scorer: Scorer,
    histories: Histories,
    *,
    new: np.ndarray,
    others: np.ndarray,
    stop: int,
    read: Callable[[Any], tf.Tensor],
) -> tf.Tensor:
    """Returns what vectors of new users are, by their choices, expected to be near.

    It is the mean over other users, each weighed by the chance of these choices were the new user like them:
    the product of the chances `softmax(scores)` of the choices, to the power of 10 / n for n choices above
    ten. So of a user without choices it is the mean of all others. That is the posterior mean of empirical
    Bayes with the others as the prior: Robbins, 1956, "An Empirical Bayes Approach to Statistics".

    Args:
        scorer: Whose scores are logarithms of chances, but for a constant.
        histories: Who chose what.
        new: Rows of new users, int32 `[n]`.
        others: Rows of the others, int32 `[m]`. At most 10,000, evenly from all, are looked at, and fewer
            where their scores of all items were more than 67 million.
        stop: Rows of items that can be chosen.
        read: Returns vectors `[k, width]` of users from their rows int32 `[k]`.

    Returns:
        float32 `[n, width]`.
    """
    # What no other chose has no chance that anyone learned.
    chosen = np.bincount(histories.pairs_of(others)[1], minlength=stop) > 0
    others = others[:: -(-len(others) // max(1, min(_OTHERS, _PAIRS // stop)))]
    vectors = read(tf.constant(others))
    parts = [
        tf.matmul(_weights(scorer, histories, new=part, others=others, chosen=chosen), vectors)
        for part in np.split(new, range(_AT_ONCE, len(new), _AT_ONCE))
    ]
    return tf.concat(parts, 0)


def counted(choices: tf.Tensor) -> tf.Tensor:
    """Returns how much of a choice counts, float32, where there are so many, float32."""
    return _CHOICES / tf.maximum(choices, _CHOICES)


def _weights(
    scorer: Scorer, histories: Histories, *, new: np.ndarray, others: np.ndarray, chosen: np.ndarray
) -> tf.Tensor:
    stop = len(chosen)
    pairs = np.stack(histories.pairs_of(new), 1)
    pairs = pairs[chosen[pairs[:, 1]]]
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))].astype(np.int64)
    choices = tf.SparseTensor(pairs, np.ones(len(pairs), np.float32), (len(new), stop))
    size = max(1, _SCORES // stop)
    found = []
    for start in range(0, len(others), size):
        scores = scorer.every(scorer.user(tf.constant(others[start : start + size])), stop=stop)
        logs = tf.nn.log_softmax(tf.where(chosen, scores, _NEVER))
        found.append(tf.sparse.sparse_dense_matmul(choices, logs, adjoint_b=True))
    count = np.bincount(pairs[:, 0], minlength=len(new))[:, None]
    return tf.nn.softmax(counted(tf.constant(count, tf.float32)) * tf.concat(found, 1))
