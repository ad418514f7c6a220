"""An inverted file: of a large catalogue only the lists of items near a user are scored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from kerasft_recommender.answering import NEVER
from kerasft_recommender.vocabulary import UNKNOWN


class Found(NamedTuple):
    """Candidates for each query.

    Attributes:
        rows: The item of each candidate, int32 `[n, candidates]`; 0 where a list is filled up.
        scores: Its score, float32 `[n, candidates]`; -inf where there is none.
        lists: The lists that they are from, best first, int32 `[n, probes]`.
    """

    rows: tf.Tensor
    scores: tf.Tensor
    lists: tf.Tensor


class InvertedFile(tf.Module):
    """Vectors of items in lists of neighbours, all filled up to one length.

    A query is compared with the mean of each list, and then with all vectors in the best ones: by dot
    product, or, for items that are alike, by cosine without the biases. Everything is a variable, so an
    export has it, and all operations are core ones. Source: Jégou et al., 2011, "Product Quantization for
    Nearest Neighbor Search", section 4.

    Args:
        points: Vectors of the items by row, float32 `[rows, width]`; row 0 is no item.
        lists: The rows of the items of each list; every row but 0 in one list.
        biased: Whether the last entry of a vector is a bias, of no account to cosines.

    Attributes:
        count: How many lists.
        length: The length that lists are filled up to.

    Example:
        >>> points = np.array([[0, 0], [1, 0], [2, 0], [0, 3]], np.float32)
        >>> file = InvertedFile(points, [np.array([1, 2]), np.array([3])], biased=False)
        >>> found = file.search(tf.constant([[1.0, 0.5]]), probes=1)
        >>> found.rows.numpy().tolist(), found.scores.numpy().tolist()
        ([[1, 2]], [[1.0, 2.0]])
    """

    def __init__(self, points: np.ndarray, lists: Sequence[np.ndarray], *, biased: bool) -> None:
        super().__init__()
        self.count = len(lists)
        self.length = max(map(len, lists))
        self.width = points.shape[1]
        self.free = self.width - int(biased)
        members = np.full((self.count, self.length), UNKNOWN, np.int32)
        for place, rows in enumerate(lists):
            members[place, : len(rows)] = rows
        there = members != UNKNOWN
        sizes = there.sum(1)[:, None].astype(np.float32)
        packed = np.where(there[..., None], points[members], 0.0).astype(np.float32)
        long = np.linalg.norm(packed[..., : self.free], axis=-1)
        scale = np.divide(1.0, long, out=np.zeros_like(long), where=long > 0)
        places = np.zeros(len(points), np.int32)
        places[members[there]] = np.flatnonzero(there)
        values = {
            "members": members,
            "points": packed,
            "scale": scale,
            "places": places,
            "means": packed.sum(1) / sizes,
            "directions": (packed[..., : self.free] * scale[..., None]).sum(1) / sizes,
        }
        with tf.init_scope():
            for name, value in values.items():
                setattr(self, f"_{name}", tf.Variable(value, trainable=False, name=f"index_{name}"))

    def lists_of(self, rows: np.ndarray) -> np.ndarray:
        """Returns the list of each row of items."""
        return self._places.numpy()[rows] // self.length

    def order(self, queries: tf.Tensor, *, alike: bool = False) -> tf.Tensor:
        """Returns by which lists are chosen: float32 `[n, lists]`, the larger the sooner; see `search`."""
        return tf.matmul(queries, self._directions if alike else self._means, transpose_b=True)

    def search(self, queries: tf.Tensor, *, probes: int, alike: bool = False) -> Found:
        """Scores the items of the best lists.

        Args:
            queries: float32 `[n, width]`; without a bias where `alike`.
            probes: How many lists.
            alike: By cosine to the query, a vector of length 1, instead of by dot product.
        """
        _, lists = tf.math.top_k(self.order(queries, alike=alike), probes)
        candidates = probes * self.length

        def scored(query_and_lists: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
            query, chosen = query_and_lists
            near = tf.reshape(tf.gather(self._points, chosen), [candidates, self.width])
            if not alike:
                return tf.linalg.matvec(near, query)
            scale = tf.reshape(tf.gather(self._scale, chosen), [candidates])
            return tf.linalg.matvec(near[:, : self.free], query) * scale

        # One query at a time: the vectors of its lists are what takes memory.
        spec = tf.TensorSpec([candidates], tf.float32)
        scores = tf.map_fn(scored, (queries, lists), fn_output_signature=spec)
        rows = tf.reshape(tf.gather(self._members, lists), [-1, candidates])
        return Found(rows, tf.where(rows == UNKNOWN, NEVER, scores), lists)

    def without(self, found: Found, queries: tf.Tensor, items: tf.Tensor) -> Found:
        """Takes out items, wherever they are among the candidates.

        Args:
            found: From `search`.
            queries: Whose candidates, int32 `[m]`.
            items: Rows of items, int32 `[m]`.
        """
        count, probes = tf.shape(found.lists)[0], found.lists.shape[1]
        which = tf.repeat(tf.range(count), probes)
        where = tf.stack([which, tf.reshape(found.lists, [-1])], 1)
        order = tf.tile(tf.range(1, probes + 1), [count])
        probed = tf.scatter_nd(where, order, [count, self.count]) - 1
        places = tf.gather(self._places, items)
        order = tf.gather_nd(probed, tf.stack([queries, places // self.length], 1))
        among = (order >= 0) & (items != UNKNOWN)
        columns = tf.boolean_mask(order * self.length + places % self.length, among)
        hidden = tf.stack([tf.boolean_mask(queries, among), columns], 1)
        nothing = tf.fill(tf.shape(columns), NEVER)
        return found._replace(scores=tf.tensor_scatter_nd_update(found.scores, hidden, nothing))
