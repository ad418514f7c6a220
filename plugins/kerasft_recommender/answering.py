"""Lists of items for users, in the graph, with core TensorFlow operations only."""

from __future__ import annotations

import tensorflow as tf

from kerasft_recommender.catalogue import Catalogue
from kerasft_recommender.vocabulary import UNKNOWN

NEVER = float("-inf")
"""Score of what takes no part."""


def best(
    scores: tf.Tensor, k: tf.Tensor, catalogue: Catalogue, *, rows: tf.Tensor | None = None
) -> dict[str, tf.Tensor]:
    """Returns the items with the best scores.

    Args:
        scores: float32 `[n, candidates]`; -inf takes no part.
        k: How many each row wants, int64 `[n]`, at least 1.
        catalogue: Knows the ids.
        rows: The item of each candidate, int32 `[n, candidates]`; if None, all known rows in their order.

    Returns:
        "item_ids" string and "scores" float32, `[n, largest k]` but at most as many as there are items; where
        a row wants fewer, or has no more, "" and 0.
    """
    checks = [tf.debugging.Assert(tf.reduce_all(k >= 1), ["k must be at least 1, but is", k])]
    with tf.control_dependencies(checks):
        most = tf.constant(len(catalogue.items) - 1, tf.int64)
        k = tf.cast(tf.minimum(k, most), tf.int32)
    width = tf.reduce_max(tf.concat([k, [1]], 0))
    if rows is None:
        scores = tf.concat([tf.fill([tf.shape(scores)[0], 1], NEVER), scores[:, 1:]], 1)
        values, best_rows = tf.math.top_k(scores, width)
    else:
        width = tf.minimum(width, tf.shape(scores)[1])
        values, places = tf.math.top_k(tf.where(rows == UNKNOWN, NEVER, scores), width)
        best_rows = tf.gather(rows, places, batch_dims=1)
    shown = (tf.range(tf.shape(values)[1])[None] < k[:, None]) & (values > NEVER)
    return {
        "item_ids": catalogue.items.names(tf.where(shown, best_rows, UNKNOWN)),
        "scores": tf.where(shown, values, 0.0),
    }


def without(scores: tf.Tensor, rows: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
    """Takes out some entries: -inf at `scores[rows[i], items[i]]`."""
    places = tf.stack([rows, items], 1)
    return tf.tensor_scatter_nd_update(scores, places, tf.fill(tf.shape(rows), NEVER))


def ridge(vectors: tf.Tensor, chosen: tf.Tensor, gram: tf.Tensor) -> tf.Tensor:
    """Fits a user's vector to items with the others fixed, as implicit matrix factorisation does.

    Solves `(w V'V + (1 - w) C'C + I) u = C'1` for the vectors V of all items and C of those chosen, with
    w = 0.1. Source: Hu et al., 2008, "Collaborative Filtering for Implicit Feedback Datasets", equation 4.

    Args:
        vectors: Of the items of each user, float32 `[n, m, width]`.
        chosen: Which of them are there, bool `[n, m]`.
        gram: V'V, `[width, width]`.

    Returns:
        float32 `[n, width]`.
    """
    weight, strength = 0.1, 1.0
    vectors = vectors * tf.cast(chosen, tf.float32)[..., None]
    own = (1 - weight) * tf.matmul(vectors, vectors, transpose_a=True)
    matrix = weight * gram + own + strength * tf.eye(gram.shape[-1])
    wanted = tf.reduce_sum(vectors, 1)[..., None]
    return tf.linalg.cholesky_solve(tf.linalg.cholesky(matrix), wanted)[..., 0]
