"""WordPiece by core TensorFlow operations: no custom operation in the exported model."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

_MAX_WORD_BYTES = 100
_SUFFIX = "##"


class WordPiece(tf.Module):
    """Cuts words into the longest pieces that a BERT vocabulary has, from the left.

    Most words are in the vocabulary: one look-up answers those. Only the others enter the loop, all together,
    one piece a turn.

    Args:
        vocabulary: the pieces in the order of their ids; "##" marks a piece inside a word.
        unknown: the piece for a word that cannot be cut, or is longer than 100 bytes.

    Example:
        >>> pieces = WordPiece(["[UNK]", "play", "##ing", "##s"])
        >>> pieces(tf.constant(["playing", "plays", "play", "told"])).to_list()
        [[1, 2], [1, 3], [1], [0]]
    """

    def __init__(self, vocabulary: Sequence[str], *, unknown: str = "[UNK]"):
        super().__init__()
        if unknown not in vocabulary:
            raise ValueError(
                f'The vocabulary has no "{unknown}", which stands for words that it cannot spell.'
            )
        firsts = {word: i for i, word in enumerate(vocabulary)}
        suffixes = {word[len(_SUFFIX) :]: i for word, i in firsts.items() if word.startswith(_SUFFIX)}
        suffixes.pop("", None)
        self._unknown = firsts[unknown]
        self._longest = max(len(word.encode()) for word in [*firsts, *suffixes])
        self._firsts = string_table(firsts, default=-1)
        self._suffixes = string_table(suffixes, default=-1)

    def __call__(self, words: tf.Tensor) -> tf.RaggedTensor:
        """Cuts words.

        Args:
            words: string [words], normalised.

        Returns:
            int32 [words, pieces of the word]. Every word that is not empty has at least one piece.
        """
        whole = self._firsts.lookup(words)
        rare = tf.cast(tf.where(whole < 0), tf.int32)
        pieces = tf.cond(
            tf.size(rare) > 0,
            lambda: self._with_cut(words, whole, rare),
            lambda: whole[:, None],
        )
        return tf.RaggedTensor.from_row_lengths(
            tf.boolean_mask(pieces, pieces >= 0),
            tf.reduce_sum(tf.cast(pieces >= 0, tf.int32), 1),
            validate=False,
        )

    def _with_cut(self, words: tf.Tensor, whole: tf.Tensor, rare: tf.Tensor) -> tf.Tensor:
        cut = self._cut(tf.gather_nd(words, rare))
        pieces = tf.pad(whole[:, None], [[0, 0], [0, tf.shape(cut)[1] - 1]], constant_values=-1)
        return tf.tensor_scatter_nd_update(pieces, rare, cut)

    def _cut(self, words: tf.Tensor) -> tf.Tensor:
        """Words that are not in the vocabulary -> ids [words, most pieces], -1 where there are fewer."""

        def turn(table: tf.lookup.StaticHashTable, rest: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            # In bytes: a prefix that ends inside a character is in no vocabulary.
            lengths = tf.range(1, self._longest + 1)
            starts = tf.zeros_like(lengths)
            prefixes = tf.strings.substr(rest[:, None], starts[None, :], lengths[None, :])
            ids = table.lookup(prefixes)
            # Prefixes longer than the rest repeat it, so the longest hit is cut back to the rest.
            longest = tf.reduce_max(tf.where(ids >= 0, lengths, 0), 1)
            best = tf.gather(ids, tf.maximum(longest - 1, 0), axis=1, batch_dims=1)
            left = tf.strings.length(rest)
            longest = tf.where(best >= 0, tf.minimum(longest, left), 0)
            return best, tf.strings.substr(rest, longest, left)

        def body(pieces: tf.Tensor, rest: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            best, rest = turn(self._suffixes, rest)
            return tf.concat([pieces, best[:, None]], 1), rest

        def going(pieces: tf.Tensor, rest: tf.Tensor) -> tf.Tensor:
            return tf.reduce_any((pieces[:, -1] >= 0) & tf.not_equal(rest, ""))

        # Emptied before the loop, which would otherwise take a turn for each piece of the longest word.
        too_long = tf.strings.length(words) > _MAX_WORD_BYTES
        best, rest = turn(self._firsts, tf.where(too_long, "", words))
        pieces, rest = tf.while_loop(
            going,
            body,
            (best[:, None], rest),
            shape_invariants=(tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([None], tf.string)),
        )
        bad = tf.not_equal(rest, "") | too_long
        alone = tf.concat(
            [tf.fill([tf.size(words), 1], self._unknown), tf.fill(tf.shape(pieces[:, 1:]), -1)], 1
        )
        return tf.where(bad[:, None], alone, pieces)


def string_table(ids: dict[str, int], *, default: int) -> tf.lookup.StaticHashTable:
    """A table from strings to int32 ids that travels inside the graph.

    Args:
        ids: the id of each string; may be empty.
        default: the id of every other string.
    """
    keys = list(ids) or ["\x00"]
    values = list(ids.values()) or [default]
    return tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(tf.constant(keys, tf.string), tf.constant(values, tf.int32)),
        default,
    )
