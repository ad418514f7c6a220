"""What every encoder gives, and how token vectors become one vector."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import keras
from keras import ops

Pooling = Literal["mean", "sqrt", "max", "first", "attention"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Encoder:
    """The part of a functional model from the token ids to a vector for each token.

    Attributes:
        token_ids: the input, int32 [batch, length].
        mask: bool [batch, length], false at padding.
        sequence: [batch, length, width].
        groups: layer groups, ordered from the input; random layers without weights included.
        pooling: what suits this encoder.
        backbone: the pretrained model that weights are loaded into, if there is one.
    """

    token_ids: Any
    mask: Any
    sequence: Any
    groups: dict[str, list[keras.Layer]]
    pooling: Pooling
    backbone: keras.Model | None = None


def token_input() -> tuple[Any, Any]:
    """Returns the input of every model, and its mask."""
    token_ids = keras.Input((None,), dtype="int32", name="token_ids")
    return token_ids, ops.not_equal(token_ids, 0)


def without_padding(sequence: Any, mask: Any) -> Any:
    """Sets the vectors of padding to zero."""
    return sequence * ops.cast(ops.expand_dims(mask, -1), sequence.dtype)


def pool(sequence: Any, mask: Any, how: Pooling) -> tuple[Any, list[keras.Layer]]:
    """Makes one vector of the vectors of a text's tokens.

    Args:
        sequence: [batch, length, width].
        mask: bool [batch, length].
        how: the mean over the tokens, their sum over the root of their number ("sqrt"), the maximum, the
            first token's vector, or a learned weighting.

    Returns:
        float32 [batch, width], and the layers that pooling added.
    """
    sequence = ops.cast(sequence, "float32")
    if how == "first":
        return sequence[:, 0, :], []
    if how == "max":
        lowest = ops.where(ops.expand_dims(mask, -1), sequence, -1e9)
        # Of no words at all the maximum is 0, like the mean.
        return ops.where(ops.any(mask, axis=1, keepdims=True), ops.max(lowest, axis=1), 0.0), []
    if how in ("mean", "sqrt"):
        weights = ops.cast(mask, "float32")
        tokens = ops.maximum(ops.sum(weights, axis=1, keepdims=True), 1.0)
        weights = weights / (ops.sqrt(tokens) if how == "sqrt" else tokens)
        return ops.einsum("bl,blw->bw", weights, sequence), []
    hidden = keras.layers.Dense(
        sequence.shape[-1], activation="tanh", dtype="float32", name="attention_hidden"
    )
    score = keras.layers.Dense(1, use_bias=False, dtype="float32", name="attention_score")
    scores = ops.where(mask, ops.squeeze(score(hidden(sequence)), -1), -1e9)
    return ops.einsum("bl,blw->bw", ops.softmax(scores, axis=-1), sequence), [hidden, score]
