"""The transformer, with kept keys and values."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras import ops

from kerasft.generation import Attention, FeedForward, sinusoids
from kerasft_translation.config import TransformerConfig, TranslationConfig
from kerasft_translation.models.base import Sizes, Translator, inputs, shifted, visible


@keras.saving.register_keras_serializable(package="kerasft_translation")
class Positions(keras.layers.Layer):
    """Adds where each token stands, then drops out.

    Args:
        dropout: Dropout rate.
        **options: Those of `keras.layers.Layer`.

    Call arguments:
        vectors: float [batch, length, width].
        first: Position of the first of them.
    """

    def __init__(self, dropout: float, **options: Any) -> None:
        super().__init__(**options)
        self.dropout = keras.layers.Dropout(dropout, name="dropout", dtype=self.dtype_policy)

    def call(self, vectors: Any, training: Any = None) -> Any:
        return self.dropout(self.place(vectors, 0), training=training)

    def place(self, vectors: Any, first: Any) -> Any:
        """Returns the vectors with their positions, the first of which is `first`."""
        places = ops.cast(ops.arange(ops.shape(vectors)[1]) + first, "float32")
        return vectors + ops.cast(sinusoids(places, vectors.shape[-1])[None], vectors.dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "dropout": self.dropout.rate}


class _Block(keras.layers.Layer):
    def __init__(self, settings: TransformerConfig, **options: Any) -> None:
        super().__init__(**options)
        self.settings = settings

    def _norm(self, name: str) -> keras.layers.LayerNormalization:
        return keras.layers.LayerNormalization(epsilon=1e-5, name=name, dtype=self.dtype_policy)

    def _attention(self, name: str) -> Attention:
        settings = self.settings
        return Attention(
            settings.width,
            settings.heads,
            dropout=settings.attention_dropout,
            name=name,
            dtype=self.dtype_policy,
        )

    def _feed_forward(self) -> FeedForward:
        settings = self.settings
        return FeedForward(
            settings.width,
            settings.hidden,
            dropout=settings.dropout,
            name="feed_forward",
            dtype=self.dtype_policy,
        )

    def _dropout(self, name: str) -> keras.layers.Dropout:
        return keras.layers.Dropout(self.settings.dropout, name=name, dtype=self.dtype_policy)

    def _build(self, *layers: keras.Layer) -> None:
        for layer in layers:
            layer.build((None, None, self.settings.width))
        self.built = True

    def compute_output_spec(self, vectors: Any, *args: Any, **kwargs: Any) -> Any:
        return keras.KerasTensor(vectors.shape, dtype=self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "settings": self.settings.model_dump()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        return cls(TransformerConfig(**config.pop("settings")), **config)


@keras.saving.register_keras_serializable(package="kerasft_translation")
class EncoderBlock(_Block):
    """Attention to the text, then a feed-forward layer, each around a residual.

    Source: Xiong et al., 2020, "On Layer Normalization in the Transformer Architecture".

    Args:
        settings: Sizes and rates.
        **options: Those of `keras.layers.Layer`.

    Call arguments:
        vectors: float [batch, length, width].
        visible: bool [batch, length], where a token is.
    """

    def __init__(self, settings: TransformerConfig, **options: Any) -> None:
        super().__init__(settings, **options)
        self.attention_norm, self.attention = self._norm("attention_norm"), self._attention("attention")
        self.attention_dropout = self._dropout("attention_dropout")
        self.norm, self.feed_forward = self._norm("norm"), self._feed_forward()
        self.dropout = self._dropout("dropout")

    def build(self, input_shape: Any) -> None:
        self._build(self.attention_norm, self.attention, self.norm, self.feed_forward)

    def call(self, vectors: Any, visible: Any, training: Any = None) -> Any:
        normed = self.attention_norm(vectors)
        read = self.attention(normed, visible=visible, training=training)
        vectors = vectors + self.attention_dropout(read, training=training)
        made = self.feed_forward(self.norm(vectors), training=training)
        return vectors + self.dropout(made, training=training)


@keras.saving.register_keras_serializable(package="kerasft_translation")
class DecoderBlock(_Block):
    """Attention to what has been written, attention to the text, then a feed-forward layer.

    Args:
        settings: Sizes and rates.
        **options: Those of `keras.layers.Layer`.

    Call arguments:
        vectors: float [batch, length, width].
        memory: float [batch, text length, width].
        visible: bool [batch, text length], where the text has a token.
    """

    def __init__(self, settings: TransformerConfig, **options: Any) -> None:
        super().__init__(settings, **options)
        self.past_norm, self.past = self._norm("past_norm"), self._attention("past")
        self.past_dropout = self._dropout("past_dropout")
        self.text_norm, self.text = self._norm("text_norm"), self._attention("text")
        self.text_dropout = self._dropout("text_dropout")
        self.norm, self.feed_forward = self._norm("norm"), self._feed_forward()
        self.dropout = self._dropout("dropout")

    def build(self, input_shape: Any) -> None:
        self._build(self.past_norm, self.past, self.text_norm, self.text, self.norm, self.feed_forward)

    def call(self, vectors: Any, memory: Any, visible: Any, training: Any = None) -> Any:
        said = self.past(self.past_norm(vectors), causal=True, training=training)
        vectors = vectors + self.past_dropout(said, training=training)
        read = self.text(self.text_norm(vectors), memory=memory, visible=visible, training=training)
        vectors = vectors + self.text_dropout(read, training=training)
        made = self.feed_forward(self.norm(vectors), training=training)
        return vectors + self.dropout(made, training=training)

    def step(self, vectors: Any, past: tuple[Any, Any], text: tuple[Any, Any], hidden: Any) -> Any:
        """Returns the vectors of one more token of each hypothesis, and the keys and values so far.

        Args:
            vectors: float [batch, width of the beam, width].
            past: Keys and values of what was written, float [batch, width of the beam, heads, length, ...].
            text: Those of the text, float [batch, heads, text length, ...].
            hidden: Added to the scores of the text, [batch, 1, 1, text length].
        """
        shape = ops.shape(vectors)
        alone = ops.reshape(self.past_norm(vectors), (shape[0] * shape[1], 1, self.settings.width))
        new = self.past.remember(alone)
        # Four axes at once are one row a hypothesis: [batch * beam, heads, length, ...].
        grown = tuple(tf.concat([_flat(old), now], axis=2) for old, now in zip(past, new, strict=True))
        said = ops.reshape(self.past.attend(alone, *grown), shape)
        vectors = vectors + said
        vectors = vectors + self.text.attend(self.text_norm(vectors), *text, hidden=hidden)
        vectors = vectors + self.feed_forward(self.norm(vectors))
        return vectors, tuple(_apart(part, shape) for part in grown)


def _flat(kept: Any) -> Any:
    shape = tf.shape(kept)
    return tf.reshape(kept, [shape[0] * shape[1], kept.shape[2], shape[3], kept.shape[4]])


def _apart(kept: Any, shape: Any) -> Any:
    return tf.reshape(kept, [shape[0], shape[1], kept.shape[1], tf.shape(kept)[2], kept.shape[3]])


class Transformer(Translator):
    """A pre-norm transformer with tied embeddings and positions as sines.

    Source: Vaswani et al., 2017, "Attention Is All You Need".
    """

    def __init__(self, config: TranslationConfig, sizes: Sizes) -> None:
        super().__init__(config, sizes)
        self._settings = settings = config.transformer
        self._encoder = [EncoderBlock(settings, name=f"encoder_{i}") for i in range(settings.encoder_layers)]
        self._decoder = [DecoderBlock(settings, name=f"decoder_{i}") for i in range(settings.decoder_layers)]
        norm = keras.layers.LayerNormalization
        self._encoder_norm = norm(epsilon=1e-5, name="encoder_norm")
        self._decoder_norm = norm(epsilon=1e-5, name="decoder_norm")
        self._source_positions = Positions(settings.dropout, name="source_positions")
        self._target_positions = Positions(settings.dropout, name="target_positions")
        for blocks, last in ((self._encoder, self._encoder_norm), (self._decoder, self._decoder_norm)):
            self.groups |= {block.name: [block] for block in blocks}
            self.groups[blocks[-1].name].append(last)
        source_ids, target_ids = inputs()
        vectors = self._target_positions(self.target_embedding(shifted(target_ids)))
        memory, seen = self._read(source_ids), visible(source_ids)
        for block in self._decoder:
            vectors = block(vectors, memory, seen)
        logits = self.target_embedding(self._decoder_norm(vectors), reverse=True)
        self.model = keras.Model([source_ids, target_ids], logits, name="transformer")

    def _width(self, config: TranslationConfig) -> int:
        return config.transformer.width

    def _read(self, source_ids: Any) -> Any:
        vectors = self._source_positions(self.source_embedding(source_ids))
        for block in self._encoder:
            vectors = block(vectors, visible(source_ids))
        return self._encoder_norm(vectors)

    def remember(self, source_ids: Any) -> Any:
        memory = self._read(source_ids)
        hidden = tf.where(visible(source_ids), 0.0, -3e4)[:, None, None, :]
        return {"text": [block.text.remember(memory) for block in self._decoder], "hidden": hidden}

    def start(self, memory: Any, width: Any) -> tuple[Any, Any]:
        heads, size = self._settings.heads, self._settings.width // self._settings.heads
        keys = memory["text"][0][0]
        nothing = tf.zeros([tf.shape(keys)[0], width, heads, 0, size], keys.dtype)
        shape = tf.TensorShape([None, None, heads, None, size])
        return [(nothing, nothing) for _ in self._decoder], [(shape, shape) for _ in self._decoder]

    def step(self, tokens: Any, position: Any, state: Any, memory: Any) -> tuple[Any, Any]:
        places = tf.cast(position, tf.float32)[None]
        vectors = self.target_embedding(tokens)
        vectors += tf.cast(sinusoids(places, self._settings.width)[None], vectors.dtype)
        following = []
        for block, past, text in zip(self._decoder, state, memory["text"], strict=True):
            vectors, grown = block.step(vectors, past, text, memory["hidden"])
            following.append(grown)
        return self.target_embedding(self._decoder_norm(vectors), reverse=True), following
