"""Objectives about single choices: what a user thinks of an item, rather than what comes first."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kerasft.errors import DataError
from kerasft.metrics import grouped_roc_auc, roc_auc
from kerasft_recommender.catalogue import Catalogue
from kerasft_recommender.layers import Table
from kerasft_recommender.objectives import Objective
from kerasft_recommender.scorers import Scorer

POINTWISE = ("rating", "click")
_LEVELS = 20


@dataclass
class Scale:
    """What training saw of ratings.

    Args:
        mean: Their mean.
        low: The smallest.
        high: The largest.
        liked: Share of those that count as liked.
        levels: At most twenty ratings, and the share of all that reaches each; not the smallest rating, which
            all reach.

    Example:
        >>> Scale.learn(np.array([1.0, 3.0, 4.0, 4.0]), threshold=4.0)
        Scale(mean=3.0, low=1.0, high=4.0, liked=0.5, levels=[(3.0, 0.75), (4.0, 0.5)])
    """

    mean: float
    low: float
    high: float
    liked: float
    levels: Sequence[tuple[float, float]] = ()

    @classmethod
    def learn(cls, ratings: np.ndarray, *, threshold: float) -> Scale:
        """Looks at the ratings of the training data, float `[choices]`."""
        values = np.asarray(ratings, np.float64)
        found = np.unique(np.quantile(values, np.linspace(0, 1, _LEVELS + 1)[1:], method="nearest"))
        return cls(
            mean=float(values.mean()),
            low=float(values.min()),
            high=float(values.max()),
            liked=float((values >= threshold).mean()),
            levels=[
                (float(level), float((values >= level).mean())) for level in found if level > values.min()
            ],
        )

    def widened(self, ratings: np.ndarray) -> Scale:
        """Returns the same with room for further ratings; mean and share stay, as weights are fit to them."""
        low, high = min(self.low, float(np.min(ratings))), max(self.high, float(np.max(ratings)))
        return replace(self, low=low, high=high)

    def to_json(self) -> dict[str, float]:
        """Returns plain values for the constructor."""
        return asdict(self)


class Pointwise(Objective):
    """Compares the score of each choice with its rating.

    To the scorer's score it adds a bias of the user and a constant, the best guess of whom nothing is known.

    Args:
        catalogue: Users, items and choices.
        scale: What training saw of ratings.
        penalty: Weight of the mean square of the biases in the loss.
    """

    def __init__(self, catalogue: Catalogue, *, scale: Scale, penalty: float, **kwargs: Any) -> None:
        super().__init__(catalogue, **kwargs)
        self.scale = scale
        self.penalty = penalty
        self.user_bias = Table(catalogue.users.capacity, 1, deviation=0.0, name="user_bias")

    def scores(self, scorer: Scorer, features: dict[str, Any], *, training: bool) -> tf.Tensor:
        users = scorer.users_for(features, training=training)
        if self.penalty:
            self.add_loss(self.penalty * tf.reduce_mean(tf.square(self.user_bias(features["user"]))))
        return scorer.pairs(users, scorer.items_for(features["items"][:, :1], training=training))

    @property
    @abstractmethod
    def constant(self) -> float:
        """What is added to all scores."""

    def estimate(self, scores: tf.Tensor, users: tf.Tensor) -> tf.Tensor:
        """Adds constant and biases to scores `[users, n]`."""
        return self.constant + self.user_bias(users) + scores

    @abstractmethod
    def measure(self, shown: np.ndarray, ratings: np.ndarray, users: np.ndarray) -> dict[str, float]:
        """Returns metrics of answers (as `shown`), `[n]` each."""


class Rating(Pointwise):
    """Squared error of ratings.

    Source: Koren et al., 2009, "Matrix Factorization Techniques for Recommender Systems", equation 4.
    """

    @property
    def constant(self) -> float:
        return self.scale.mean

    def loss(self, scores: tf.Tensor, features: dict[str, Any]) -> tf.Tensor:
        return tf.square(self.estimate(scores, features["user"])[:, 0] - features["rating"])

    def shown(self, scores: tf.Tensor, users: tf.Tensor) -> tf.Tensor:
        return tf.clip_by_value(self.estimate(scores, users), self.scale.low, self.scale.high)

    def measure(self, shown: np.ndarray, ratings: np.ndarray, users: np.ndarray) -> dict[str, float]:
        wrong = shown.astype(np.float64) - ratings
        return {"rmse": float(np.sqrt(np.mean(wrong**2))), "mae": float(np.mean(np.abs(wrong)))}


class Click(Pointwise):
    """Log loss of whether a rating reaches a threshold, and if wanted of whether it reaches other levels.

    That a liked film has five stars and not four says something about the user, too. One score answers for
    all levels, each with a constant of its own (proportional odds).

    Source: McCullagh, 1980, "Regression Models for Ordinal Data"; Koren and Sill, 2011, "OrdRec".

    Args:
        catalogue: Users, items and choices.
        scale: What training saw of ratings.
        threshold: The smallest rating that counts as liked.
        ordinal: Share of the loss that is about the other levels.
        penalty: Weight of the mean square of the biases in the loss.

    Raises:
        DataError: all ratings of the training data count as liked, or none; or they have no other levels.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        *,
        scale: Scale,
        threshold: float,
        ordinal: float,
        penalty: float,
        **kwargs: Any,
    ) -> None:
        if not 0 < scale.liked < 1:
            raise DataError(
                f"{'All' if scale.liked else 'None'} of the ratings ({scale.low:g} to {scale.high:g}) reach "
                f"the threshold of {threshold:g}, so there is nothing to tell apart: choose another threshold"
            )
        super().__init__(catalogue, scale=scale, penalty=penalty, **kwargs)
        self.threshold = threshold
        # Where no rating lies between a level and the threshold, they are the same question.
        others = [(level, share) for level, share in scale.levels if share != scale.liked]
        if ordinal and not others:
            raise DataError(
                f"ordinal={ordinal:g} is about levels of ratings other than the threshold of {threshold:g}, "
                f"and the ratings ({scale.low:g} to {scale.high:g}) have none: leave it out"
            )
        self._ordinal, self._others = ordinal, others

    @property
    def constant(self) -> float:
        return _logit(self.scale.liked)

    def loss(self, scores: tf.Tensor, features: dict[str, Any]) -> tf.Tensor:
        logits = self.estimate(scores, features["user"])[:, 0]
        loss = _log_loss(features["rating"] >= self.threshold, logits)
        if not self._ordinal:
            return loss
        levels, shares = zip(*self._others, strict=True)
        constants = [_logit(share) - self.constant for share in shares]
        reached = features["rating"][:, None] >= tf.constant(levels, features["rating"].dtype)
        others = tf.reduce_mean(_log_loss(reached, logits[:, None] + tf.constant(constants)), axis=1)
        return (1 - self._ordinal) * loss + self._ordinal * others

    def shown(self, scores: tf.Tensor, users: tf.Tensor) -> tf.Tensor:
        return tf.sigmoid(self.estimate(scores, users))

    def measure(self, shown: np.ndarray, ratings: np.ndarray, users: np.ndarray) -> dict[str, float]:
        liked = ratings >= self.threshold
        chance = np.clip(shown.astype(np.float64), 1e-7, 1 - 1e-7)
        wrong = -np.log(np.where(liked, chance, 1 - chance))
        _, rows, counts = np.unique(users, return_inverse=True, return_counts=True)
        return {
            "auc": roc_auc(shown, liked),
            "logloss": float(wrong.mean()),
            "user_auc": grouped_roc_auc(shown, liked, users),
            "user_logloss": float(np.mean(np.bincount(rows, weights=wrong) / counts)),
        }


def _logit(share: float) -> float:
    return float(np.log(share / (1 - share)))


def _log_loss(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    return tf.nn.sigmoid_cross_entropy_with_logits(labels=tf.cast(labels, tf.float32), logits=logits)


def make_pointwise(
    name: str, catalogue: Catalogue, *, scale: Scale, threshold: float, ordinal: float, penalty: float
) -> keras.layers.Layer:
    """Returns an objective by its name in the config."""
    if name == "rating":
        return Rating(catalogue, scale=scale, penalty=penalty, name="objective")
    return Click(
        catalogue, scale=scale, threshold=threshold, ordinal=ordinal, penalty=penalty, name="objective"
    )
