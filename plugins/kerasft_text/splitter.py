"""Text to words with their offsets, by core TensorFlow operations only.

Training, prediction and the SavedModel split through the same graph, and every tokenizer of this package
starts here, so a label at a character offset means the same everywhere.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from kerasft_text.ragged import spread, true_at
from kerasft_text.unicode_tables import DROP, PAGE, SEQUENCE, SINGLE, SPACE, build_tables


class Words(NamedTuple):
    """The words of a batch of texts, end to end; `row_splits` says which text a word belongs to.

    Attributes:
        text: string [words]. The normalised word.
        start: int32 [words]. First character (Unicode code point) of the word in the original text.
        end: int32 [words]. One past its last character.
        byte_start: int32 [words]. The same as an offset into the UTF-8 bytes.
        byte_end: int32 [words]. One past its last byte.
        row_splits: int64 [batch + 1].
    """

    text: tf.Tensor
    start: tf.Tensor
    end: tf.Tensor
    byte_start: tf.Tensor
    byte_end: tf.Tensor
    row_splits: tf.Tensor

    def ragged(self, values: tf.Tensor) -> tf.RaggedTensor:
        """Gives one value a word the shape of the batch: [batch, words of the text]."""
        return tf.RaggedTensor.from_row_splits(values, self.row_splits, validate=False)


class WordSplitter(tf.Module):
    """Splits at white space and control characters; punctuation and Chinese characters stand alone.

    Args:
        lowercase: fold case and width ("Ａ" becomes "a"), as Unicode's NFKC_Casefold.
        strip_accents: drop accents ("é" becomes "e").
        split_symbols: read each symbol, emoji and Japanese kana as a word. Off for BERT vocabularies.

    Example:
        >>> words = WordSplitter()(tf.constant(["Où est-il? 在哪里"]))
        >>> [word.decode() for word in words.text.numpy()]
        ['où', 'est', '-', 'il', '?', '在', '哪', '里']
        >>> words.start.numpy().tolist()
        [0, 3, 6, 7, 9, 11, 12, 13]
    """

    def __init__(self, *, lowercase: bool = True, strip_accents: bool = False, split_symbols: bool = True):
        super().__init__()
        tables = build_tables(lowercase=lowercase, strip_accents=strip_accents, split_symbols=split_symbols)
        self._page_of = tables.page_of
        self._entries = (tables.change * 4 + tables.classes).reshape(-1)
        self._sequences, self._sequence_splits = tables.sequences, tables.sequence_splits

    def __call__(self, text: tf.Tensor) -> Words:
        """Splits a batch.

        Args:
            text: string [batch], UTF-8. A broken byte reads as U+FFFD.

        Returns:
            The words of all texts.
        """
        codes, offsets = tf.strings.unicode_decode_with_offsets(text, "UTF-8")
        row = spread(tf.cast(codes.row_splits[1:], tf.int32))
        row_starts, characters = tf.cast(codes.row_starts(), tf.int32), tf.cast(codes.row_lengths(), tf.int32)
        byte = tf.cast(offsets.flat_values, tf.int32)
        codes, kind = self._classify(codes.flat_values)

        # Marks that vanish belong to the character before them: leave them out first, so that a word ends
        # where the next visible character starts.
        visible = true_at(tf.not_equal(kind, DROP))
        codes, kind, row = tf.gather(codes, visible), tf.gather(kind, visible), tf.gather(row, visible)
        alone, boundary = kind >= SPACE, tf.ones_like(row[:1], tf.bool)  # SPACE or SINGLE: DROP is gone
        new_row = tf.not_equal(row[1:], row[:-1])
        inside, single = tf.not_equal(kind, SPACE), tf.equal(kind, SINGLE)
        begins = single | tf.concat([boundary, new_row | alone[:-1]], 0)
        ends = single | tf.concat([new_row | alone[1:], boundary], 0)
        first, last = true_at(begins & inside), true_at(ends & inside)

        word_row = tf.gather(row, first)
        position, following = tf.gather(visible, first), tf.gather(tf.concat([visible, [0]], 0), last + 1)
        last_of_row = tf.gather(tf.concat([new_row, boundary], 0), last)
        start_of_row = tf.gather(row_starts, word_row)
        per_row = tf.math.bincount(word_row, minlength=tf.size(text), maxlength=tf.size(text), dtype=tf.int64)
        return Words(
            text=self._words(tf.gather(codes, true_at(inside)), last - first + 1),
            start=position - start_of_row,
            end=tf.where(last_of_row, tf.gather(characters, word_row), following - start_of_row),
            byte_start=tf.gather(byte, position),
            byte_end=tf.where(
                last_of_row, tf.gather(tf.strings.length(text), word_row), tf.gather(byte, following)
            ),
            row_splits=tf.concat([[0], tf.cumsum(per_row)], 0),
        )

    def _classify(self, codes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Code points -> (normalised code points, or -1-k for sequence k; classes)."""
        cell = tf.gather(self._page_of, codes // PAGE) * PAGE + codes % PAGE
        entry = tf.gather(self._entries, cell)
        change, kind = tf.bitwise.right_shift(entry, 2), tf.bitwise.bitwise_and(entry, 3)
        return tf.where(change <= -SEQUENCE, change + SEQUENCE - 1, codes + change), kind

    def _words(self, codes: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
        """Encodes words as strings; `codes` holds `lengths` code points of each, end to end."""
        ends = tf.cumsum(lengths)
        if self._sequences.size:
            codes, ends = tf.cond(
                tf.reduce_any(codes < 0), lambda: self._written_out(codes, ends), lambda: (codes, ends)
            )
        splits = tf.cast(tf.concat([[0], ends], 0), tf.int64)
        return tf.strings.unicode_encode(
            tf.RaggedTensor.from_row_splits(codes, splits, validate=False), "UTF-8"
        )

    def _written_out(self, codes: tf.Tensor, ends: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Replaces the code points -1-k by the k-th sequence, and moves the ends of the words along."""
        sequence = tf.maximum(-1 - codes, 0)
        grown = tf.where(codes < 0, tf.gather(np.diff(self._sequence_splits), sequence), 1)
        grown_ends = tf.cumsum(grown)
        source = spread(grown_ends)
        within = tf.range(tf.size(source)) - tf.gather(grown_ends - grown, source)
        codes, sequence = tf.gather(codes, source), tf.gather(sequence, source)
        # `sequence` is 0 where nothing is replaced, so the look-up stays in range.
        member = tf.gather(self._sequences, tf.gather(self._sequence_splits, sequence) + within)
        return tf.where(codes < 0, member, codes), tf.gather(grown_ends, ends - 1)
