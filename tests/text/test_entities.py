"""Tags on tokens, spans on characters, and the words between them."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics import f1_score

import kerasft
from kerasft.data import open_source
from kerasft.errors import DataError
from kerasft.training.examples import raw_tensors
from kerasft.training.update import Batch
from kerasft_text.config import TextConfig
from kerasft_text.kinds.entities import Entities
from kerasft_text.metrics import SpanF1
from kerasft_text.tokenization import WordTokenizer

from .conftest import tiny

NAMES = ("person", "place")
TAGS = ("O", *(f"{prefix}-{name}" for name in NAMES for prefix in "BI"))
TOKENIZER = WordTokenizer(["[PAD]", "[UNK]"], max_length=50)


def entities(**config: Any) -> Entities:
    return Entities(TextConfig(kind="entities", **{"labels": NAMES, **config}))


def encode(kind: Entities, rows: dict[str, list[Any]]) -> Batch:
    raw = raw_tensors(rows, kind.fields())
    encoding = TOKENIZER.encode(kind.text(raw))
    parts = {**kind.features(encoding)}, kind.targets(raw, encoding)
    dense = [{k: v.to_tensor() for k, v in part.items()} for part in parts]
    return Batch(*dense)


def outputs_for(tags: Any) -> tf.Tensor:
    """Scores of a model that is sure of one tag for each word (here, a token is a word)."""
    return 9.0 * tf.one_hot(tags, len(TAGS))


def span_f1(kind: Entities, batch: Batch, outputs: tf.Tensor) -> float:
    metric = SpanF1(types=len(NAMES))
    metric.update_state(*kind.score(batch, outputs))
    return float(metric.result()["span_f1"])


_WORD = st.text(st.sampled_from(list("abcX.-'@#é你好 😀\u200b\u0301")), min_size=1, max_size=6).filter(
    str.strip
)
_TAG = st.sampled_from(TAGS)
_SENTENCE = st.lists(st.tuples(_WORD, _TAG, _TAG), min_size=1, max_size=7)


@settings(max_examples=40, deadline=None)
@given(sentences=st.lists(_SENTENCE, min_size=1, max_size=9))
def test_f1_is_counted_on_the_tokens_of_the_data(sentences: list[list[tuple[str, str, str]]]) -> None:
    kind = entities()
    rows = {
        "tokens": [[t for t, _, _ in s] for s in sentences],
        "tags": [[g for _, g, _ in s] for s in sentences],
    }
    batch = encode(kind, rows)
    unit_word = batch.targets["unit_word"].numpy()
    # The model says of every token what the third element says, and something else of the rest of its words.
    tags = np.full(batch.features["first_token"].shape, TAGS.index("I-place"))
    predicted = []
    for i, sentence in enumerate(sentences):
        predicted.append([p if unit_word[i, j] else "O" for j, (_, _, p) in enumerate(sentence)])
        for j, tag in enumerate(predicted[-1]):
            if unit_word[i, j]:
                tags[i, unit_word[i, j] - 1] = TAGS.index(tag)
    expected = f1_score(rows["tags"], predicted, zero_division=0)
    assert span_f1(kind, batch, outputs_for(tags)) == pytest.approx(expected, abs=1e-6)


@settings(max_examples=20, deadline=None)
@given(sentences=st.lists(_SENTENCE, min_size=1, max_size=9))
def test_the_tags_that_training_asks_for_score_perfectly(sentences: list[list[tuple[str, str, str]]]) -> None:
    kind = entities()
    # A token without words cannot be tagged: leave those out.
    tokens = [[t for t, _, _ in s if any(c.isalnum() for c in t)] or ["a"] for s in sentences]
    tags = [[TAGS[(i + len(row)) % len(TAGS)] for i in range(len(row))] for row in tokens]
    batch = encode(kind, {"tokens": tokens, "tags": tags})
    found = span_f1(kind, batch, outputs_for(batch.targets["tags"]))
    assert found == (1.0 if any(tag != "O" for row in tags for tag in row) else 0.0)


def test_a_token_of_several_words_begins_its_entity_once() -> None:
    batch = encode(
        entities(), {"tokens": [["U.S.A.", "and", "St-Denis"]], "tags": [["B-place", "O", "B-place"]]}
    )
    words = ["B", "I", "I", "I", "I", "I", "O", "B", "I", "I"]  # U . S . A . and St - Denis
    codes = {"B": TAGS.index("B-place"), "I": TAGS.index("I-place"), "O": 0}
    assert batch.targets["tags"].numpy().tolist() == [[codes[word] for word in words]]


@pytest.mark.parametrize(
    ("text", "spans", "tags"),
    [
        ("Ada in Paris", [(0, 3, "person"), (7, 12, "place")], "B-person O B-place"),
        ("  New   York, ", [(0, 13, "place")], "B-place I-place I-place"),  # the comma belongs to it
        ("New York ", [(0, 9, "place")], "B-place I-place"),  # white space at its edge does not
        ("Ada Paris", [(0, 3, "person"), (4, 9, "person")], "B-person B-person"),
        ("我在北京", [(2, 4, "place")], "O O B-place I-place"),
        ("nothing here", [], "O O"),
        ("pmnear", [(0, 2, "place")], "B-place"),  # ends inside a word
    ],
)
def test_spans_become_tags_of_words(text: str, spans: list[tuple[int, int, str]], tags: str) -> None:
    batch = encode(entities(), {"text": [text], "entities": [spans]})
    assert [TAGS[tag] for tag in batch.targets["tags"].numpy()[0]] == tags.split()


def test_spans_are_counted_by_their_characters() -> None:
    kind = entities()
    spans = [[(0, 5, "person"), (9, 14, "place")], [(0, 2, "place")], []]
    batch = encode(kind, {"text": ["Ada L in Rome ", "pmnear", "x"], "entities": spans})
    # Right on every word, but a span that ends inside a word cannot be answered: two of three.
    metric = SpanF1(types=2)
    metric.update_state(*kind.score(batch, outputs_for(batch.targets["tags"])))
    assert float(metric.result()["span_recall"]) == pytest.approx(2 / 3)
    assert float(metric.result()["span_precision"]) == pytest.approx(2 / 3)


def test_spans_that_cannot_be_learned_are_told_once(write_rows: Any) -> None:
    rows = [
        ("Ada in Paris", [(0, 3, "person"), (7, 12, "place")]),
        ("New York City", [(0, 13, "place"), (0, 8, "place")]),
        ("pmnear", [(0, 2, "place"), (2, 6, "person")]),
    ]
    data = write_rows({"text": [text for text, _ in rows], "entities": [spans for _, spans in rows]})
    task = kerasft.create("text", kind="entities", **tiny("cnn"))
    with pytest.warns(UserWarning, match="cannot be learned") as caught:
        task.adapt(open_source(data, fields=task.fields()))
    (warning,) = [found for found in caught if found.category is UserWarning]
    assert str(warning.message) == (
        "3 of 6 entities cannot be learned, for the model tags whole words, each once: 1 overlap another, "
        "2 cover a part of a word; the first is 'New York' in data.jsonl, line 2."
    )


def test_spans_that_can_be_learned_are_no_news(write_rows: Any) -> None:
    task = kerasft.create("text", kind="entities", **tiny("cnn"))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        task.adapt(open_source(write_rows(task.example()), fields=task.fields()))


def test_words_that_are_cut_off_are_outside_and_cost_nothing() -> None:
    kind = entities()
    raw = raw_tensors({"tokens": [["a", "b", "c"]], "tags": [["O", "O", "B-place"]]}, kind.fields())
    encoding = WordTokenizer(["[PAD]", "[UNK]"], max_length=2).encode(kind.text(raw))
    dense = [
        {k: v.to_tensor() for k, v in part.items()}
        for part in (kind.features(encoding), kind.targets(raw, encoding))
    ]
    batch = Batch(*dense)
    sure = outputs_for(tf.constant([[0, 0]]))
    assert float(kind.loss(batch, sure)[0]) < 1e-2
    answer = kind.postprocess(outputs_for(tf.constant([[3, 4]])), batch.features)
    assert answer["end"].numpy().tolist() == [3]


def test_the_answer_points_into_the_text() -> None:
    kind = entities()
    texts = ["Ünal in Zürich!", "nobody", "京 Ada"]
    raw = raw_tensors({"text": texts, "entities": [[], [], []]}, kind.fields())
    features = {k: v.to_tensor() for k, v in kind.features(TOKENIZER.encode(raw["text"])).items()}
    tags = tf.constant([[1, 0, 3, 0], [0, 0, 0, 0], [0, 1, 0, 0]])
    answer = {name: value.numpy() for name, value in kind.postprocess(outputs_for(tags), features).items()}
    assert answer["row_splits"].tolist() == [0, 2, 2, 3]
    assert answer["type"].tolist() == [b"person", b"place", b"person"]
    rows = np.repeat(np.arange(3), np.diff(answer["row_splits"]))
    cut = [texts[row][a:b] for row, a, b in zip(rows, answer["start"], answer["end"], strict=True)]
    assert cut == ["Ünal", "Zürich", "Ada"]
    cut_bytes = [
        texts[row].encode()[a:b].decode()
        for row, a, b in zip(rows, answer["byte_start"], answer["byte_end"], strict=True)
    ]
    assert cut_bytes == cut
    assert (answer["score"] > 0.99).all()


# What the data may look like


def test_types_are_learned_from_tags_or_spans(write_rows: Any) -> None:
    tagged = write_rows(
        [{"tokens": ["a", "b"], "tags": ["S-x", "O"]}, {"tokens": ["c"], "tags": ["B-w"]}], "a.jsonl"
    )
    spanned = write_rows(
        [{"text": "ab", "entities": [[0, 2, "w"]]}, {"text": "x", "entities": []}], "b.jsonl"
    )
    for path, names in ((tagged, ("w", "x")), (spanned, ("w",))):
        kind = entities(labels=None)
        kind.adapt(open_source(path, fields=kind.fields()))
        assert kind.names == names


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"tokens": ["a"], "tags": ["place"]}, '"place".*B-type'),
        ({"tokens": ["a"], "tags": ["O"]}, "no entity at all"),
        ({"text": "a", "label": "x"}, "tokens and tags, or text and entities"),
    ],
)
def test_data_that_cannot_be_used(write_rows: Any, row: dict[str, Any], problem: str) -> None:
    kind = entities(labels=None)
    source = open_source(write_rows([row, row]), fields=kind.fields())
    with pytest.raises(DataError, match=problem):
        kind.adapt(source)


def test_files_of_tokens_are_answered(write_rows: Any) -> None:
    rows = [
        {"tokens": ["in", "Oslo"], "tags": ["O", "B-w"]},
        {"tokens": ["Rome", "is"], "tags": ["B-w", "O"]},
    ]
    path = write_rows(rows * 4)
    task = kerasft.create("text", kind="entities", **tiny("cnn"))
    task.finetune(path, epochs=1, verbose="quiet")
    found, expected = task.predict(path), task.predict(["in Oslo", "Rome is"] * 4)
    assert {name: value.tolist() for name, value in found.items()} == {
        name: value.tolist() for name, value in expected.items()
    }
    other = write_rows([{"number": 1}], "b.jsonl")
    with pytest.raises(DataError, match="tokens and tags, or text and entities"):
        task.predict(other)


def test_bilou_reads_as_bio() -> None:
    batch = encode(
        entities(), {"tokens": [["a", "b", "c", "d"]], "tags": [["B-place", "L-place", "U-person", "O"]]}
    )
    assert [TAGS[tag] for tag in batch.targets["tags"].numpy()[0]] == ["B-place", "I-place", "B-person", "O"]
