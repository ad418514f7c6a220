"""How a conversation is written as tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import tensorflow as tf

from kerasft_dialogue.conversations import ROLES

NEXT = "next"
"""A role of packed rows only: another conversation begins."""


class Template(NamedTuple):
    """The tokens around the text of a turn.

    Attributes:
        before: Of each role, what stands before the text.
        after: What stands behind it; the first of them ends a reply.
        banned: What no reply may hold.
        first: What stands before a conversation.
    """

    before: Mapping[str, tuple[int, ...]]
    after: tuple[int, ...]
    banned: tuple[int, ...]
    first: tuple[int, ...] = ()

    @property
    def end(self) -> int:
        """The token that ends a reply."""
        return self.after[0]


class Codec(Protocol):
    """Text to tokens and back, in the graph.

    Attributes:
        size: Number of tokens, those of the template included.
        template: The tokens around texts.
    """

    size: int
    template: Template

    def encode(self, text: Any) -> tf.RaggedTensor:
        """Returns int32 [batch, tokens of the text] of strings [batch] that are valid UTF-8."""

    def decode(self, tokens: tf.RaggedTensor) -> tf.Tensor:
        """Returns the texts of int32 [batch, tokens], string [batch]; of broken UTF-8 anything."""


class Written(NamedTuple):
    """Turns as tokens.

    Attributes:
        tokens: int32 [turns, tokens].
        learned: bool, the same: what the assistant says, with the token that ends it.
    """

    tokens: tf.RaggedTensor
    learned: tf.RaggedTensor


def write_turns(
    codec: Codec, roles: Any, texts: Any, *, opens: Any = None, most: Any = None, keep_end: Any = None
) -> Written:
    """Writes turns as tokens; space around a text is not read.

    Args:
        codec: Makes tokens.
        roles: string [turns].
        texts: string [turns].
        opens: bool [turns]. Whether a conversation begins with it; None: none does.
        most: int32 [turns]. Most tokens of each text; None: all.
        keep_end: bool [turns]. Of a longer text, whether its end is kept and not its beginning.

    Raises:
        tf.errors.InvalidArgumentError: a role is unknown, when it runs.
    """
    template, names = codec.template, tf.constant([*ROLES, NEXT])
    same = roles[:, None] == names[None]
    known = tf.reduce_any(same, axis=1)
    message = f"a role must be {', '.join(ROLES[:-1])} or {ROLES[-1]}"
    with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(known), [message, roles])]):
        index = tf.argmax(same, axis=1, output_type=tf.int32)
    speaks = index < len(ROLES)
    valid = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8", errors="replace")
    middle = codec.encode(tf.where(speaks, tf.strings.strip(valid), ""))
    if most is not None:
        middle = _cut(middle, most, keep_end)
    before = _gathered([template.before[role] for role in ROLES] + [()], index)
    if opens is not None:
        before = tf.concat([_gathered([(), template.first], tf.cast(opens, tf.int32)), before], axis=1)
    after = _gathered([template.after] * len(ROLES) + [()], index)
    replies = index == ROLES.index("assistant")
    first = tf.ragged.range(tf.cast(after.row_lengths(), tf.int32)) == 0
    learned = tf.concat(
        [_all(before, False), _spread(replies, middle), tf.logical_and(_spread(replies, after), first)],
        axis=1,
    )
    return Written(tf.concat([before, middle, after], axis=1), learned)


def turn_overhead(template: Template, roles: Any) -> tf.Tensor:
    """Returns how many tokens stand around the text of each turn, int32 [turns]."""
    same = roles[:, None] == tf.constant(ROLES)[None]
    sizes = tf.constant([len(template.before[role]) + len(template.after) for role in ROLES])
    return tf.reduce_sum(tf.where(same, sizes[None], 0), axis=1)


def _gathered(rows: list[tuple[int, ...]], index: Any) -> tf.RaggedTensor:
    flat = [number for row in rows for number in row]
    table = tf.RaggedTensor.from_row_lengths(
        tf.constant(flat, tf.int32), tf.constant([len(row) for row in rows], tf.int64)
    )
    return tf.gather(table, index)


def _cut(tokens: tf.RaggedTensor, most: Any, keep_end: Any) -> tf.RaggedTensor:
    lengths = tf.cast(tokens.row_lengths(), tf.int32)
    places = tf.ragged.range(lengths)
    first = tf.where(keep_end, tf.maximum(lengths - most, 0), 0)
    inside = (places.flat_values >= _each(first, places)) & (places.flat_values < _each(first + most, places))
    return tf.ragged.boolean_mask(tokens, tokens.with_flat_values(inside))


def _each(values: Any, like: tf.RaggedTensor) -> tf.Tensor:
    return tf.gather(values, like.value_rowids())


def _all(like: tf.RaggedTensor, value: bool) -> tf.RaggedTensor:
    return like.with_flat_values(tf.fill(tf.shape(like.flat_values), value))


def _spread(values: Any, like: tf.RaggedTensor) -> tf.RaggedTensor:
    return like.with_flat_values(_each(values, like))
