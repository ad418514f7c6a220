"""What a server answers: the signatures of the recommender, in the graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from kerasft_recommender import answering
from kerasft_recommender.features import context_spec
from kerasft_recommender.folding import Folding
from kerasft_recommender.index import Index
from kerasft_recommender.vocabulary import UNKNOWN

if TYPE_CHECKING:
    from kerasft_recommender.task import Recommender

Answer = dict[str, tf.Tensor]
Hidden = tuple[tf.Tensor, tf.Tensor]
"""What to leave out: the position of a query, and the row of an item, int32 `[m]` each."""


def signatures(context: Any) -> dict[str, dict[str, tf.TensorSpec]]:
    """Returns the inputs of each signature.

    Args:
        context: Configs of the features that come with a request.
    """

    def strings(*shape: int | None) -> tf.TensorSpec:
        return tf.TensorSpec(shape, tf.string)

    k = {"k": tf.TensorSpec([None], tf.int64)}
    seen = {"exclude_seen": tf.TensorSpec([None], tf.bool)}
    moment = {feature.name: context_spec(feature) for feature in context}
    return {
        "serving_default": {"user_id": strings(None), **k, **seen, **moment},
        "recommend_from_history": {"item_ids": strings(None, None), **k},
        "score": {"user_id": strings(None), "item_ids": strings(None, None), **moment},
        "similar_items": {"item_id": strings(None), **k},
    }


class Answers:
    """Answers requests with a trained recommender.

    Lists come from the scores of all items, or from an index; the latter gives way to the former where it has
    fewer candidates than a request asks for, so a list is never short for want of probing.

    Args:
        task: With a trained model.
        index: Where to look for the best items; None: among all.
        folding: Finds the vectors that scorers of vectors need for histories.
    """

    def __init__(self, task: Recommender, index: Index | None, folding: Folding | None) -> None:
        self.task = task
        self.catalogue = task.catalogue
        self.scorer = task.scorer
        self.index = index
        self.folding = folding
        self.stop = len(task.catalogue.items)

    def __call__(self, signature: str, inputs: Mapping[str, Any]) -> Answer:
        """Answers a request of one of `signatures`."""
        answers: dict[str, Callable[..., Answer]] = {
            "serving_default": self.recommend,
            "recommend_from_history": self.recommend_from_history,
            "score": self.score,
            "similar_items": self.similar_items,
        }
        return answers[signature](**inputs)

    def recommend(self, *, user_id: Any, k: Any, exclude_seen: Any, **context: Any) -> Answer:
        """Returns the best items for users; for whoever is unknown what most chose."""
        users = self.catalogue.users.rows(user_id)
        known = users != UNKNOWN
        moment = self._dense_moment(context)
        rows, items = self.catalogue.histories.seen_by(users)
        left_out = tf.gather(exclude_seen, rows)

        def queries() -> tf.Tensor:
            return self.scorer.queries(self.scorer.users_for({"user": users}, training=False))

        best = self._best(
            k,
            known,
            lambda: self.task.every_score(users, moment),
            queries,
            hidden=(rows[left_out], items[left_out]),
        )
        shown = self.task.model.objective.shown(best["scores"], users)
        shown = tf.where(best["item_ids"] != "", shown, 0.0)
        best["scores"] = tf.where(known[:, None], shown, best["scores"])
        return {**best, "known": known}

    def recommend_from_history(self, *, item_ids: Any, k: Any) -> Answer:
        """Returns the best items for whoever chose some, and need not be known."""
        items = self.catalogue.items.rows(item_ids)
        chosen = items != UNKNOWN
        known = tf.reduce_any(chosen, 1)
        places = tf.cast(tf.where(chosen), tf.int32)

        def queries() -> tf.Tensor:
            return self.scorer.queries(self.scorer.fold(items, chosen, self.folding))

        best = self._best(
            k,
            known,
            lambda: self.scorer.of_history(items, chosen, self.folding, stop=self.stop),
            queries,
            hidden=(places[:, 0], tf.boolean_mask(items, chosen)),
        )
        return {**best, "known": known}

    def score(self, *, user_id: Any, item_ids: Any, **context: Any) -> Answer:
        """Returns the scores of some items for users."""
        users, items = self.catalogue.users.rows(user_id), self.catalogue.items.rows(item_ids)
        known = (users != UNKNOWN)[:, None] & (items != UNKNOWN)
        moment = self._dense_moment(context)
        vectors = self.scorer.users_for({"user": users, **moment}, training=False)
        scores = self.scorer.pairs(vectors, self.scorer.item(items))
        return {"scores": self.task.estimates(scores, users, items), "known": known}

    def similar_items(self, *, item_id: Any, k: Any) -> Answer:
        """Returns the items that are most like one, by cosine; of an unknown one none."""
        items = self.catalogue.items.rows(item_id)
        known = items != UNKNOWN

        def scores() -> tf.Tensor:
            vectors = self.scorer.directions(stop=self.stop)
            return tf.matmul(tf.gather(vectors, items), vectors, transpose_b=True)

        def queries() -> tf.Tensor:
            return tf.math.l2_normalize(self.scorer.free(self.scorer.item(items)), -1)

        hidden = tf.range(tf.size(items)), items
        best = self._best(k, known, scores, queries, hidden=hidden, alike=True)
        return {**best, "known": known}

    def _dense_moment(self, context: Mapping[str, Any]) -> dict[str, Any]:
        values = self.task.moment(context)
        return {k: v.to_tensor() if isinstance(v, tf.RaggedTensor) else v for k, v in values.items()}

    def _best(
        self,
        k: tf.Tensor,
        known: tf.Tensor,
        scores: Callable[[], tf.Tensor],
        queries: Callable[[], tf.Tensor],
        *,
        hidden: Hidden,
        alike: bool = False,
    ) -> Answer:
        def of_all() -> Answer:
            instead = float("-inf") if alike else self._popularity()[None]
            every = tf.where(known[:, None], scores(), instead)
            return answering.best(answering.without(every, *hidden), k, self.catalogue)

        if self.index is None:
            return of_all()
        found = self.index.search(queries(), known, alike=alike)
        found = self.index.file.without(found, *hidden)
        count = tf.shape(known)[0]
        left_out = tf.math.unsorted_segment_sum(tf.ones_like(hidden[0]), hidden[0], count)
        wanted = tf.minimum(tf.cast(k, tf.int32), self.stop - 1 - left_out)
        wanted = tf.where(known, wanted, 0) if alike else wanted
        there = tf.reduce_sum(tf.cast(found.scores > answering.NEVER, tf.int32), 1)
        return tf.cond(
            tf.reduce_all(there >= wanted),
            lambda: answering.best(found.scores, k, self.catalogue, rows=found.rows),
            of_all,
        )

    def _popularity(self) -> tf.Tensor:
        counts = self.catalogue.histories.popularity[: self.stop]
        return tf.constant(np.log1p(counts), tf.float32)
