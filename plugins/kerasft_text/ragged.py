"""Small tools for rows of different length, laid end to end."""

from __future__ import annotations

import tensorflow as tf


def true_at(mask: tf.Tensor) -> tf.Tensor:
    """Returns where a bool [n] is true, int32."""
    return tf.cast(tf.squeeze(tf.where(mask), -1), tf.int32)


def spread(ends: tf.Tensor) -> tf.Tensor:
    """Returns the row of each element, given where the rows end.

    Args:
        ends: int32 [rows], ascending; an empty row ends where the one before it does.

    Example:
        >>> spread(tf.constant([2, 2, 5])).numpy().tolist()
        [0, 0, 2, 2, 2]
    """
    size = tf.concat([[0], ends], 0)[-1]
    return tf.cumsum(tf.math.bincount(ends, minlength=size + 1, maxlength=size + 1))[:-1]


def position_in_row(splits: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the row of each element, and its position in the row.

    Args:
        splits: int [rows + 1].

    Example:
        >>> [part.numpy().tolist() for part in position_in_row(tf.constant([0, 2, 2, 5]))]
        [[0, 0, 2, 2, 2], [0, 1, 0, 1, 2]]
    """
    splits = tf.cast(splits, tf.int32)
    row = spread(splits[1:])
    return row, tf.range(tf.size(row)) - tf.gather(splits, row)


def frame(
    tokens: tf.RaggedTensor, *, limit: int, start: int | None, end: int | None, empty: int
) -> tf.RaggedTensor:
    """Cuts rows of tokens to a length and puts a token before and after each.

    Args:
        tokens: int32 [rows, tokens].
        limit: most tokens of a result, `start` and `end` included.
        start: put before; None for nothing.
        end: put after; None for nothing.
        empty: fills a row that would have no token at all.

    Example:
        >>> tokens = tf.RaggedTensor.from_row_lengths([5, 6, 7], [3, 0])
        >>> frame(tokens, limit=4, start=1, end=2, empty=9).to_list()
        [[1, 5, 6, 2], [1, 2]]
        >>> frame(tokens, limit=4, start=None, end=None, empty=9).to_list()
        [[5, 6, 7], [9]]
    """
    before, after = int(start is not None), int(end is not None)
    room = limit - before - after
    row, position = position_in_row(tokens.row_splits)
    kept = true_at(position < room)
    lengths = tf.minimum(tf.cast(tokens.row_lengths(), tf.int32), room) + before + after
    lengths = tf.maximum(lengths, 1)
    ends = tf.cumsum(lengths)
    starts = ends - lengths
    places = [tf.gather(tf.gather(starts, row) + position + before, kept)]
    values = [tf.gather(tokens.flat_values, kept)]
    if start is not None:
        places.append(starts)
        values.append(tf.fill(tf.shape(starts), start))
    if end is not None:
        places.append(ends - 1)
        values.append(tf.fill(tf.shape(ends), end))
    flat = tf.fill([tf.reduce_sum(lengths)], empty)
    flat = tf.tensor_scatter_nd_update(flat, tf.concat(places, 0)[:, None], tf.concat(values, 0))
    return tf.RaggedTensor.from_row_lengths(flat, tf.cast(lengths, tf.int64), validate=False)
