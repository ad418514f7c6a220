"""Features: what is known of users, items and the moment, as numbers that a network can take."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from kerasft.data import Field
from kerasft.errors import DataError
from kerasft_recommender.config import FeatureConfig
from kerasft_recommender.texts import TextEncoder
from kerasft_recommender.vocabulary import UNKNOWN, Vocabulary, capacity_for

Where = Callable[[int], str]
"""Returns the place of a row for a message."""

ABSENT = "(missing)"
"""How a value that is not there is read; no vocabulary holds it."""


class Feature:
    """One feature, after it saw training data.

    Args:
        config: What the user said of it.
        vocabulary: Its values; None of numbers.
        mean: Of a numeric feature.
        deviation: Of a numeric feature; 1 if it is constant.
        width: Length of the vectors of an embedding or a text.
        encoder: Makes vectors of texts; None: it is opened when there are some.

    Example:
        >>> color = Feature.learn(FeatureConfig(name="color", kind="categorical"), ["red", "blue"], str, 0.0)
        >>> color.encode(["blue", "green"], str).tolist()
        [2, 0]
    """

    def __init__(
        self,
        config: FeatureConfig,
        *,
        vocabulary: Vocabulary | None = None,
        mean: float = 0.0,
        deviation: float = 1.0,
        width: int = 0,
        encoder: TextEncoder | None = None,
    ) -> None:
        self.config = config
        self.name = config.name
        self.kind = config.kind
        self.vocabulary = vocabulary
        self.mean = mean
        self.deviation = deviation
        self.width = width
        self._encoder = encoder

    @property
    def rows(self) -> int:
        """Rows of the vocabulary, spare ones too; 0 of numbers."""
        return 0 if self.vocabulary is None else self.vocabulary.capacity

    @classmethod
    def learn(cls, config: FeatureConfig, values: Sequence[Any], where: Where, spare: float) -> Feature:
        """Learns vocabulary, scale or width from the values of the training data.

        Args:
            config: What the user said of it.
            values: As a source gives them, one a row.
            where: Returns the place of a row for a message.
            spare: Spare rows as a share of the values, at least 16.

        Raises:
            DataError: a value is none of this kind, or there is none at all.
        """
        if config.kind == "numeric":
            numbers = _numbers(config, values, where)
            there = numbers[~np.isnan(numbers)]
            if not len(there):
                raise DataError(f"The feature {config.name!r} has no value in any row: leave it out")
            deviation = float(there.std())
            return cls(config, mean=float(there.mean()), deviation=deviation or 1.0)
        if config.kind == "text":
            some = [value for value in values if value != ABSENT][:1]
            if not some:
                raise DataError(f"The feature {config.name!r} has no text in any row: leave it out")
            encoder = TextEncoder(config.encoder)
            return cls(config, width=len(encoder(some)[0]), encoder=encoder)
        if config.kind == "embedding":
            vectors = _vectors(config, values, where, width=config.width)
            width = next((len(vector) for vector in vectors if vector is not None), 0)
            if not width:
                raise DataError(f"The feature {config.name!r} has no vector in any row: leave it out")
            return cls(config, width=width)
        known = list(dict.fromkeys(_words(config, values)))
        if not known:
            raise DataError(f"The feature {config.name!r} has no value in any row: leave it out")
        what = f"values of {config.name!r}"
        return cls(config, vocabulary=Vocabulary(what, known, capacity=capacity_for(known, spare=spare)))

    def extend(self, values: Sequence[Any]) -> None:
        """Gives spare rows to new values; numbers keep their scale.

        Raises:
            DataError: there are not enough spare rows.
        """
        if self.vocabulary is not None:
            self.vocabulary.extend(_words(self.config, values))

    def encode(self, values: Sequence[Any], where: Where) -> np.ndarray:
        """Turns values of a table into numbers, a row each; those missing become what `blank` gives.

        Returns:
            Of categorical int32 `[n]`; of multi and sequence int32 `[n, longest]`, filled up with 0,
            sequences latest first; of numeric float32 `[n]`, standardised; of embedding and text float32
            `[n, width]`.

        Raises:
            DataError: a value is none of this kind.
        """
        if self.kind == "numeric":
            numbers = (_numbers(self.config, values, where) - self.mean) / self.deviation
            return np.nan_to_num(numbers).astype(np.float32)
        if self.kind in ("embedding", "text"):
            if self.kind == "text":
                self._encoder = self._encoder or TextEncoder(self.config.encoder)
                values = self._encoder(["" if value == ABSENT else value for value in values])
            vectors = _vectors(self.config, values, where, width=self.width)
            blank = np.zeros(self.width, np.float32)
            return np.stack([blank if vector is None else vector for vector in vectors])
        assert self.vocabulary is not None
        if self.kind == "categorical":
            return self.vocabulary.numbers(values)
        rows = [self.vocabulary.numbers(_items(self.config, value)) for value in values]
        rows = [row[row != UNKNOWN] for row in rows]
        if self.kind == "sequence":
            rows = [row[::-1][: self.config.length] for row in rows]
        longest = max(1, max((len(row) for row in rows), default=1))
        return np.stack([np.pad(row, (0, longest - len(row))) for row in rows])

    def blank(self, count: int) -> np.ndarray:
        """Returns what stands for rows of which nothing is known; see `encode`."""
        if self.kind == "numeric":
            return np.zeros(count, np.float32)
        if self.kind in ("embedding", "text"):
            return np.zeros((count, self.width), np.float32)
        return np.zeros(count if self.kind == "categorical" else (count, 1), np.int32)

    def in_graph(self, values: Any) -> Any:
        """Does in a graph, for a context feature, what `encode` does.

        Args:
            values: Strings `[n]` (several values in one, cut by the separator), numbers `[n]`, or vectors
                `[n, width]`.

        Returns:
            As `encode`, but ragged where lengths differ.
        """
        if self.kind == "numeric":
            return (values - self.mean) / self.deviation
        if self.kind == "embedding":
            return tf.ensure_shape(tf.cast(values, tf.float32), [None, self.width])
        assert self.vocabulary is not None
        if self.kind == "categorical":
            return self.vocabulary.rows(values)
        words = tf.strings.split(values, self.config.separator)
        rows = tf.ragged.map_flat_values(lambda flat: self.vocabulary.rows(tf.strings.strip(flat)), words)
        rows = tf.ragged.boolean_mask(rows, rows != UNKNOWN)
        return tf.reverse(rows, [1])[:, : self.config.length] if self.kind == "sequence" else rows

    def to_json(self) -> dict[str, Any]:
        """Returns plain values for `from_json`."""
        ids = self.vocabulary
        known = None if ids is None else {"known": ids.known, "capacity": ids.capacity}
        numbers = {"mean": self.mean, "deviation": self.deviation, "width": self.width}
        return {"vocabulary": known, **numbers}

    @classmethod
    def from_json(cls, config: FeatureConfig, values: dict[str, Any]) -> Feature:
        """Makes it again from what `to_json` returned."""
        values = dict(values)
        ids = values.pop("vocabulary")
        if ids is not None:
            ids = Vocabulary(f"values of {config.name!r}", ids["known"], capacity=ids["capacity"])
        return cls(config, vocabulary=ids, **values)


def context_spec(config: FeatureConfig) -> tf.TensorSpec:
    """Returns what a request has of a context feature."""
    if config.kind == "numeric":
        return tf.TensorSpec([None], tf.float32)
    if config.kind == "embedding":
        return tf.TensorSpec([None, config.width], tf.float32)
    return tf.TensorSpec([None], tf.string)


def context_field(config: FeatureConfig) -> Field:
    """Returns the column of a context feature: no list, for clients send texts and numbers; with a value."""
    kinds: dict[str, Any] = {"categorical": "id", "numeric": "number", "embedding": "any"}
    if config.kind in kinds:
        return Field(name=config.name, kind=kinds[config.kind])
    return Field(name=config.name, kind="text", default=ABSENT)


def table_fields(config: FeatureConfig) -> tuple[Field, ...]:
    """Returns the columns of a side table that a feature is read from; a value may be missing in any row."""
    if config.kind == "categorical":
        return (Field(name=config.name, kind="id", default=ABSENT),)
    if config.kind == "text":
        return (Field(name=config.name, kind="text", default=ABSENT),)
    if config.kind == "multi":
        return (Field(name=config.name, kind="labels", default=[], separators=(config.separator,)),)
    return (Field(name=config.name, kind="any", default=""),)


def _items(config: FeatureConfig, value: Any) -> list[str]:
    if isinstance(value, str):
        parts: Sequence[Any] = value.split(config.separator)
    else:
        parts = list(value)
    texts = (part.decode() if isinstance(part, bytes) else str(part).strip() for part in parts)
    return [text for text in texts if text]


def _words(config: FeatureConfig, values: Sequence[Any]) -> list[str]:
    if config.kind == "categorical":
        return [value for value in values if value != ABSENT]
    return [item for value in values for item in _items(config, value) if item != ABSENT]


def _numbers(config: FeatureConfig, values: Sequence[Any], where: Where) -> np.ndarray:
    numbers = np.full(len(values), np.nan)
    for row, value in enumerate(values):
        if isinstance(value, (str, bytes)) and not value.strip():
            continue
        try:
            numbers[row] = float(value)
        except (TypeError, ValueError):
            numbers[row] = math.inf
        if math.isinf(numbers[row]):
            raise DataError(
                f"{where(row)}: column {config.name!r} holds {value!r}, which is not a finite number; "
                "correct the value, or call the feature categorical"
            )
    return numbers


def _vectors(
    config: FeatureConfig, values: Sequence[Any], where: Where, *, width: int | None
) -> list[np.ndarray | None]:
    """Vectors, None where there is none; all zeros count as none."""
    vectors: list[np.ndarray | None] = []
    for row, value in enumerate(values):
        if isinstance(value, str) and not value:
            vectors.append(None)
            continue
        try:
            numbers = value.strip("[] ").replace(",", " ").split() if isinstance(value, str) else value
            vector = np.asarray(numbers, np.float32)
        except (TypeError, ValueError):
            vector = np.zeros(0, np.float32)
        if vector.ndim != 1 or not len(vector) or not np.isfinite(vector).all():
            raise DataError(
                f"{where(row)}: column {config.name!r} must hold a list of finite numbers for an embedding"
            )
        width = width or len(vector)
        if len(vector) != width:
            raise DataError(
                f"{where(row)}: the embedding {config.name!r} has {len(vector)} numbers, and others have "
                f"{width}: give all one length"
            )
        vectors.append(vector if vector.any() else None)
    return vectors
