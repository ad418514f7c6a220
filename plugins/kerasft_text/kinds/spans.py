"""Between BIO tags on words and spans of characters, inside the graph."""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from kerasft_text.metrics import tag_spans
from kerasft_text.ragged import position_in_row
from kerasft_text.splitter import Words


class Gold(NamedTuple):
    """What the training data says about a batch.

    Attributes:
        tags: int32 [words]. The tag of each word, see `kerasft_text.metrics.tag_spans`.
        spans: int32 [batch, spans, 3], ragged. (start, end, 1 + type) in characters.
        unit_word: int32 [batch, units], ragged. A unit is what spans are counted over: a token of the data,
            or a word. One plus the number of its first word; 0 for a token without any.
        unit_bounds: int32 [batch, units, 2], ragged. Its first character, and one past its last.
    """

    tags: tf.Tensor
    spans: tf.RaggedTensor
    unit_word: tf.RaggedTensor
    unit_bounds: tf.RaggedTensor

    def targets(self, words: Words) -> dict[str, Any]:
        """Returns the parts by name."""
        return {
            "tags": words.ragged(self.tags),
            "spans": self.spans,
            "unit_word": self.unit_word,
            "unit_bounds": self.unit_bounds,
        }


def joined(tokens: tf.RaggedTensor) -> tf.Tensor:
    """Makes texts of tokens, a space between them."""
    return tf.strings.reduce_join(tokens, axis=-1, separator=" ")


def gold_from_tags(tokens: tf.RaggedTensor, tags: tf.Tensor, words: Words) -> Gold:
    """Projects the tags of a data set's own tokens on the words of the joined text.

    Args:
        tokens: string [batch, tokens].
        tags: int32 [tokens of all rows].
        words: of the joined text.
    """
    splits = tf.cast(tokens.row_splits, tf.int32)
    row, _ = position_in_row(splits)
    lengths = tf.strings.length(tokens.flat_values, unit="UTF8_CHAR")
    ends = tf.cumsum(lengths + 1)
    starts = ends - lengths - 1
    offset = tf.gather(tf.gather(tf.concat([starts, ends[-1:]], 0), splits[:-1]), row)
    bounds = tf.stack([starts - offset, starts - offset + lengths], 1)

    token = _token_of_word(words, row, bounds[:, 0])
    new = tf.concat([tf.ones_like(token[:1], tf.bool), tf.not_equal(token[1:], token[:-1])], 0)
    # A token that was cut into several words begins its entity once.
    word_tags = tf.gather(tags, token)
    inside = tf.where(word_tags % 2 == 1, word_tags + 1, word_tags)
    _, position = position_in_row(words.row_splits)
    first_word = tf.scatter_nd(
        tf.boolean_mask(token, new)[:, None], tf.boolean_mask(position + 1, new), tf.shape(tags)
    )
    unit_bounds = tokens.with_values(bounds)
    spans = tag_spans(tokens.with_values(tags).to_tensor())
    return Gold(
        tags=tf.where(new, word_tags, inside),
        spans=_ragged(to_characters(spans, unit_bounds.to_tensor())),
        unit_word=tokens.with_values(first_word),
        unit_bounds=unit_bounds,
    )


def gold_from_spans(starts: tf.RaggedTensor, ends: tf.RaggedTensor, types: tf.Tensor, words: Words) -> Gold:
    """Projects spans of characters on words; white space at the edge of a span does not count.

    Args:
        starts: int64 [batch, spans].
        ends: int64 [batch, spans], exclusive.
        types: int32 [spans of all rows].
        words: of the text.
    """
    # One span more than there are, an empty one, so that there is always something to choose from.
    left, right, kind = (
        tf.pad(tf.cast(part.to_tensor(), tf.int32), [[0, 0], [0, 1]])
        for part in (starts, ends, starts.with_values(types + 1))
    )
    left, right = left[:, None], right[:, None]
    bounds = words.ragged(tf.stack([words.start, words.end], 1))
    dense = bounds.to_tensor()
    start, end = dense[..., :1], dense[..., 1:]
    # [batch, words, spans]
    overlap = (start < right) & (end > left)
    begins = overlap & ~tf.pad(overlap, [[0, 0], [1, 0], [0, 0]])[:, :-1]
    which = tf.argmax(overlap, 2, output_type=tf.int32)
    tags = 2 * tf.gather(kind, which, batch_dims=1)
    tags -= tf.cast(tf.gather(begins, which, axis=2, batch_dims=2), tf.int32)
    tags = tf.where(tf.reduce_any(overlap, 2), tags, 0)

    far = tf.reduce_max(tf.concat([[0], words.end], 0)) + tf.reduce_max(right) + 1
    first = tf.reduce_min(tf.where(overlap, tf.maximum(start, left), far), 1)
    last = tf.reduce_max(tf.where(overlap, tf.minimum(end, right), 0), 1)
    found = tf.reduce_any(overlap, 1) & (kind > 0)
    spans = tf.where(found[..., None], tf.stack([first, last, kind], -1), 0)
    _, position = position_in_row(words.row_splits)
    return Gold(
        tags=tf.RaggedTensor.from_tensor(tags, lengths=bounds.row_lengths()).flat_values,
        spans=_ragged(spans),
        unit_word=words.ragged(position + 1),
        unit_bounds=bounds,
    )


def unlearnable(targets: dict[str, Any]) -> tf.RaggedTensor:
    """Finds the spans that no tags of words say: they overlap others, or end inside a word.

    Args:
        targets: of a `Gold`.

    Returns:
        bool [batch, spans], in the order of `Gold.spans`.
    """
    said = to_characters(tag_spans(targets["tags"].to_tensor()), targets["unit_bounds"].to_tensor())
    spans = targets["spans"].to_tensor()
    same = tf.reduce_all(tf.equal(spans[:, :, None], said[:, None]), -1)
    return tf.RaggedTensor.from_tensor(~tf.reduce_any(same, -1), lengths=targets["spans"].row_lengths())


def to_characters(spans: tf.Tensor, bounds: tf.Tensor) -> tf.Tensor:
    """Turns spans over units into spans of characters.

    Args:
        spans: int32 [batch, any, 3], as `tag_spans` returns them; zeros stay zeros.
        bounds: int32 [batch, units, 2]. First character of each unit, and one past its last.
    """
    there = spans[..., 2] > 0
    start = tf.gather(bounds[..., 0], spans[..., 0], batch_dims=1)
    end = tf.gather(bounds[..., 1], tf.maximum(spans[..., 1] - 1, 0), batch_dims=1)
    return tf.where(there[..., None], tf.stack([start, end, spans[..., 2]], -1), 0)


def _token_of_word(words: Words, token_row: tf.Tensor, token_start: tf.Tensor) -> tf.Tensor:
    """The number, over all rows, of the token that each word stands in."""
    row, _ = position_in_row(words.row_splits)
    longest = 1 + tf.cast(tf.reduce_max(tf.concat([[0], words.start, token_start], 0)), tf.int64)

    def place(rows: tf.Tensor, starts: tf.Tensor) -> tf.Tensor:
        return tf.cast(rows, tf.int64) * longest + tf.cast(starts, tf.int64)

    found = tf.searchsorted(place(token_row, token_start), place(row, words.start), side="right")
    return tf.maximum(found - 1, 0)


def _ragged(spans: tf.Tensor) -> tf.RaggedTensor:
    there = spans[..., 2] > 0
    return tf.RaggedTensor.from_row_lengths(
        tf.boolean_mask(spans, there), tf.reduce_sum(tf.cast(there, tf.int64), 1), validate=False
    )
