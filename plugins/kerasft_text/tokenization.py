"""Tokenizers: raw text in, ragged token ids out, inside the graph.

Every tokenizer answers the same three calls: `encode` (TensorFlow operations only), `save` and, through
`load_tokenizer`, back again. Padding is 0 for all of them, because that is what the framework pads with.
"""

from __future__ import annotations

import collections
import json
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import tensorflow as tf

from kerasft.errors import ConfigError, DataError
from kerasft_text.ragged import frame, position_in_row
from kerasft_text.splitter import Words, WordSplitter
from kerasft_text.wordpiece import WordPiece, string_table

PAD, UNKNOWN = "[PAD]", "[UNK]"
_UNKNOWN_ID = 1
_SETTINGS, _VOCABULARY = "tokenizer.json", "vocabulary.txt"
_CHUNK = 4096


class Encoding(NamedTuple):
    """A batch of texts as a model sees it.

    Attributes:
        token_ids: int32 [batch, tokens of the text], ragged.
        words: the words and their offsets; None from a tokenizer that knows no words.
        first_token: int32 [words]. One plus the position of the token that stands for a word; 0 for a word
            that was cut off.
    """

    token_ids: tf.RaggedTensor
    words: Words | None
    first_token: tf.Tensor | None


class _Traced:
    """A function that is traced once for all graphs; hidden from tf.Module, which would export it."""

    def __init__(self, function: Callable[[tf.Tensor], Encoding]):
        signature = [tf.TensorSpec([None], tf.string)]
        self.function = tf.function(function, input_signature=signature, autograph=False)


class Tokenizer(tf.Module):
    """What all tokenizers share."""

    kind: ClassVar[str]
    splits_words: ClassVar[bool] = True
    """Whether `encode` knows the words of a text, as entities need it."""

    vocabulary_size: int
    padding_id: int = 0
    """Padding in the model's own vocabulary. If not 0, `encode` adds 1 to every id, to keep 0 free."""

    def __init__(self) -> None:
        super().__init__()
        self._traced = _Traced(self._encode)

    def encode(self, text: tf.Tensor) -> Encoding:
        """Encodes texts.

        Args:
            text: string [batch], UTF-8.

        Returns:
            At least one token a text, at most the configured number.
        """
        return self._traced.function(text)

    def _encode(self, text: tf.Tensor) -> Encoding:
        raise NotImplementedError

    def settings(self) -> dict[str, Any]:
        """Returns the keyword arguments that make the same tokenizer again, vocabulary apart."""
        raise NotImplementedError

    def save(self, folder: Path) -> None:
        """Writes all that `load_tokenizer` needs."""
        content = json.dumps({"kind": self.kind, **self.settings()}, indent=1, sort_keys=True)
        (folder / _SETTINGS).write_text(content + "\n", encoding="utf-8")


class WordTokenizer(Tokenizer):
    """One id a word; for encoders that are trained from scratch.

    Args:
        vocabulary: words by id; the first two are "[PAD]" and "[UNK]".
        max_length: words after this many are cut off.
        lowercase: fold case and width.
        strip_accents: read "é" as "e".
        ngrams: runs of two to this many words follow the words of a text, as far as the vocabulary has them.
            Source: Joulin et al., 2017, "Bag of Tricks for Efficient Text Classification".

    Example:
        >>> tokenizer = WordTokenizer.learn(["red wine", "white wine"], max_length=8)
        >>> tokenizer.vocabulary
        ('[PAD]', '[UNK]', 'wine', 'red', 'white')
        >>> tokenizer.encode(tf.constant(["Red or white wine?"])).token_ids.to_list()
        [[3, 1, 4, 2, 1]]
    """

    kind = "words"

    def __init__(
        self,
        vocabulary: Sequence[str],
        *,
        max_length: int,
        lowercase: bool = True,
        strip_accents: bool = False,
        ngrams: int = 1,
    ):
        super().__init__()
        self.vocabulary = tuple(vocabulary)
        self.vocabulary_size = len(self.vocabulary)
        self._settings = {
            "max_length": max_length,
            "lowercase": lowercase,
            "strip_accents": strip_accents,
            "ngrams": ngrams,
        }
        self._split = WordSplitter(lowercase=lowercase, strip_accents=strip_accents)
        ids = {word: i for i, word in enumerate(self.vocabulary)}
        self._ids = string_table({word: i for word, i in ids.items() if i > 1}, default=_UNKNOWN_ID)

    @classmethod
    def learn(
        cls,
        texts: Iterable[str],
        *,
        max_length: int,
        min_count: int = 1,
        max_size: int = 30_000,
        ngrams: int = 1,
        **options: Any,
    ) -> WordTokenizer:
        """Makes a vocabulary of the words in `texts`, the most frequent first, then in alphabetical order.

        Args:
            texts: the training texts; read once, in pieces.
            max_length: as in the constructor.
            min_count: rarer words are left out.
            max_size: most entries, "[PAD]" and "[UNK]" included.
            ngrams: as in the constructor.
            **options: `lowercase` and `strip_accents`.

        Raises:
            DataError: no word is left.
        """
        split = WordSplitter(**options)

        def terms(text: tf.Tensor) -> tf.Tensor:
            words = split(text)
            return tf.concat([part.flat_values for part in _runs(words.ragged(words.text), ngrams)], 0)

        count = tf.function(terms, input_signature=[tf.TensorSpec([None], tf.string)])
        counts: collections.Counter[bytes] = collections.Counter()
        texts = iter(texts)
        while chunk := list(islice(texts, _CHUNK)):
            counts.update(count(tf.constant(chunk, tf.string)).numpy().tolist())
        ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        words = [word.decode() for word, n in ranked if n >= min_count][: max_size - 2]
        if not words:
            raise DataError(
                f"No word occurs at least {min_count} times in the training texts; "
                "lower vocabulary.min_count or check the text column."
            )
        return cls([PAD, UNKNOWN, *words], max_length=max_length, ngrams=ngrams, **options)

    def _encode(self, text: tf.Tensor) -> Encoding:
        words = self._split(text)
        limit, ngrams = self._settings["max_length"], self._settings["ngrams"]
        terms = words.ragged(words.text)[:, :limit] if ngrams > 1 else words.ragged(words.text)
        ids, *runs = (tf.ragged.map_flat_values(self._ids.lookup, part) for part in _runs(terms, ngrams))
        known = [tf.ragged.boolean_mask(run, run != _UNKNOWN_ID) for run in runs]
        # A model needs something to look at: no words at all read as one unknown word.
        token_ids = frame(
            tf.concat([ids, *known], 1) if known else ids,
            limit=limit * ngrams,
            start=None,
            end=None,
            empty=_UNKNOWN_ID,
        )
        _, position = position_in_row(words.row_splits)
        return Encoding(token_ids, words, tf.where(position < limit, position + 1, 0))

    def settings(self) -> dict[str, Any]:
        return dict(self._settings)

    def save(self, folder: Path) -> None:
        super().save(folder)
        _write_vocabulary(folder, self.vocabulary)


