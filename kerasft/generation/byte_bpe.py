"""Byte-level byte pair encoding with core TensorFlow operations, so that any server can run it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tensorflow as tf

from kerasft.errors import ConfigError

_CUT = b"\xff"  # between words: no UTF-8 holds this byte, and no pattern matches it
_SPACE = r"\t\n\x0b\x0c\r \x{85}\p{Z}"
_NONE = -1
_NEVER = np.iinfo(np.int64).max

Split = Literal["gpt2", "smollm", "llama3", "qwen", "bloom"]
_WORDS = rf"'s|'t|'re|'ve|'m|'ll|'d| ?\p{{L}}+| ?\p{{N}}+| ?[^{_SPACE}\p{{L}}\p{{N}}]+|[{_SPACE}]+"
# Of spaces before a word the last belongs to it. The usual pattern looks ahead for that, which RE2 cannot.
_LAST_SPACE = (rf"([{_SPACE}])([{_SPACE}][^{_SPACE}])", rb"\1" + _CUT + rb"\2")
# A word takes any one character before it with it, but no new line, and runs of new lines stay whole.
_LATER_WORDS = (
    rf"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{COUNT}}"
    rf"| ?[^{_SPACE}\p{{L}}\p{{N}}]+[\r\n]*|[{_SPACE}]*[\r\n]+|[{_SPACE}]+"
)
_LAST_SPACE_OF_LINE = (rf"([{_SPACE}])([\t\x0b\x0c \x{{85}}\p{{Z}}][^{_SPACE}])", rb"\1" + _CUT + rb"\2")
_DIGITS = (r"(\p{N})", _CUT + rb"\1" + _CUT)
# BLOOM's words are what stands between spaces and these marks.
_MARKED_WORDS = rf"( ?[^{_SPACE}()|.,!?…。，、।۔،]+)"
_STEPS: dict[str, tuple[tuple[str, bytes], ...]] = {
    "gpt2": (_LAST_SPACE, (f"({_WORDS})", rb"\1" + _CUT)),
    "smollm": (_DIGITS, _LAST_SPACE, (f"({_WORDS})", rb"\1" + _CUT)),
    "llama3": (_LAST_SPACE_OF_LINE, (f"({_LATER_WORDS.replace('COUNT', '1,3')})", rb"\1" + _CUT)),
    "qwen": (_LAST_SPACE_OF_LINE, (f"({_LATER_WORDS.replace('COUNT', '1')})", rb"\1" + _CUT)),
    "bloom": ((_MARKED_WORDS, _CUT + rb"\1" + _CUT),),
}


class ByteBpe(tf.Module):
    """A vocabulary of pieces of bytes that travels in the graph.

    Text is read as it is, byte for byte, so decoding gives it back; it must be valid UTF-8. It is cut into
    words, and in each word the pair that was learned first is joined, again and again. Bytes that have no
    piece (in some vocabularies rare control characters) are left out.

    Source: Sennrich et al., 2016, "Neural Machine Translation of Rare Words with Subword Units"; Radford et
    al., 2019, "Language Models are Unsupervised Multitask Learners", for bytes and words.

    Args:
        tokens: The pieces by id, in GPT-2's alphabet of printable characters for bytes.
        merges: Pairs in the order in which they were learned, two pieces with a space between.
        split: How text is cut into words: as for GPT-2, or with every digit alone too (SmolLM), or as for
            Llama 3, Qwen or BLOOM.
        special: Ids that no text is made of and that stand for no text.

    Raises:
        ConfigError: A printable character of ASCII has no piece, or a pair makes no piece.

    Attributes:
        size: Number of ids.
        special: The special pieces and their ids.

    Example:
        >>> tokens = [*byte_alphabet(), "lo", "low"]
        >>> bpe = ByteBpe(tokens, ["l o", "lo w"], split="gpt2")
        >>> ids = bpe.encode(tf.constant(["low 1"]))
        >>> ids.to_list(), bpe.decode(ids).numpy().tolist()
        ([[257, 32, 49]], [b'low 1'])
    """

    def __init__(
        self, tokens: Sequence[str], merges: Sequence[str], *, split: Split, special: Sequence[int] = ()
    ) -> None:
        super().__init__()
        record = {"tokens": [*tokens], "merges": [*merges], "split": split, "special": [*special]}
        # As text, because tf.Module wraps lists and dicts.
        self._record = json.dumps(record, ensure_ascii=False)
        self.size = len(tokens)
        self.special = {tokens[number]: number for number in special}
        if split not in _STEPS:
            raise ConfigError(f"split is {split!r}; it must be {' or '.join(_STEPS)}")
        self._split = split
        ids = {token: number for number, token in enumerate(tokens) if number not in set(special)}
        letters = byte_alphabet()
        lacking = [letter for letter in letters[32:127] if letter not in ids]
        if lacking:
            raise ConfigError(f"the vocabulary has no piece for {lacking[0]!r}: it is no byte-level one")
        pairs, joined = [], []
        for pair in merges:
            left, _, right = pair.partition(" ")
            if left not in ids or right not in ids or left + right not in ids:
                raise ConfigError(f"the merge {pair!r} joins or makes a piece that the vocabulary lacks")
            pairs.append(ids[left] * self.size + ids[right])
            joined.append(ids[left + right])
        # Of a pair that is listed twice the first counts, as in a dict that is not overwritten.
        keys, ranks = np.unique(np.array(pairs, np.int64), return_index=True)
        bytes_of = {letter: bytes([number]) for number, letter in enumerate(letters)}
        texts = [
            b""
            if number in set(special)
            else b"".join(bytes_of.get(letter, letter.encode()) for letter in token)
            for number, token in enumerate(tokens)
        ]

        def kept(values: Any) -> tf.Variable:
            # Variables, because every signature of an export would have its own copy of a constant.
            return tf.Variable(values, trainable=False)

        self._keys, self._ranks = kept(keys), kept(ranks.astype(np.int64))
        self._joined = kept(np.array(joined, np.int32))
        self._first = kept(np.array([ids.get(letter, _NONE) for letter in letters], np.int32))
        self._texts = kept(tf.constant(texts))

    def encode(self, text: Any) -> tf.RaggedTensor:
        """Returns the ids of texts, int32 [batch, ids].

        Args:
            text: string [batch], valid UTF-8.
        """
        words = self._words(text)
        different, places = tf.unique(words.flat_values)
        ids = tf.gather(self._merged(different), places)
        return words.with_flat_values(ids).merge_dims(1, 2)

    def decode(self, ids: Any) -> tf.Tensor:
        """Returns texts, string [batch]; of ids that cut a character apart, broken UTF-8.

        Args:
            ids: int32 [batch, ids], ragged.
        """
        pieces = ids.with_flat_values(tf.gather(self._texts, ids.flat_values))
        return tf.strings.reduce_join(pieces, axis=-1)

    def _words(self, text: Any) -> tf.RaggedTensor:
        for pattern, rewrite in _STEPS[self._split]:
            text = tf.strings.regex_replace(text, pattern, rewrite)
        words = tf.strings.split(text, sep=_CUT)
        return tf.ragged.boolean_mask(words, words != "")

    def _merged(self, words: Any) -> tf.RaggedTensor:
        letters = tf.strings.bytes_split(words)
        number = tf.reshape(tf.io.decode_raw(letters.flat_values, tf.uint8), [-1])
        pieces = tf.gather(tf.convert_to_tensor(self._first), tf.cast(number, tf.int32))
        rows = tf.cast(letters.value_rowids(), tf.int32)
        pieces, rows = (tf.boolean_mask(part, pieces != _NONE) for part in (pieces, rows))
        count = tf.shape(words)[0]
        keys, ranks, joined = (
            tf.convert_to_tensor(table) for table in (self._keys, self._ranks, self._joined)
        )

        def best(pieces: Any, rows: Any) -> tuple[Any, Any]:
            """Ranks of neighbours, and whether they are the best of their word."""
            key = tf.cast(pieces[:-1], tf.int64) * self.size + tf.cast(pieces[1:], tf.int64)
            place = tf.minimum(tf.searchsorted(keys, key), tf.shape(keys)[0] - 1)
            known = (tf.gather(keys, place) == key) & (rows[:-1] == rows[1:])
            rank = tf.where(known, tf.gather(ranks, place), _NEVER)
            least = tf.math.unsorted_segment_min(rank, rows[:-1], count)
            return rank, known & (rank == tf.gather(least, rows[:-1]))

        def body(pieces: Any, rows: Any, rank: Any, chosen: Any) -> tuple[Any, ...]:
            # In a run such as "aaa" pairs overlap: every second one is joined, from the left.
            begins = chosen & ~tf.concat([[False], chosen[:-1]], axis=0)
            order = tf.range(tf.size(chosen))
            begun = tf.gather(
                tf.boolean_mask(order, begins), tf.maximum(tf.cumsum(tf.cast(begins, tf.int32)) - 1, 0)
            )
            taken = chosen & ((order - begun) % 2 == 0)
            made = tf.gather(joined, tf.where(taken, rank, 0))
            left = tf.concat([tf.where(taken, made, pieces[:-1]), pieces[-1:]], axis=0)
            stays = ~tf.concat([[False], taken], axis=0)
            pieces, rows = tf.boolean_mask(left, stays), tf.boolean_mask(rows, stays)
            return pieces, rows, *best(pieces, rows)

        free = tf.TensorShape([None])
        if keys.shape[0]:
            pieces, rows, _, _ = tf.while_loop(
                lambda *values: tf.reduce_any(values[-1]),
                body,
                (pieces, rows, *best(pieces, rows)),
                shape_invariants=(free, free, free, free),
                parallel_iterations=1,
            )
        return tf.RaggedTensor.from_value_rowids(pieces, tf.cast(rows, tf.int64), tf.cast(count, tf.int64))

    def save(self, path: Path) -> None:
        """Writes what `load` reads, JSON."""
        path.write_text(self._record, encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> ByteBpe:
        """Reads what `save` wrote.

        Raises:
            ConfigError: There is no such file, or it is another one.
        """
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            return cls(record["tokens"], record["merges"], split=record["split"], special=record["special"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            if isinstance(error, ConfigError):
                raise
            raise ConfigError(f"{path} holds no vocabulary that can be read ({error!r})") from error


def byte_alphabet() -> list[str]:
    """Returns GPT-2's character for each byte: printable ones stand for themselves.

    Example:
        >>> byte_alphabet()[65], byte_alphabet()[32]
        ('A', 'Ġ')
    """
    shown = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(256, 512))
    return [chr(number) if number in shown else chr(next(others)) for number in range(256)]
