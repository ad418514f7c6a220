"""Recurrent networks with attention."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras import ops

from kerasft_translation.config import TranslationConfig
from kerasft_translation.models.base import Sizes, Translator, inputs, shifted, visible


@keras.saving.register_keras_serializable(package="kerasft_translation")
class AttentiveGru(keras.layers.Layer):
    """A decoder that looks at the text again before each token.

    Source: Bahdanau et al., 2015, "Neural Machine Translation by Jointly Learning to Align and Translate".

    Args:
        units: Units of the recurrent cell and of the attention.
        **options: Those of `keras.layers.Layer`.

    Call arguments:
        vectors: float [batch, length, width], what was written before each token.
        memory: float [batch, text length, any].
        visible: bool [batch, text length].
    """

    def __init__(self, units: int, **options: Any) -> None:
        super().__init__(**options)
        self.units = units
        self.cell = keras.layers.GRUCell(units, name="cell", dtype=self.dtype_policy)
        self.first = keras.layers.Dense(units, activation="tanh", name="first", dtype=self.dtype_policy)
        self.query = keras.layers.Dense(units, use_bias=False, name="query", dtype=self.dtype_policy)
        self.key = keras.layers.Dense(units, name="key", dtype=self.dtype_policy)
        self.energy = keras.layers.Dense(1, use_bias=False, name="energy", dtype=self.dtype_policy)

    def build(self, vectors_shape: Any, memory_shape: Any = None, visible_shape: Any = None) -> None:
        width, depth = vectors_shape[-1], memory_shape[-1]
        self.cell.build((None, width + depth))
        self.first.build((None, depth))
        self.query.build((None, self.units))
        self.key.build((None, None, depth))
        self.energy.build((None, None, self.units))
        self.built = True

    def call(self, vectors: Any, memory: Any, visible: Any) -> Any:
        keys, state = self.remember(memory, visible)
        hidden = hide(visible)

        def step(before: tuple[Any, Any], vector: Any) -> tuple[Any, Any]:
            return self.move(vector, before[0], keys, memory, hidden)

        states, contexts = tf.scan(
            step, ops.transpose(vectors, (1, 0, 2)), (state, tf.zeros_like(memory[:, 0]))
        )
        return ops.transpose(ops.concatenate([states, contexts], axis=-1), (1, 0, 2))

    def compute_output_spec(self, vectors: Any, memory: Any, visible: Any) -> Any:
        shape = (*vectors.shape[:2], self.units + memory.shape[-1])
        return keras.KerasTensor(shape, dtype=self.compute_dtype)

    def remember(self, memory: Any, visible: Any) -> tuple[Any, Any]:
        """Returns keys, float [batch, text length, units], and the first state, float [batch, units]."""
        shown = ops.cast(visible, memory.dtype)[:, :, None]
        mean = ops.sum(memory * shown, axis=1) / ops.maximum(ops.sum(shown, axis=1), 1.0)
        return self.key(memory), self.first(mean)

    def move(self, vector: Any, state: Any, keys: Any, memory: Any, hidden: Any) -> tuple[Any, Any]:
        """Returns the next state, float [batch, units], and what was looked at, float [batch, any]."""
        seen = ops.tanh(keys + self.query(state)[:, None])
        # Of three axes, the gradient of a dense layer in a loop is more than XLA can compile.
        energy = ops.reshape(self.energy(ops.reshape(seen, (-1, self.units))), ops.shape(keys)[:2])
        weights = ops.softmax(energy + ops.cast(hidden, energy.dtype), axis=-1)
        context = ops.sum(weights[:, :, None] * memory, axis=1)
        _, following = self.cell(ops.concatenate([vector, context], axis=-1), [state])
        return following[0], context

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}


def hide(visible: Any) -> Any:
    """Returns what is added to scores, float32 [batch, text length]."""
    return ops.where(visible, 0.0, -3e4)


class Gru(Translator):
    """A recurrent encoder of both directions and an attentive recurrent decoder."""

    def __init__(self, config: TranslationConfig, sizes: Sizes) -> None:
        super().__init__(config, sizes)
        settings, dropout = config.gru, keras.layers.Dropout
        self._units = settings.units
        gru = keras.layers.GRU(settings.units, return_sequences=True)
        self._encoder = keras.layers.Bidirectional(gru, name="encoder")
        self._decoder = AttentiveGru(settings.units, name="decoder")
        self._output = keras.layers.Dense(settings.width, activation="tanh", name="output")
        self.groups |= {"encoder": [self._encoder], "decoder": [self._decoder, self._output]}
        source_ids, target_ids = inputs()
        source = dropout(settings.dropout, name="source_dropout")(self.source_embedding(source_ids))
        memory = self._encoder(source, mask=visible(source_ids))
        memory = dropout(settings.dropout, name="memory_dropout")(memory)
        written = self.target_embedding(shifted(target_ids))
        written = dropout(settings.dropout, name="target_dropout")(written)
        states = self._decoder(written, memory, visible(source_ids))
        states = dropout(settings.dropout, name="state_dropout")(states)
        logits = self.target_embedding(self._output(states), reverse=True)
        self.model = keras.Model([source_ids, target_ids], logits, name="gru")

    def _width(self, config: TranslationConfig) -> int:
        return config.gru.width

    def remember(self, source_ids: Any) -> Any:
        seen = visible(source_ids)
        memory = self._encoder(self.source_embedding(source_ids), mask=seen)
        keys, first = self._decoder.remember(memory, seen)
        return {"memory": memory, "keys": keys, "first": first, "hidden": hide(seen)}

    def start(self, memory: Any, width: Any) -> tuple[Any, Any]:
        state = tf.repeat(memory["first"][:, None], width, axis=1)
        return state, tf.TensorShape([None, None, self._units])

    def step(self, tokens: Any, position: Any, state: Any, memory: Any) -> tuple[Any, Any]:
        shape = tf.shape(tokens)

        def every(kept: Any) -> Any:
            return tf.repeat(kept, shape[1], axis=0)

        vectors = self.target_embedding(tf.reshape(tokens, [-1]))
        state, context = self._decoder.move(
            vectors,
            tf.reshape(state, [-1, self._units]),
            every(memory["keys"]),
            every(memory["memory"]),
            every(memory["hidden"]),
        )
        made = self._output(ops.concatenate([state, context], axis=-1))
        logits = self.target_embedding(made, reverse=True)
        logits = tf.reshape(logits, [shape[0], shape[1], logits.shape[-1]])
        return logits, tf.reshape(state, [shape[0], shape[1], self._units])
