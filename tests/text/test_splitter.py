"""Words and their offsets: what a span means must not depend on who reads it."""

from __future__ import annotations

import unicodedata

import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasft_text.ragged import frame, position_in_row
from kerasft_text.splitter import Words, WordSplitter

OPTIONS = {
    "own vocabulary": {},
    "bert": {"strip_accents": True, "split_symbols": False},
    "as it is": {"lowercase": False},
}
_GRAPHS = {
    name: tf.function(WordSplitter(**options), input_signature=[tf.TensorSpec([None], tf.string)])
    for name, options in OPTIONS.items()
}
# What texts are made of in practice, weighted by repetition, beside any code point at all.
_CHARACTERS = st.one_of(
    st.sampled_from(
        list("aAzZ09 .,-'\t\n  ")
        + list("éÉßİÅ")
        + list("你好，。１Ａ")
        + ["\u0301", "\u200b", "\xa0", "😀", "ｶ", "한"]
    ),
    st.characters(exclude_categories=["Cs"]),
)
_TEXTS = st.lists(st.text(_CHARACTERS, max_size=30), min_size=1, max_size=4)


def split(texts: list[str], options: str = "own vocabulary") -> Words:
    return _GRAPHS[options](tf.constant(texts, tf.string))


def rows(words: Words) -> list[list[str]]:
    return [[word.decode() for word in row] for row in words.ragged(words.text).to_list()]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't  stop—ever!", ["don", "'", "t", "stop", "—", "ever", "!"]),
        ("line\none\r\n\ttwo", ["line", "one", "two"]),
        ("我在Berlin，很好", ["我", "在", "berlin", ",", "很", "好"]),
        ("９８年 ＡＢＣ", ["98", "年", "abc"]),
        ("so good😀👍ok", ["so", "good", "😀", "👍", "ok"]),
        ("カタカナ", list("カタカナ")),
        ("straße ﬁne", ["strasse", "fine"]),
        ("a\u200bb\u00adc", ["a", "b", "c"]),
        ("a\u00a0b\u3000c", ["a", "b", "c"]),
        ("$5.00 a^b", ["$", "5", ".", "00", "a", "^", "b"]),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert rows(split([text])) == [expected]


def test_accents_go_only_when_asked() -> None:
    composed, apart = "café", unicodedata.normalize("NFD", "café")
    assert rows(split([composed, apart], "bert")) == [["cafe"], ["cafe"]]
    assert rows(split([composed])) == [[composed]]


def test_case_stays_when_asked() -> None:
    assert rows(split(["Ab CD"], "as it is")) == [["Ab", "CD"]]


def test_a_word_ends_after_its_marks() -> None:
    text = "e\u0301t\u00e9, x\u0301\u0302 y"
    words = split([text], "bert")
    spans = [text[a:b] for a, b in zip(words.start.numpy(), words.end.numpy(), strict=True)]
    assert spans == ["e\u0301t\u00e9", ",", "x\u0301\u0302", "y"]


def test_rows_without_words_stay_rows() -> None:
    assert rows(split(["", "a b", "   ", "\n", "c", ""])) == [[], ["a", "b"], [], [], ["c"], []]


def test_an_empty_batch() -> None:
    words = split([])
    assert words.row_splits.numpy().tolist() == [0]
    assert words.text.shape == (0,)


def test_broken_utf8_does_not_stop_the_graph() -> None:
    words = _GRAPHS["own vocabulary"](tf.constant([b"good \xff\xfe bad"]))
    assert rows(words)[0][0] == "good"
    assert rows(words)[0][-1] == "bad"


@settings(max_examples=80, deadline=None)
@given(texts=_TEXTS, options=st.sampled_from(list(OPTIONS)))
def test_offsets_cut_the_words_out_of_the_text(texts: list[str], options: str) -> None:
    words = split(texts, options)
    starts, ends = words.ragged(words.start).to_list(), words.ragged(words.end).to_list()
    byte_starts, byte_ends = words.ragged(words.byte_start).to_list(), words.ragged(words.byte_end).to_list()
    for i, text in enumerate(texts):
        before = 0
        for start, end, byte_start, byte_end in zip(
            starts[i], ends[i], byte_starts[i], byte_ends[i], strict=True
        ):
            assert before <= start < end <= len(text)
            assert text.encode()[byte_start:byte_end].decode() == text[start:end]
            before = end


@settings(max_examples=40, deadline=None)
@given(texts=_TEXTS, options=st.sampled_from(list(OPTIONS)))
def test_a_word_split_again_is_itself(texts: list[str], options: str) -> None:
    found = [word for row in rows(split(texts, options)) for word in row]
    again = rows(split(found, options)) if found else []
    # Folding may give a word a character that splits ("½" becomes "1⁄2"): then, and only then, it has parts.
    for word, parts in zip(found, again, strict=True):
        assert "".join(parts) == "".join("".join(rows(split([c], options))[0]) for c in word) or parts == [
            word
        ]


@settings(max_examples=40, deadline=None)
@given(texts=_TEXTS)
def test_a_text_splits_alike_alone_and_in_a_batch(texts: list[str]) -> None:
    assert rows(split(texts)) == [rows(split([text]))[0] for text in texts]


@settings(max_examples=40, deadline=None)
@given(
    lists=st.lists(st.lists(st.integers(10, 20), max_size=6), min_size=1, max_size=4),
    limit=st.integers(3, 6),
    start=st.sampled_from([None, 1]),
    end=st.sampled_from([None, 2]),
)
def test_frame_cuts_and_surrounds(
    lists: list[list[int]], limit: int, start: int | None, end: int | None
) -> None:
    tokens = tf.RaggedTensor.from_row_lengths(
        tf.constant([x for row in lists for x in row], tf.int32), [len(row) for row in lists]
    )
    before, after = ([x] if x is not None else [] for x in (start, end))
    room = limit - len(before) - len(after)
    expected = [(before + row[:room] + after) or [7] for row in lists]
    assert frame(tokens, limit=limit, start=start, end=end, empty=7).to_list() == expected


def test_positions_count_from_the_start_of_a_row() -> None:
    row, position = position_in_row(tf.constant([0, 0, 3, 3, 4], tf.int64))
    assert row.numpy().tolist() == [1, 1, 1, 3]
    assert position.numpy().tolist() == [0, 1, 2, 0]
