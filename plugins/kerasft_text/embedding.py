"""Vectors of many texts."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from kerasft_text.tokenization import Tokenizer

_TEXTS = 64


class Embedder:
    """Turns texts into vectors, those of like length together.

    Args:
        tokenizer: From texts to ids.
        model: From ids `[batch, length]`, filled up with 0, to `[batch, width]`; it is traced once, so
            adapters added later are not seen.
    """

    def __init__(self, *, tokenizer: Tokenizer, model: keras.Model) -> None:
        self._width = model.output.shape[-1]

        def answer(texts: tf.Tensor) -> tf.Tensor:
            return tf.cast(model(tokenizer.encode(texts).token_ids.to_tensor(), training=False), tf.float32)

        self._answer = tf.function(
            answer, input_signature=[tf.TensorSpec([None], tf.string)], autograph=False
        )

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Returns a vector for each text: float32 `[texts, width]`."""
        order = np.argsort([len(text) for text in texts], kind="stable")
        vectors = np.empty((len(texts), self._width), np.float32)
        for start in range(0, len(texts), _TEXTS):
            rows = order[start : start + _TEXTS]
            vectors[rows] = self._answer(tf.constant([texts[row] for row in rows])).numpy()
        return vectors
