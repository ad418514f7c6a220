"""A vector for each feature."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from kerasft_recommender.features import Feature
from kerasft_recommender.layers.table import Table
from kerasft_recommender.vocabulary import UNKNOWN

# A column may be called anything, a layer may not.
_PLAIN = re.compile(r"[^A-Za-z0-9]+")


@keras.saving.register_keras_serializable(package="kerasft_recommender")
class Fields(keras.layers.Layer):
    """Vectors of features, whatever their kind, all of one length.

    - categorical: that of the value, from a table;
    - multi: the mean of those of the values;
    - sequence: the same weighed by place, so that the latest can count most;
    - numeric: the standardised value times a vector;
    - embedding, text: a dense layer over the normalised vector.

    What is missing is a vector of zeros, of a categorical feature that of row 0.

    Args:
        features: What was learned of each.
        width: Length of a vector.
        deviation: Standard deviation of vectors at the start.

    Example:
        >>> from kerasft_recommender.config import FeatureConfig
        >>> color = Feature.learn(FeatureConfig(name="color", kind="categorical"), ["red", "blue"], str, 0.0)
        >>> Fields([color], width=3, deviation=0.1)({"color": tf.constant([[1, 2], [0, 1]])}).shape
        TensorShape([2, 2, 1, 3])
    """

    def __init__(self, features: Sequence[Feature], *, width: int, deviation: float, **kwargs: Any) -> None:
        super().__init__(dtype="float32", **kwargs)
        self.names = tuple(feature.name for feature in features)
        self.width = width
        self.parts = [
            _part(feature, width, deviation, name=f"{_PLAIN.sub('_', feature.name)}_{place}")
            for place, feature in enumerate(features, start=1)
        ]
        self.built = True

    def call(self, values: dict[str, Any]) -> tf.Tensor:
        """Returns `[..., features, width]` for values by name, `[...]` or `[..., m]` each."""
        return tf.stack([part(values[name]) for name, part in zip(self.names, self.parts, strict=True)], -2)


def _part(feature: Feature, width: int, deviation: float, *, name: str) -> keras.layers.Layer:
    if feature.kind == "numeric":
        return Scaled(width, deviation=deviation, name=name)
    if feature.kind in ("embedding", "text"):
        return Projection(feature.width, width, name=name)
    assert feature.vocabulary is not None
    rows = feature.vocabulary.capacity
    if feature.kind == "categorical":
        return Table(rows, width, deviation=deviation, name=name)
    places = feature.config.length if feature.kind == "sequence" else 0
    return Pooled(rows, width, places=places, deviation=deviation, name=name)


@keras.saving.register_keras_serializable(package="kerasft_recommender")
class Scaled(keras.layers.Layer):
    """A vector times a number.

    Args:
        width: Length of the vector.
        deviation: Standard deviation of the vector at the start.

    Example:
        >>> Scaled(3, deviation=0.1)(tf.constant([0.0, 2.0])).shape
        TensorShape([2, 3])
    """

    def __init__(self, width: int, *, deviation: float, **kwargs: Any) -> None:
        super().__init__(dtype="float32", **kwargs)
        self.built = True
        self.vector = self.add_weight(
            name="vector", shape=(width,), initializer=keras.initializers.RandomNormal(stddev=deviation)
        )

    def call(self, values: Any) -> tf.Tensor:
        """Returns `[..., width]` for numbers `[...]`."""
        return values[..., None] * self.vector


@keras.saving.register_keras_serializable(package="kerasft_recommender")
class Projection(keras.layers.Layer):
    """A dense layer over a normalised vector; zeros, which stand for none, stay zeros.

    Args:
        length: Of the vectors that come in.
        width: Of those that go out.

    Example:
        >>> Projection(4, 2)(tf.constant([[0.0, 0, 0, 0]])).numpy().tolist()
        [[0.0, 0.0]]
    """

    def __init__(self, length: int, width: int, **kwargs: Any) -> None:
        super().__init__(dtype="float32", **kwargs)
        self.normalize = keras.layers.LayerNormalization(dtype="float32", name="normalize")
        small = keras.initializers.RandomNormal(stddev=0.02)
        self.dense = keras.layers.Dense(width, kernel_initializer=small, dtype="float32", name="dense")
        self.normalize.build((None, length))
        self.dense.build((None, length))
        self.built = True

    def call(self, vectors: Any) -> tf.Tensor:
        """Returns `[..., width]` for `[..., length]`."""
        there = tf.reduce_any(vectors != 0, -1, keepdims=True)
        return tf.where(there, self.dense(self.normalize(vectors)), 0.0)


@keras.saving.register_keras_serializable(package="kerasft_recommender")
class Pooled(keras.layers.Layer):
    """The mean of the vectors of several values, weighed by their place if there are places.

    Args:
        rows: Of the table; row 0 takes no part.
        width: Length of a vector.
        places: Longest sequence, of which each place has a weight; 0 weighs all the same.
        deviation: Standard deviation of vectors at the start.

    Example:
        >>> layer = Pooled(4, 2, places=0, deviation=0.1)
        >>> layer(tf.constant([[1, 3, 0], [0, 0, 0]])).numpy()[1].tolist()
        [0.0, 0.0]
    """

    def __init__(self, rows: int, width: int, *, places: int, deviation: float, **kwargs: Any) -> None:
        super().__init__(dtype="float32", **kwargs)
        self.table = Table(rows, width, deviation=deviation, name="table")
        self.places = places
        self.built = True
        if places:
            self.place = self.add_weight(name="place", shape=(places,), initializer="zeros")

    def call(self, rows: Any) -> tf.Tensor:
        """Returns `[..., width]` for rows `[..., m]`, filled up with 0."""
        weights = tf.cast(rows != UNKNOWN, tf.float32)
        if self.places:
            weights *= tf.exp(self.place[: tf.shape(rows)[-1]])
        weights = tf.math.divide_no_nan(weights, tf.reduce_sum(weights, -1, keepdims=True))
        return tf.reduce_sum(self.table(rows) * weights[..., None], -2)
