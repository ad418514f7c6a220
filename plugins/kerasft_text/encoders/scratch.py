"""Encoders that start from random weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from kerasft.errors import ConfigError
from kerasft_text.config import TextConfig
from kerasft_text.encoders.base import Encoder, Pooling, token_input, without_padding

_PADDING_ID, _UNKNOWN_ID = 0, 1
Body = Callable[[TextConfig, Any, Any], tuple[Any, dict[str, list[keras.Layer]], Pooling]]


@keras.saving.register_keras_serializable(package="kerasft_text")
class WordDropout(keras.layers.Layer):
    """Hides some words while training.

    A network that reads in order sees them as unknown, and so learns what to make of unknown words. In a bag
    they are not there at all, or the mean of a training text would be unlike that of any other. Source: Iyyer
    et al., 2015, "Deep Unordered Composition Rivals Syntactic Methods for Text Classification".

    Args:
        rate: chance of a word to be hidden.
        replacement: id that is read instead: 1 for an unknown word, 0 for none.
        seed: of the random numbers.
        **kwargs: of `keras.layers.Layer`.

    Example:
        >>> ids = keras.ops.array([[5, 6, 0]])
        >>> WordDropout(0.99, seed=1)(ids, training=True).numpy().tolist()
        [[1, 1, 0]]
    """

    def __init__(
        self, rate: float, *, replacement: int = _UNKNOWN_ID, seed: int | None = None, **kwargs: Any
    ):
        super().__init__(dtype="int32", **kwargs)
        self.rate, self.replacement, self.seed = rate, replacement, seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, token_ids: Any, training: bool = False) -> Any:
        if not training or not self.rate:
            return token_ids
        hidden = keras.random.uniform(ops.shape(token_ids), seed=self.seed_generator) < self.rate
        return ops.where(ops.logical_and(hidden, token_ids > 0), self.replacement, token_ids)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rate": self.rate, "replacement": self.replacement, "seed": self.seed}

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape


def scratch_encoder(config: TextConfig, *, vocabulary_size: int) -> Encoder:
    """Builds the encoder that `config.encoder` names.

    Args:
        config: `embedding`, `vocabulary` and the section of the encoder are read.
        vocabulary_size: rows of the word table; 0 is padding, 1 an unknown word.

    Raises:
        ConfigError: there is no such encoder.
    """
    if config.encoder not in _BODIES:
        raise ConfigError(f"There is no encoder {config.encoder!r}; there are {', '.join(_BODIES)}.")
    token_ids, mask = token_input()
    words, embeddings = token_ids, []
    if config.embedding.word_dropout:
        replacement = _PADDING_ID if config.encoder == "mlp" else _UNKNOWN_ID
        dropout = WordDropout(config.embedding.word_dropout, replacement=replacement, name="word_dropout")
        embeddings.append(dropout)
        words = dropout(words)
        if replacement == _PADDING_ID:
            mask = ops.not_equal(words, _PADDING_ID)
    embeddings.append(keras.layers.Embedding(vocabulary_size, config.embedding.dim, name="word_embedding"))
    vectors = embeddings[-1](words)
    if config.encoder == "transformer":
        vectors = vectors + _positions(config, token_ids, embeddings)
    if config.embedding.dropout:
        embeddings.append(keras.layers.Dropout(config.embedding.dropout, name="embedding_dropout"))
        vectors = embeddings[-1](vectors)
    sequence, groups, pooling = _BODIES[config.encoder](config, vectors, mask)
    return Encoder(
        token_ids=token_ids,
        mask=mask,
        sequence=sequence,
        groups={"embeddings": embeddings, **groups},
        pooling=pooling,
    )


def _positions(config: TextConfig, token_ids: Any, layers: list[keras.Layer]) -> Any:
    table = keras.layers.Embedding(
        config.vocabulary.max_length, config.embedding.dim, name="position_embedding"
    )
    layers.append(table)
    return table(ops.cumsum(ops.ones_like(token_ids), axis=1) - 1)


def _cnn(config: TextConfig, vectors: Any, mask: Any) -> tuple[Any, dict[str, list[keras.Layer]], Pooling]:
    # "same" padding lets a filter of width 5 see a text of one word; zeros keep padding out of its window.
    vectors = without_padding(vectors, mask)
    convolutions = [
        keras.layers.Conv1D(
            config.cnn.filters, width, padding="same", activation="relu", name=f"convolution_{width}"
        )
        for width in config.cnn.widths
    ]
    maps = [layer(vectors) for layer in convolutions]
    sequence = ops.concatenate(maps, axis=-1) if len(maps) > 1 else maps[0]
    return sequence, {"convolutions": convolutions}, "max"


def _recurrent(cell: type[keras.Layer], pooling: Pooling) -> Body:
    def body(
        config: TextConfig, vectors: Any, mask: Any
    ) -> tuple[Any, dict[str, list[keras.Layer]], Pooling]:
        groups: dict[str, list[keras.Layer]] = {}
        for i in range(config.rnn.layers):
            layer = keras.layers.Bidirectional(
                cell(config.rnn.units, return_sequences=True), name=f"recurrent_{i}"
            )
            vectors = layer(vectors, mask=mask)
            groups[f"recurrent_{i}"] = [layer]
        return vectors, groups, pooling

    return body


def _transformer(
    config: TextConfig, vectors: Any, mask: Any
) -> tuple[Any, dict[str, list[keras.Layer]], Pooling]:
    settings, width = config.transformer, config.embedding.dim
    attention_mask = ops.expand_dims(mask, 1)
    groups: dict[str, list[keras.Layer]] = {}
    for i in range(settings.layers):

        def named(name: str, index: int = i) -> str:
            return f"block_{index}_{name}"

        attention_norm = keras.layers.LayerNormalization(name=named("attention_norm"))
        attention = keras.layers.MultiHeadAttention(
            settings.heads, width // settings.heads, dropout=settings.dropout, name=named("attention")
        )
        dropout = keras.layers.Dropout(settings.dropout, name=named("dropout"))
        norm = keras.layers.LayerNormalization(name=named("norm"))
        hidden = keras.layers.Dense(settings.intermediate_dim, activation="gelu", name=named("hidden"))
        output = keras.layers.Dense(width, name=named("output"))
        output_dropout = keras.layers.Dropout(settings.dropout, name=named("output_dropout"))

        normed = attention_norm(vectors)
        vectors = vectors + dropout(attention(normed, normed, attention_mask=attention_mask))
        vectors = vectors + output_dropout(output(hidden(norm(vectors))))
        groups[f"block_{i}"] = [attention_norm, attention, dropout, norm, hidden, output, output_dropout]
    final = keras.layers.LayerNormalization(name="final_norm")
    groups[f"block_{settings.layers - 1}"].append(final)
    return final(vectors), groups, "mean"


def _mlp(config: TextConfig, vectors: Any, mask: Any) -> tuple[Any, dict[str, list[keras.Layer]], Pooling]:
    return vectors, {}, "mean"


_BODIES: dict[str, Body] = {
    "cnn": _cnn,
    "bilstm": _recurrent(keras.layers.LSTM, "max"),
    "gru": _recurrent(keras.layers.GRU, "max"),
    "attention": _recurrent(keras.layers.LSTM, "attention"),
    "transformer": _transformer,
    "mlp": _mlp,
}
