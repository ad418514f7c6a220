"""Layers of sequence models whose past can be kept while they write."""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf
from keras import ops

_HIDDEN = -3e4  # added to the scores of what must not be seen; float16 holds it


def sinusoids(positions: Any, width: int) -> tf.Tensor:
    """Returns vectors of positions, of any length.

    Source: Vaswani et al., 2017, "Attention Is All You Need".

    Args:
        positions: float32 [length].
        width: Length of a vector, even.

    Returns:
        float32 [length, width]: sines, then cosines.
    """
    half = width // 2
    rates = ops.exp(ops.arange(half, dtype="float32") * (-math.log(10000.0) / max(1, half - 1)))
    angles = positions[:, None] * rates[None]
    return ops.concatenate([ops.sin(angles), ops.cos(angles)], axis=-1)


@keras.saving.register_keras_serializable(package="kerasft")
class TiedEmbedding(keras.layers.Layer):
    """A table of token vectors that also makes logits of vectors.

    Source: Press and Wolf, 2017, "Using the Output Embedding to Improve Language Models".

    Args:
        vocabulary: Number of tokens.
        width: Length of a vector.
        scaled: Whether vectors are multiplied by the root of their length.
        **options: Those of `keras.layers.Layer`.

    Call arguments:
        inputs: Tokens, integers [..., length], or with `reverse` vectors [..., width].
        reverse: Whether to return logits, float32 [..., vocabulary], instead of vectors.
    """

    def __init__(self, vocabulary: int, width: int, *, scaled: bool = True, **options: Any) -> None:
        super().__init__(**options)
        self.vocabulary, self.width, self.scaled = vocabulary, width, scaled
        self.table = self.add_weight(
            name="table",
            shape=(vocabulary, width),
            initializer=keras.initializers.RandomNormal(stddev=width**-0.5),
        )

    def build(self, input_shape: Any) -> None:
        self.built = True

    def call(self, inputs: Any, reverse: bool = False) -> Any:
        if reverse:
            # A matrix, and a table that stays as it lies: neither is copied for it.
            shape = ops.shape(inputs)
            flat = ops.reshape(inputs, (-1, self.width))
            logits = tf.matmul(flat, ops.cast(self.table, inputs.dtype), transpose_b=True)
            return ops.cast(ops.reshape(logits, (*shape[:-1], self.vocabulary)), "float32")
        # The variable itself, or the gradient would be as large as the table already here.
        vectors = tf.gather(ops.convert_to_tensor(self.table), inputs)
        return ops.cast(vectors * self.width**0.5 if self.scaled else vectors, self.compute_dtype)

    def compute_output_shape(self, input_shape: Any, reverse: bool = False) -> Any:
        return (*input_shape[:-1], self.vocabulary) if reverse else (*input_shape, self.width)

    def compute_output_spec(self, inputs: Any, reverse: bool = False) -> Any:
        shape = self.compute_output_shape(inputs.shape, reverse=reverse)
        return keras.KerasTensor(shape, dtype="float32" if reverse else self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        own = {"vocabulary": self.vocabulary, "width": self.width, "scaled": self.scaled}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="kerasft")
