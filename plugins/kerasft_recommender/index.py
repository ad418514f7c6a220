"""How the best items are found: an inverted file that is probed as far as a wanted recall takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from kerasft_recommender.answering import NEVER
from kerasft_recommender.clustering import clusters
from kerasft_recommender.inverted import Found, InvertedFile
from kerasft_recommender.vocabulary import UNKNOWN

if TYPE_CHECKING:
    from kerasft_recommender.catalogue import Catalogue

_SAMPLE = 500
_CHUNK = 65_536
_LISTS = 4.0


@dataclass(frozen=True, kw_only=True)
class Probing:
    """How many lists are probed, and what that reaches.

    Args:
        probes: Lists of a query.
        recall: Share of the best items, by all scores, that are in these lists.
        queries: How many queries it was measured with.
    """

    probes: int
    recall: float
    queries: int


class Index:
    """An inverted file of a scorer's items, with numbers of lists to probe.

    Args:
        file: The lists.
        users: For the best items of a user.
        items: For the items that are like one.
        popular: Rows of items, most chosen first.
        popularity: Scores of these, for whoever is unknown.
        k: Length of the lists that recall was measured with.
    """

    def __init__(
        self,
        file: InvertedFile,
        *,
        users: Probing,
        items: Probing,
        popular: np.ndarray,
        popularity: np.ndarray,
        k: int,
    ) -> None:
        self.file = file
        self.users = users
        self.items = items
        self.k = k
        candidates = users.probes * file.length
        room = (0, max(0, candidates - len(popular)))
        rows, scores = np.pad(popular[:candidates], room), np.pad(popularity[:candidates], room)
        with tf.init_scope():
            self._popular = tf.Variable(rows.astype(np.int32), trainable=False, name="index_popular")
            self._popularity = tf.Variable(
                scores.astype(np.float32), trainable=False, name="index_popularity"
            )

    @classmethod
    def build(cls, scorer: Any, catalogue: Catalogue, *, recall: float, k: int, seed: int) -> Index:
        """Makes the lists and tries how many must be probed.

        Recall is measured as lists are served: of the k items with the best scores that a user did not
        choose, how many are in the lists probed; for items that are like one, by the items themselves.

        Args:
            scorer: A `Vectored` one.
            catalogue: Users, items and choices.
            recall: What is wanted, 0 to 1.
            k: Of how many items.
            seed: Draws the sample of users and items, and the first centres.
        """
        known = len(catalogue.items)
        points = _points(scorer, known)
        free = points[:, : points.shape[1] - int(scorer.biased)]
        free = free / np.maximum(np.linalg.norm(free, axis=1, keepdims=True), 1e-12)
        # By direction: of vectors as they are, a third more must be probed (MovieLens, gmf).
        lists = [rows + 1 for rows in clusters(free[1:], round(_LISTS * known**0.5), seed=seed)]
        file = InvertedFile(points, lists, biased=scorer.biased)
        random = np.random.default_rng(seed)
        rows = np.flatnonzero(np.diff(catalogue.histories.offsets))
        rows = random.choice(rows, min(_SAMPLE, len(rows)), replace=False)
        users = scorer.queries(
            scorer.users_for({"user": tf.constant(rows, tf.int32)}, training=False)
        ).numpy()
        best = _best(users, points, catalogue.histories.pairs_of(rows), k=min(k, known - 1))
        of_users = _probing(file, users, best, recall, alike=False)
        rows = random.choice(np.arange(1, known), min(_SAMPLE, known - 1), replace=False)
        best = _best(free[rows], free, (np.arange(len(rows)), rows), k=min(k, known - 1))
        of_items = _probing(file, free[rows], best, recall, alike=True)
        counts = catalogue.histories.popularity[:known]
        popular = np.argsort(-counts[1:], kind="stable") + 1
        return cls(
            file,
            users=of_users,
            items=of_items,
            popular=popular,
            popularity=np.log1p(counts[popular]),
            k=k,
        )

    @property
    def resources(self) -> list[Any]:
        """What an export must keep."""
        return [self.file, self._popular, self._popularity]

    def search(self, queries: tf.Tensor, known: tf.Tensor, *, alike: bool = False) -> Found:
        """Returns candidates for queries; of those that are not known the most popular items.

        Args:
            queries: See `InvertedFile.search`.
            known: Whether there is anything to go by, bool `[n]`.
            alike: For items that are like one; where nothing is known there is no candidate.
        """
        probes = self.items.probes if alike else self.users.probes
        found = self.file.search(queries, probes=probes, alike=alike)
        if alike:
            return found._replace(scores=tf.where(known[:, None], found.scores, NEVER))
        popularity = tf.where(self._popular == UNKNOWN, NEVER, self._popularity.value())
        rows = tf.where(known[:, None], found.rows, self._popular[None])
        return found._replace(rows=rows, scores=tf.where(known[:, None], found.scores, popularity[None]))

    def facts(self) -> dict[str, Any]:
        """Returns what a manifest says of it."""
        share = self.users.probes / self.file.count
        return {
            "kind": "ivf",
            "lists": self.file.count,
            "longest_list": self.file.length,
            "probes": self.users.probes,
            "probed_share": round(share, 4),
            f"recall@{self.k}": round(self.users.recall, 4),
            "users_measured": self.users.queries,
            "similar_items_probes": self.items.probes,
            f"similar_items_recall@{self.k}": round(self.items.recall, 4),
            "items_measured": self.items.queries,
        }


def _points(scorer: Any, known: int) -> np.ndarray:
    parts = [
        scorer.points(start=start, stop=min(start + _CHUNK, known)).numpy()
        for start in range(0, known, _CHUNK)
    ]
    return np.concatenate(parts)


def _best(
    queries: np.ndarray, points: np.ndarray, hidden: tuple[np.ndarray, np.ndarray], *, k: int
) -> np.ndarray:
    """Rows with the largest dot products `[queries, k]`, by all of them; 0 where all others are hidden."""
    scores: np.ndarray = np.full((len(queries), k), -np.inf, np.float32)
    rows: np.ndarray = np.full((len(queries), k), UNKNOWN)
    for start in range(1, len(points), _CHUNK):
        stop = min(start + _CHUNK, len(points))
        found = queries @ points[start:stop].T
        inside = (hidden[1] >= start) & (hidden[1] < stop)
        found[hidden[0][inside], hidden[1][inside] - start] = -np.inf
        scores = np.concatenate([scores, found], 1)
        here = np.broadcast_to(np.arange(start, stop), found.shape)
        rows = np.concatenate([rows, here], 1)
        top = np.argpartition(-scores, k - 1, 1)[:, :k]
        scores, rows = (np.take_along_axis(array, top, 1) for array in (scores, rows))
    return np.where(scores > -np.inf, rows, UNKNOWN)


def _probing(
    file: InvertedFile, queries: np.ndarray, best: np.ndarray, recall: float, *, alike: bool
) -> Probing:
    """The fewest probes that reach a recall; all queries at once, as it takes the place of a list alone."""
    order = np.argsort(-file.order(tf.constant(queries), alike=alike).numpy(), 1, kind="stable")
    places = np.empty_like(order)
    np.put_along_axis(places, order, np.arange(file.count)[None], 1)
    needed = np.take_along_axis(places, file.lists_of(best), 1)[best != UNKNOWN]
    if not len(needed):
        return Probing(probes=1, recall=1.0, queries=len(queries))
    reached = np.cumsum(np.bincount(needed, minlength=file.count)) / len(needed)
    probes = min(int(np.searchsorted(reached, recall)) + 1, file.count)
    return Probing(probes=probes, recall=float(reached[probes - 1]), queries=len(queries))
