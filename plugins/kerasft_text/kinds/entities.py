"""Named spans of a text."""

from __future__ import annotations

import collections
import itertools
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kerasft.data import Field, Source
from kerasft.errors import ConfigError, DataError
from kerasft.training.examples import raw_tensors
from kerasft.training.update import Batch
from kerasft_text import metrics
from kerasft_text.config import TextConfig
from kerasft_text.consistency import softmax_divergence
from kerasft_text.kinds.base import TEXT, Kind
from kerasft_text.kinds.spans import gold_from_spans, gold_from_tags, joined, to_characters, unlearnable
from kerasft_text.metrics import tag_spans
from kerasft_text.tokenization import Encoding, Tokenizer
from kerasft_text.wordpiece import string_table

_PREFIXES = {"B": 0, "U": 0, "S": 0, "I": 1, "L": 1, "E": 1, "M": 1}
"""Ways to write that a word begins an entity, or continues one (BIO, BILOU, BIOES)."""

_ROWS = 256


class Entities(Kind):
    """Signature: text string [n] -> an element for each entity, text after text, and `row_splits` int64 [n +
    1].
        `start` and `end` (int32) count characters (Unicode code points, as Python does), `byte_start` and
        `byte_end` the bytes of the UTF-8 text; `end` is exclusive. `type` is a string, `score` the mean
        probability of the span's words.

        Training data has tokens and tags, or text and entities as [start, end, type] in characters.
    """

    monitor = "val_span_f1"
    call = "extract"

    def __init__(self, config: TextConfig):
        super().__init__(config)
        self._tags: tf.lookup.StaticHashTable | None = None

    def fields(self) -> tuple[Field, ...]:
        text = Field(name="text", kind="text", aliases=TEXT.aliases, required=False)
        return (
            text,
            Field(
                name="entities",
                kind="spans",
                target=True,
                required=False,
                aliases=("spans",),
                over="text",
                classes=self.names,
            ),
            Field(name="tokens", kind="tokens", required=False, aliases=("words",)),
            Field(
                name="tags",
                kind="tags",
                target=True,
                required=False,
                aliases=("ner_tags", "labels"),
                over="tokens",
                classes=self._tag_names(),
            ),
        )

    def texts(self, source: Source) -> Iterator[str]:
        if "tokens" in source.columns:
            return (" ".join(tokens) for tokens in source.iterate("tokens"))
        return super().texts(source)

    def adapt(self, source: Source) -> None:
        if not ({"tokens", "tags"} <= set(source.columns) or {"text", "entities"} <= set(source.columns)):
            raise DataError(_no_columns(source.columns))
        if self.names is not None:
            return
        if {"tokens", "tags"} <= set(source.columns):
            tags = source.classes("tags")
            wrong = [tag for tag in tags if tag != "O" and (tag[1:2] != "-" or tag[0] not in _PREFIXES)]
            if wrong:
                raise DataError(
                    f'{source.name} has the tag "{wrong[0]}"; tags are "O", "B-type" and "I-type" (BILOU and '
                    "BIOES work too)."
                )
            names = {tag[2:] for tag in tags if tag != "O"}
        else:
            names = set(source.classes("entities"))
        if not names:
            raise DataError(f"{source.name} marks no entity at all; there is nothing to learn.")
        self.names = tuple(sorted(names))

    def warn(self, source: Source, encode: Callable[[tf.Tensor], Encoding]) -> None:
        if {"tokens", "tags"} <= set(source.columns):
            return
        total, reasons, first = 0, collections.Counter[str](), ""
        for start in range(0, len(source), _ROWS):
            rows = source.take(np.arange(start, min(start + _ROWS, len(source))))
            raw = raw_tensors(rows, self.fields())
            targets = self.targets(raw, encode(raw["text"]))
            judged = zip(targets["spans"].to_list(), unlearnable(targets).to_list(), strict=True)
            for row, (spans, lost) in enumerate(judged):
                total += len(spans)
                for begin, end, _ in itertools.compress(spans, lost):
                    overlaps = sum(a < end and b > begin for a, b, _ in spans) > 1
                    reasons["overlap another" if overlaps else "cover a part of a word"] += 1
                    first = first or f"{rows['text'][row][begin:end]!r} in {source.where(start + row)}"
        if first:
            why = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
            warnings.warn(
                f"{reasons.total()} of {total} entities cannot be learned, for the model tags whole words, "
                f"each once: {why}; the first is {first}.",
                stacklevel=2,
            )

    def check_tokenizer(self, tokenizer: type[Tokenizer]) -> None:
        if not tokenizer.splits_words:
            raise ConfigError(
                f"{self.config.encoder} has a tokenizer that does not say where words start; entities need "
                "an encoder of the BERT family (BERT, DistilBERT, ELECTRA) or one from scratch."
            )

    @property
    def outputs(self) -> int:
        return 1 + 2 * len(self.known_names)

    def text(self, raw: dict[str, Any]) -> tf.Tensor:
        if "tokens" in raw:
            return joined(raw["tokens"])
        if "text" in raw:
            return raw["text"]
        raise DataError(_no_columns(tuple(raw)))

    def request(self, rows: dict[str, Any]) -> dict[str, Any]:
        if "tokens" in rows:
            return {"text": [" ".join(tokens) for tokens in rows["tokens"]]}
        if "text" in rows:
            return {"text": rows["text"]}
        raise DataError(_no_columns(tuple(rows)))

    def features(self, encoding: Encoding) -> dict[str, Any]:
        words, first = encoding.words, encoding.first_token
        assert words is not None
        assert first is not None
        bounds = tf.stack([words.start, words.end, words.byte_start, words.byte_end], 1)
        return {"first_token": words.ragged(first), "word_bounds": words.ragged(bounds)}

    def targets(self, raw: dict[str, Any], encoding: Encoding) -> dict[str, Any]:
        words = encoding.words
        assert words is not None
        if {"tokens", "tags"} <= set(raw):
            tags = self._tag_index(raw["tags"].flat_values)
            return gold_from_tags(raw["tokens"], tags, words).targets(words)
        if "entities_start" in raw:
            types = self.index_of(raw["entities_type"].flat_values)
            gold = gold_from_spans(raw["entities_start"], raw["entities_end"], types, words)
            return gold.targets(words)
        raise DataError(_no_columns(tuple(raw)))

    def loss(self, batch: Batch, outputs: tf.Tensor) -> tf.Tensor:
        first = batch.features["first_token"]
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
            labels=batch.targets["tags"], logits=_of_words(outputs, first)
        )
        return _of_texts(losses, first)

    def divergence(self, batch: Batch, one: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
        first = batch.features["first_token"]
        return _of_texts(softmax_divergence(_of_words(one, first), _of_words(other, first)), first)

    def metrics(self) -> dict[str, keras.metrics.Metric]:
        return {"spans": metrics.SpanF1(types=len(self.known_names), class_names=self.known_names)}

    def score(self, batch: Batch, outputs: tf.Tensor) -> tuple[Any, Any]:
        tags, _ = self._decode(outputs, batch.features["first_token"])
        unit = batch.targets["unit_word"]
        unit_tags = tf.gather(_at_least_one(tags), tf.maximum(unit - 1, 0), batch_dims=1)
        spans = tag_spans(tf.where(unit > 0, unit_tags, 0))
        return batch.targets["spans"], to_characters(spans, batch.targets["unit_bounds"])

    def postprocess(self, outputs: tf.Tensor, features: dict[str, Any]) -> dict[str, Any]:
        tags, confidence = self._decode(outputs, features["first_token"])
        bounds = features["word_bounds"]
        over_words = tag_spans(tags)
        there = over_words[..., 2] > 0
        sums = tf.pad(tf.cumsum(confidence, axis=1), [[0, 0], [1, 0]])
        start, end = over_words[..., 0], over_words[..., 1]
        total = tf.gather(sums, end, batch_dims=1) - tf.gather(sums, start, batch_dims=1)
        score = tf.math.divide_no_nan(total, tf.cast(end - start, tf.float32))
        characters = tf.boolean_mask(to_characters(over_words, bounds[..., :2]), there)
        in_bytes = tf.boolean_mask(to_characters(over_words, bounds[..., 2:]), there)
        lengths = tf.reduce_sum(tf.cast(there, tf.int64), 1)
        return {
            "start": characters[:, 0],
            "end": characters[:, 1],
            "byte_start": in_bytes[:, 0],
            "byte_end": in_bytes[:, 1],
            "type": tf.gather(tf.constant(self.known_names), characters[:, 2] - 1),
            "score": tf.boolean_mask(score, there),
            "row_splits": tf.concat([[0], tf.cumsum(lengths)], 0),
        }

    def example(self) -> dict[str, list[Any]]:
        names = self.names or ("person", "place")
        rows = [
            ("Ada Lovelace met Charles Babbage in London.", [(0, 12, 0), (17, 32, 0), (36, 42, 1)]),
            ("Il fait beau à Montréal  today", [(15, 23, 1)]),
            ("Grace Hopper worked in New York", [(0, 12, 0), (23, 31, 1)]),
            ("nobody was there", []),
            ("我在 Berlin 遇见了 Alan", [(3, 9, 1), (14, 18, 0)]),
        ]
        named = [[(start, end, names[kind % len(names)]) for start, end, kind in spans] for _, spans in rows]
        return {"text": [text for text, _ in rows], "entities": named}

    def _decode(self, outputs: tf.Tensor, first: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The tag of each word, 0 where there is none, and how sure the model is of it."""
        probabilities = tf.nn.softmax(_of_words(outputs, first))
        tags = tf.argmax(probabilities, -1, output_type=tf.int32)
        return tf.where(first > 0, tags, 0), tf.reduce_max(probabilities, -1)

    def _tag_names(self) -> tuple[str, ...] | None:
        if self.names is None:
            return None
        return ("O", *(f"{prefix}-{name}" for name in self.names for prefix in _PREFIXES))

    def _tag_index(self, tags: tf.Tensor) -> tf.Tensor:
        if self._tags is None:
            ids = {
                f"{prefix}-{name}": 1 + 2 * i + inside
                for i, name in enumerate(self.known_names)
                for prefix, inside in _PREFIXES.items()
            }
            with tf.init_scope():
                self._tags = string_table(ids, default=0)
        return self._tags.lookup(tags)


def _of_texts(losses: tf.Tensor, first: tf.Tensor) -> tf.Tensor:
    """Values of words [batch, words] -> of texts [batch], so that their mean is that of all words."""
    counts = tf.cast(first > 0, losses.dtype)
    # A long text counts for more than a short one.
    usual = tf.maximum(tf.reduce_mean(tf.reduce_sum(counts, 1)), 1.0)
    return tf.reduce_sum(losses * counts, 1) / usual


def _of_words(outputs: tf.Tensor, first: tf.Tensor) -> tf.Tensor:
    """Scores of tokens [batch, length, tags] -> of words [batch, words, tags], by a word's first token."""
    return tf.gather(outputs, tf.maximum(first - 1, 0), batch_dims=1)


def _at_least_one(tags: tf.Tensor) -> tf.Tensor:
    return tf.pad(tags, [[0, 0], [0, 1]])


def _no_columns(found: tuple[str, ...]) -> str:
    return (
        "Entities need the columns tokens and tags, or text and entities ([start, end, type] in characters); "
        f"found {', '.join(found) or 'none of them'}."
    )