class WordPieceTokenizer(Tokenizer):
    """The tokenizer of BERT and its relatives: "[CLS]", the pieces of the words, "[SEP]".

    Its ids are those of `keras_hub.models.BertTokenizer`, but for one thing: a no-break or other non-ASCII
    space separates words, as in the original BERT, where KerasHub makes an unknown word of both neighbours.

    Args:
        vocabulary: pieces by id; "[PAD]" must be the first.
        max_length: most tokens of a text, "[CLS]" and "[SEP]" included.
        lowercase: fold case, for an uncased vocabulary.
        strip_accents: read "é" as "e"; uncased vocabularies expect it.

    Raises:
        ConfigError: a special piece is missing.
    """

    kind = "wordpiece"

    def __init__(self, vocabulary: Sequence[str], *, max_length: int, lowercase: bool, strip_accents: bool):
        super().__init__()
        self.vocabulary = tuple(vocabulary)
        self.vocabulary_size = len(self.vocabulary)
        missing = [piece for piece in (PAD, UNKNOWN, "[CLS]", "[SEP]") if piece not in self.vocabulary]
        if missing or self.vocabulary[0] != PAD:
            raise ConfigError(
                f"The WordPiece vocabulary lacks {', '.join(missing)}; give one that BERT can use."
                if missing
                else f'The WordPiece vocabulary starts with "{self.vocabulary[0]}"; "[PAD]" must have id 0.'
            )
        self._settings = {"max_length": max_length, "lowercase": lowercase, "strip_accents": strip_accents}
        self._start, self._end = self.vocabulary.index("[CLS]"), self.vocabulary.index("[SEP]")
        self._split = WordSplitter(lowercase=lowercase, strip_accents=strip_accents, split_symbols=False)
        self._pieces = WordPiece(self.vocabulary)

    def _encode(self, text: tf.Tensor) -> Encoding:
        words = self._split(text)
        pieces = self._pieces(words.text)
        # The pieces of a text start where those of its first word do.
        splits = tf.gather(pieces.row_splits, words.row_splits)
        of_text = tf.RaggedTensor.from_row_splits(pieces.flat_values, splits, validate=False)
        limit = self._settings["max_length"]
        token_ids = frame(of_text, limit=limit, start=self._start, end=self._end, empty=_UNKNOWN_ID)
        _, position = position_in_row(splits)
        first = tf.gather(position, tf.cast(pieces.row_splits[:-1], tf.int32))
        return Encoding(token_ids, words, tf.where(first < limit - 2, first + 2, 0))

    def settings(self) -> dict[str, Any]:
        return dict(self._settings)

    def save(self, folder: Path) -> None:
        super().save(folder)
        _write_vocabulary(folder, self.vocabulary)


def load_tokenizer(folder: Path) -> Tokenizer:
    """Reads what `Tokenizer.save` wrote."""
    settings = json.loads((folder / _SETTINGS).read_text(encoding="utf-8"))
    kind = settings.pop("kind")
    if kind == "keras_hub":
        from kerasft_text.hub_tokenizer import HubTokenizer

        return HubTokenizer.load(folder, **settings)
    words = (folder / _VOCABULARY).read_text(encoding="utf-8").split("\n")[:-1]
    return {WordTokenizer.kind: WordTokenizer, WordPieceTokenizer.kind: WordPieceTokenizer}[kind](
        words, **settings
    )


def _runs(words: tf.RaggedTensor, longest: int) -> list[tf.RaggedTensor]:
    """Returns the words of each text, then its runs of two words, of three ..., words joined by a space."""
    return [words, *(tf.strings.ngrams(words, width) for width in range(2, longest + 1))]


def _write_vocabulary(folder: Path, words: Sequence[str]) -> None:
    with (folder / _VOCABULARY).open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{word}\n" for word in words)
