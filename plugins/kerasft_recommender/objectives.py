"""What a recommender learns from choices, by name."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import keras
import tensorflow as tf

from kerasft_recommender.catalogue import Catalogue
from kerasft_recommender.drawing import draw
from kerasft_recommender.scorers import Scorer
from kerasft_recommender.vocabulary import UNKNOWN

_TRIES = 2
_NEVER = -1e9
_EVALUATION_SEED = (1, 0)


class Objective(keras.layers.Layer):
    """Scores items for a batch, and says how wrong the scores are.

    Args:
        catalogue: Users, items and choices; read when a step is compiled.

    Attributes:
        by_user: Whether an example is a user with all items, rather than one choice.
        normalised: Whether a softmax of scores over all items is the chance of each.
    """

    by_user: ClassVar[bool] = False
    normalised: ClassVar[bool] = False

    def __init__(self, catalogue: Catalogue, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.catalogue = catalogue

    @abstractmethod
    def scores(self, scorer: Scorer, features: dict[str, Any], *, training: bool) -> tf.Tensor:
        """Returns scores float32 `[examples, n]`."""

    @abstractmethod
    def loss(self, scores: tf.Tensor, features: dict[str, Any]) -> tf.Tensor:
        """Returns the loss of each example, float32 `[examples]`, from features and targets by name."""

    def shown(self, scores: tf.Tensor, users: tf.Tensor) -> tf.Tensor:
        """Returns scores `[users, n]` as people see them, in the same order; by default as they are."""
        return scores


class FullSoftmax(Objective):
    """Cross-entropy of the items that a user chose against all items of the catalogue.

    With many users in a batch it is one product of matrices, and there is nothing to sample. A user counts as
    often as there are choices, in units of the usual number, so that the penalty of vectors weighs as much
    for users that come later with few choices as for the first. Source: Rendle, 2021, "Item Recommendation
    from Implicit Feedback", section 4.
    """

    by_user = True
    normalised = True

    def scores(self, scorer: Scorer, features: dict[str, Any], *, training: bool) -> tf.Tensor:
        known = len(self.catalogue.items)
        unknown = tf.one_hot(UNKNOWN, known, on_value=_NEVER, off_value=0.0)
        users = scorer.users_for(features, training=training)
        return scorer.every_for(users, stop=known, training=training) + unknown

    def loss(self, scores: tf.Tensor, features: dict[str, Any]) -> tf.Tensor:
        items = features["items"]
        chosen = tf.cast(items != UNKNOWN, tf.float32)
        count = tf.reduce_sum(chosen, 1)
        gained = tf.reduce_sum(tf.gather(scores, items, batch_dims=1) * chosen, 1)
        total = count * tf.reduce_logsumexp(scores, 1) - gained
        return total / self.catalogue.usual


class NextItem(FullSoftmax):
    """Cross-entropy of each choice of a history, given those before it, against all items.

    A user counts as often as there are choices to predict; the first predicts nothing by itself. Source: Kang
    and McAuley, 2018, with the loss of Petrov and Macdonald, 2022, "A Systematic Review and Replicability
    Study of BERT4Rec".
    """

    def scores(self, scorer: Any, features: dict[str, Any], *, training: bool) -> tf.Tensor:
        encoded = scorer.encode(features["items"][:, :-1][:, : scorer.length], training=training)
        known = len(self.catalogue.items)
        unknown = tf.one_hot(UNKNOWN, known, on_value=_NEVER, off_value=0.0)
        return tf.matmul(encoded, scorer.items()[None, :known], transpose_b=True) + unknown

    def loss(self, scores: tf.Tensor, features: dict[str, Any]) -> tf.Tensor:
        wanted = features["items"][:, 1:][:, : tf.shape(scores)[1]]
        there = tf.cast(wanted != UNKNOWN, tf.float32)
        wrong = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=wanted, logits=scores)
        total = tf.reduce_sum(wrong * there, 1)
        return total / tf.maximum(tf.reduce_mean(tf.reduce_sum(there, 1)), 1.0)


class Sampled(Objective):
    """Compares a choice with items that the user did not choose, drawn anew at every step.

    Args:
        catalogue: Users, items and choices.
        negatives: Items drawn for each choice, uniformly; those that the user chose are drawn again, once.
    """

    def __init__(self, catalogue: Catalogue, *, negatives: int, **kwargs: Any) -> None:
        super().__init__(catalogue, **kwargs)
        self.negatives = negatives
        self.seed_generator = keras.random.SeedGenerator()

    def scores(self, scorer: Scorer, features: dict[str, Any], *, training: bool) -> tf.Tensor:
        user, chosen = features["user"], features["items"][:, :1]
        items = tf.concat([chosen, self.draw(user, training=training)], 1)
        users = scorer.users_for(features, training=training)
        return scorer.of_rows(users, items, training=training)

    def draw(self, user: tf.Tensor, *, training: bool) -> tf.Tensor:
        """Returns items that users did not choose, int32 `[users, n]`; the same in every evaluation."""
        # keras.random.randint takes a hundred times as long under XLA.
        seed = self.seed_generator.next() if training else tf.constant(_EVALUATION_SEED)
        count = tf.shape(user)[0] * self.negatives * _TRIES
        drawn = draw(count, len(self.catalogue.items) - 1, seed=seed) + UNKNOWN + 1
        drawn = tf.reshape(drawn, [-1, self.negatives * _TRIES])
        chosen = self.catalogue.histories.contains(user, drawn)
        tries, again = tf.split(drawn, _TRIES, axis=1), tf.split(chosen, _TRIES, axis=1)
        items = tries[-1]
        for candidate, taken in zip(tries[-2::-1], again[-2::-1], strict=True):
            items = tf.where(taken, items, candidate)
        return items


class CrossEntropy(Sampled):
    """Binary cross-entropy of a choice against the drawn items (He et al., 2017)."""

    def loss(self, scores: tf.Tensor, features: dict[str, Any]) -> tf.Tensor:
        wrong = tf.concat([tf.nn.softplus(-scores[:, :1]), tf.nn.softplus(scores[:, 1:])], 1)
        return tf.reduce_mean(wrong, 1)


class PairwiseRanking(Sampled):
    """The chance that a choice ranks above each of the drawn items (BPR; Rendle et al., 2009)."""

    def loss(self, scores: tf.Tensor, features: dict[str, Any]) -> tf.Tensor:
        return tf.reduce_mean(tf.nn.softplus(scores[:, 1:] - scores[:, :1]), 1)


class InBatchSoftmax(Objective):
    """Cross-entropy of a choice against the other choices of the batch.

    An item is among them as often as it is popular, so the logarithm of its share of all choices is taken off
    its score; and where another row has the same item it is no mistake. Source: Yi et al., 2019,
    "Sampling-Bias-Corrected Neural Modeling for Large Corpus Item Recommendations".
    """

    normalised = True

    def scores(self, scorer: Scorer, features: dict[str, Any], *, training: bool) -> tf.Tensor:
        item = features["items"][:, 0]
        users = scorer.users_for(features, training=training)
        scores = scorer.pairs(users, scorer.items_for(item, training=training)[None])
        popularity = tf.constant(self.catalogue.histories.popularity, tf.float32)
        share = tf.maximum(popularity, 1.0) / tf.reduce_sum(popularity)
        same = (item[:, None] == item[None]) & ~tf.eye(tf.shape(item)[0], dtype=tf.bool)
        return tf.where(same, _NEVER, scores - tf.math.log(tf.gather(share, item))[None])

    def loss(self, scores: tf.Tensor, features: dict[str, Any]) -> tf.Tensor:
        return tf.reduce_logsumexp(scores, 1) - tf.linalg.diag_part(scores)


def make_objective(name: str, catalogue: Catalogue, *, negatives: int) -> Objective:
    """Returns an objective by its name in the config."""
    if name == "full_softmax":
        return FullSoftmax(catalogue, name="objective")
    if name == "next_item":
        return NextItem(catalogue, name="objective")
    if name == "in_batch_softmax":
        return InBatchSoftmax(catalogue, name="objective")
    kind = {"bce": CrossEntropy, "bpr": PairwiseRanking}[name]
    return kind(catalogue, negatives=negatives, name="objective")
