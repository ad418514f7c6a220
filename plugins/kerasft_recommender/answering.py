"""Lists of items for users, in the graph, with core TensorFlow operations only."""

from __future__ import annotations

import tensorflow as tf

from kerasft_recommender.catalogue import Catalogue
from kerasft_recommender.vocabulary import UNKNOWN

_NEVER = float("-inf")


def best(scores: tf.Tensor, k: tf.Tensor, catalogue: Catalogue) -> dict[str, tf.Tensor]:
    """Returns the items with the best scores.

    Args:
        scores: float32 `[n, known rows]`; -inf takes no part.
        k: How many each row wants, int64 `[n]`, at least 1.
        catalogue: Knows the ids.

    Returns:
        "item_ids" string and "scores" float32, `[n, largest k]` but at most as many as there are items; where
        a row wants fewer, or has no more, "" and 0.
    """
    checks = [tf.debugging.Assert(tf.reduce_all(k >= 1), ["k must be at least 1, but is", k])]
    with tf.control_dependencies(checks):
        most = tf.constant(len(catalogue.items) - 1, tf.int64)
        k = tf.cast(tf.minimum(k, most), tf.int32)
    width = tf.reduce_max(tf.concat([k, [1]], 0))
    scores = tf.concat([tf.fill([tf.shape(scores)[0], 1], _NEVER), scores[:, 1:]], 1)
    values, rows = tf.math.top_k(scores, width)
    shown = (tf.range(width)[None] < k[:, None]) & (values > _NEVER)
    return {
        "item_ids": catalogue.items.names(tf.where(shown, rows, UNKNOWN)),
        "scores": tf.where(shown, values, 0.0),
    }


def without(scores: tf.Tensor, rows: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
    """Takes out some entries: -inf at `scores[rows[i], items[i]]`."""
    places = tf.stack([rows, items], 1)
    return tf.tensor_scatter_nd_update(scores, places, tf.fill(tf.shape(rows), _NEVER))


def ridge(vectors: tf.Tensor, chosen: tf.Tensor, every: tf.Tensor) -> tf.Tensor:
    """Fits a user's vector to items with the others fixed, as implicit matrix factorisation does.

    Solves `(w V'V + (1 - w) C'C + I) u = C'1` for the vectors V of all items and C of those chosen, with
    w = 0.1. Source: Hu et al., 2008, "Collaborative Filtering for Implicit Feedback Datasets", equation 4.

    Args:
        vectors: Of the items of each user, float32 `[n, m, width]`.
        chosen: Which of them are there, bool `[n, m]`.
        every: Of all items, `[items, width]`.

    Returns:
        float32 `[n, width]`.
    """
    weight, strength = 0.1, 1.0
    vectors = vectors * tf.cast(chosen, tf.float32)[..., None]
    gram = weight * tf.matmul(every, every, transpose_a=True)
    own = (1 - weight) * tf.matmul(vectors, vectors, transpose_a=True)
    matrix = gram + own + strength * tf.eye(every.shape[-1])
    wanted = tf.reduce_sum(vectors, 1)[..., None]
    return tf.linalg.cholesky_solve(tf.linalg.cholesky(matrix), wanted)[..., 0]