class Attention(keras.layers.Layer):
    """Multi-head attention in parts, so that keys and values can be kept.

    Source: Vaswani et al., 2017, "Attention Is All You Need".

    Args:
        width: Length of a vector.
        heads: Number of heads; must divide `width`.
        dropout: Dropout rate of the attention weights.
        **options: Those of `keras.layers.Layer`.

    Call arguments:
        queries: float [batch, length, width].
        memory: float [batch, memory length, width]; the queries themselves if None.
        visible: bool [batch, memory length], which of the memory may be seen; None is all.
        causal: Whether a query sees only what is not behind it.
    """

    def __init__(self, width: int, heads: int, *, dropout: float = 0.0, **options: Any) -> None:
        super().__init__(**options)
        if width % heads:
            raise ValueError(f"heads must divide width, and {heads} does not divide {width}")
        self.width, self.heads, self.dropout = width, heads, dropout
        self.query = keras.layers.Dense(width, name="query", dtype=self.dtype_policy)
        self.key = keras.layers.Dense(width, name="key", dtype=self.dtype_policy)
        self.value = keras.layers.Dense(width, name="value", dtype=self.dtype_policy)
        self.output_dense = keras.layers.Dense(width, name="output", dtype=self.dtype_policy)
        self.weight_dropout = keras.layers.Dropout(dropout, name="dropout", dtype=self.dtype_policy)

    def build(self, input_shape: Any) -> None:
        for layer in (self.query, self.key, self.value, self.output_dense):
            layer.build((None, None, self.width))
        self.built = True

    def call(
        self,
        queries: Any,
        memory: Any = None,
        visible: Any = None,
        causal: bool = False,
        training: Any = None,
    ) -> Any:
        keys, values = self.remember(queries if memory is None else memory)
        hidden = None
        if visible is not None:
            hidden = ops.where(visible, 0.0, _HIDDEN)[:, None, None, :]
        if causal:
            length = ops.shape(queries)[1]
            later = ops.arange(length)[None, :] > ops.arange(length)[:, None]
            causes = ops.where(later, _HIDDEN, 0.0)[None, None]
            hidden = causes if hidden is None else hidden + causes
        return self.attend(queries, keys, values, hidden=hidden, training=training)

    def compute_output_spec(self, queries: Any, *args: Any, **kwargs: Any) -> Any:
        return keras.KerasTensor(queries.shape, dtype=self.compute_dtype)

    def remember(self, memory: Any) -> tuple[Any, Any]:
        """Returns keys and values, float [batch, heads, length, width / heads]."""
        return self._split(self.key(memory)), self._split(self.value(memory))

    def attend(
        self, queries: Any, keys: Any, values: Any, *, hidden: Any = None, training: Any = None
    ) -> Any:
        """Returns float [batch, queries, width] from keys and values that `remember` gave.

        Args:
            queries: float [batch, queries, width].
            keys: float [batch, heads, length, width / heads].
            values: The same.
            hidden: Added to the scores, [batch, heads, queries, length] or broadcast to it.
            training: Whether dropout acts.
        """
        split = self._split(self.query(queries)) * (self.width // self.heads) ** -0.5
        scores = tf.matmul(split, keys, transpose_b=True)
        if hidden is not None:
            scores += ops.cast(hidden, scores.dtype)
        weights = tf.nn.softmax(scores, axis=-1)
        if self.dropout:
            weights = self.weight_dropout(weights, training=training)
        mixed = ops.transpose(ops.matmul(weights, values), (0, 2, 1, 3))
        shape = ops.shape(mixed)
        return self.output_dense(ops.reshape(mixed, (shape[0], shape[1], self.width)))

    def _split(self, vectors: Any) -> Any:
        shape = ops.shape(vectors)
        apart = ops.reshape(vectors, (shape[0], shape[1], self.heads, self.width // self.heads))
        return ops.transpose(apart, (0, 2, 1, 3))

    def get_config(self) -> dict[str, Any]:
        own = {"width": self.width, "heads": self.heads, "dropout": self.dropout}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="kerasft")
class FeedForward(keras.layers.Layer):
    """Two dense layers with a rectifier between them, each position by itself.

    Args:
        width: Length of a vector.
        hidden: Width in between.
        dropout: Dropout rate in between.
        **options: Those of `keras.layers.Layer`.
    """

    def __init__(self, width: int, hidden: int, *, dropout: float = 0.0, **options: Any) -> None:
        super().__init__(**options)
        self.width, self.hidden, self.dropout = width, hidden, dropout
        self.expand = keras.layers.Dense(hidden, activation="relu", name="expand", dtype=self.dtype_policy)
        self.reduce = keras.layers.Dense(width, name="reduce", dtype=self.dtype_policy)
        self.inner_dropout = keras.layers.Dropout(dropout, name="dropout", dtype=self.dtype_policy)

    def build(self, input_shape: Any) -> None:
        self.expand.build((None, None, self.width))
        self.reduce.build((None, None, self.hidden))
        self.built = True

    def call(self, vectors: Any, training: Any = None) -> Any:
        return self.reduce(self.inner_dropout(self.expand(vectors), training=training))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "width": self.width, "hidden": self.hidden, "dropout": self.dropout}
