"""Conversations as features: tokens, where each conversation of a row is, and what is learned."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from kerasft_dialogue.template import NEXT, Codec, write_turns

NOTHING = 0
"""The target where nothing is learned; others are one more than a token, since any token may be a text's."""


class Encoded(NamedTuple):
    """Rows of one or more conversations, int32 [rows, tokens] each.

    Attributes:
        tokens: The tokens.
        segments: The number of the conversation that a token belongs to, from 1.
        targets: One more than the token that follows, where the assistant says it, else `NOTHING`.
    """

    tokens: tf.RaggedTensor
    segments: tf.RaggedTensor
    targets: tf.RaggedTensor


def encode_conversations(
    codec: Codec, roles: tf.RaggedTensor, texts: tf.RaggedTensor, *, context: int
) -> Encoded:
    """Encodes rows of conversations, in the graph.

    Args:
        codec: Makes tokens.
        roles: string [rows, turns]; `NEXT` stands between conversations.
        texts: The same.
        context: Most tokens of a row; the rest is cut off.
    """
    next_one = roles.flat_values == NEXT
    first = tf.ragged.range(tf.cast(roles.row_lengths(), tf.int32)).flat_values == 0
    opens = first | tf.concat([[True], next_one[:-1]], axis=0)[: tf.shape(next_one)[0]]
    tokens, learned = write_turns(codec, roles.flat_values, texts.flat_values, opens=opens)
    before = tf.concat([[0], tf.cumsum(tf.cast(next_one, tf.int32))], axis=0)
    own = before[1:] - tf.gather(before, tf.gather(roles.row_starts(), roles.value_rowids())) + 1
    segments = tokens.with_flat_values(tf.gather(own, tokens.value_rowids()))

    def of_rows(turns: tf.RaggedTensor) -> tf.RaggedTensor:
        nested = tf.RaggedTensor.from_row_splits(turns, roles.row_splits, validate=False)
        return nested.merge_dims(1, 2)[:, :context]

    tokens, learned, segments = of_rows(tokens), of_rows(learned), of_rows(segments)
    flat, counts = tokens.flat_values, learned.flat_values
    ahead = tf.concat([tf.where(counts, flat + 1, NOTHING)[1:], [NOTHING]], axis=0)[: tf.shape(flat)[0]]
    last = tf.ragged.range(tf.cast(tokens.row_lengths(), tf.int32)).flat_values
    last = last + 1 == tf.cast(tf.gather(tokens.row_lengths(), tokens.value_rowids()), tf.int32)
    return Encoded(tokens, segments, tokens.with_flat_values(tf.where(last, NOTHING, ahead)))
