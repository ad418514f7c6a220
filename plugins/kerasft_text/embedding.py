"""Vectors of many texts."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from kerasft_text.tokenization import Tokenizer

_TEXTS = 64


def embedded(texts: Sequence[str], tokenizer: Tokenizer, model: keras.Model) -> np.ndarray:
    """Returns what a model makes of texts, those of like length together: float32 `[texts, width]`.

    Args:
        texts: Any number.
        tokenizer: From texts to ids.
        model: From ids `[batch, length]`, filled up with 0, to `[batch, width]`.
    """

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string)])
    def answer(some: tf.Tensor) -> tf.Tensor:
        return tf.cast(model(tokenizer.encode(some).token_ids.to_tensor(), training=False), tf.float32)

    order = np.argsort([len(text) for text in texts], kind="stable")
    vectors = np.empty((len(texts), model.output.shape[-1]), np.float32)
    for start in range(0, len(texts), _TEXTS):
        rows = order[start : start + _TEXTS]
        vectors[rows] = answer(tf.constant([texts[row] for row in rows])).numpy()
    return vectors
