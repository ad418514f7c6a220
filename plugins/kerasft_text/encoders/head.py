"""From an encoder to a model: pooling, hidden layers, and one output a label."""

from __future__ import annotations

import keras
from keras import ops

from kerasft_text.config import TextConfig
from kerasft_text.encoders.base import Encoder, Pooling, pool


def pooled(config: TextConfig, encoder: Encoder) -> keras.Model:
    """Returns a model from token ids to a vector for each text, without a head.

    Args:
        config: `pooling` is read.
        encoder: what makes the vectors of the tokens.
    """
    how: Pooling = encoder.pooling if config.pooling == "auto" else config.pooling
    return keras.Model(encoder.token_ids, pool(encoder.sequence, encoder.mask, how)[0], name="text")


def build_model(
    config: TextConfig, encoder: Encoder, *, outputs: int
) -> tuple[keras.Model, dict[str, list[keras.Layer]]]:
    """Puts a head on an encoder.

    Args:
        config: `kind`, `pooling` and `head` are read; `mlp` too for that encoder.
        encoder: what the head stands on.
        outputs: number of outputs: labels, or tags of entities; 1 for a regression.

    Returns:
        The model, and its layer groups from the input to the head. Its output is float32: scores before
        softmax or sigmoid `[batch, outputs]`, `[batch, length, outputs]` for entities, `[batch]` for a
    regression."""
    groups = dict(encoder.groups)
    head: list[keras.Layer] = []
    if config.kind == "entities":
        vectors = encoder.sequence
    else:
        how: Pooling = encoder.pooling if config.pooling == "auto" else config.pooling
        vectors, layers = pool(encoder.sequence, encoder.mask, how)
        head.extend(layers)
    if config.encoder == "mlp":
        for i, units in enumerate(config.mlp.units):
            hidden = keras.layers.Dense(units, activation="relu", name=f"hidden_{i}")
            vectors = hidden(vectors)
            groups[f"hidden_{i}"] = [hidden]
    if config.head.dropout:
        head.append(keras.layers.Dropout(config.head.dropout, dtype="float32", name="head_dropout"))
        vectors = head[-1](vectors)
    # float32 also under mixed precision: a softmax over half floats loses its small scores.
    head.append(keras.layers.Dense(outputs, dtype="float32", name="head"))
    answer = head[-1](vectors)
    if config.kind == "regression":
        answer = ops.squeeze(answer, -1)
    return keras.Model(encoder.token_ids, answer, name="text"), {**groups, "head": head}
