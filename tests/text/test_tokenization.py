"""Tokenizers: the same ids as the reference, in the graph, saved and loaded."""

from __future__ import annotations

import json
from pathlib import Path

import keras_hub
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasft.errors import ConfigError, DataError
from kerasft_text.data import snips
from kerasft_text.hub_tokenizer import HubTokenizer
from kerasft_text.tokenization import Tokenizer, WordPieceTokenizer, WordTokenizer, load_tokenizer
from kerasft_text.wordpiece import WordPiece

PIECES = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]",
    *"abcdefghijklmnopqrstuvwxyz0123456789.,!?-'\"你好",
    *(f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz0123456789é"),
    "the", "play", "##ing", "##ed", "un", "##able", "##ab", "##le", "jazz", "ab", "abc", "##bc", "##bcd",
    "##한", "한", "ss", "##ss", "e\u0301",
]  # fmt: skip
ODD = [
    "Play the  jazz!",
    "playing\nunable\r\n\tplayed",
    "Ünablé À la carte — naïve façade",
    "你好world你好",
    "emoji😀👍🏽 \u200dzwj \ufe0f",
    "control\x01chars\x7f \x80",
    "soft\u00adhyphen zero\u200bwidth",
    "STRASSE straße ﬁ ½ ①",
    "한국어 text",
    "a" * 101 + " " + "a" * 100,
    "abcd abcbcd unableness",
    'don\'t ... -- "quoted"',
    "",
    " ",
]


def wordpiece(**changes: object) -> WordPieceTokenizer:
    return WordPieceTokenizer(
        PIECES, **{"max_length": 512, "lowercase": True, "strip_accents": True, **changes}
    )


def hub(**changes: object) -> keras_hub.models.BertTokenizer:
    return keras_hub.models.BertTokenizer(PIECES, **{"lowercase": True, "strip_accents": True, **changes})


def ids_of(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    graph = tf.function(
        lambda text: tokenizer.encode(text).token_ids, input_signature=[tf.TensorSpec([None], tf.string)]
    )
    return graph(tf.constant(texts, tf.string)).to_list()


def hub_ids(tokenizer: keras_hub.models.BertTokenizer, texts: list[str]) -> list[list[int]]:
    graph = tf.function(lambda text: tokenizer(text), input_signature=[tf.TensorSpec([None], tf.string)])
    start, end = tokenizer.cls_token_id, tokenizer.sep_token_id
    return [[start, *row, end] for row in graph(tf.constant(texts, tf.string)).to_list()]


@pytest.mark.parametrize(
    "options",
    [{}, {"strip_accents": False}, {"lowercase": False, "strip_accents": False}],
    ids=["uncased", "with accents", "cased"],
)
def test_wordpiece_gives_the_ids_of_kerashub(options: dict[str, bool]) -> None:
    assert ids_of(wordpiece(**options), ODD) == hub_ids(hub(**options), ODD)


_ALPHABET = st.sampled_from(
    [*"abcde play ing ed 019.,!-'\n\t", "é", "E", "\u0301", "你", "ß", "😀", "\u200b", "한", "½"]
)
_SIGNATURE = [tf.TensorSpec([None], tf.string)]
_OURS, _THEIRS = wordpiece(), hub()
_OUR_GRAPH = tf.function(lambda t: _OURS.encode(t).token_ids, input_signature=_SIGNATURE)
_THEIR_GRAPH = tf.function(lambda t: _THEIRS(t), input_signature=_SIGNATURE)


@settings(max_examples=100, deadline=None)
@given(text=st.text(_ALPHABET, max_size=40))
def test_wordpiece_gives_the_ids_of_kerashub_for_any_text(text: str) -> None:
    batch = tf.constant([text])
    assert _OUR_GRAPH(batch).to_list()[0][1:-1] == _THEIR_GRAPH(batch).to_list()[0]


@pytest.mark.minilm
def test_wordpiece_gives_the_ids_of_kerashub_with_the_vocabulary_of_minilm(minilm: Path) -> None:
    texts = [json.loads(line)["text"] for line in snips().test.read_text(encoding="utf-8").splitlines()]
    texts = [*texts[:300], *ODD, *(text.replace(" ", "  \n") for text in texts[300:330])]
    vocabulary = (minilm / "vocab.txt").read_text(encoding="utf-8").split("\n")[:-1]
    ours = WordPieceTokenizer(vocabulary, max_length=512, lowercase=True, strip_accents=True)
    theirs = keras_hub.models.BertTokenizer(vocabulary, lowercase=True, strip_accents=True)
    assert ids_of(ours, texts) == hub_ids(theirs, texts)


def test_spaces_of_all_kinds_separate() -> None:
    assert ids_of(wordpiece(), ["play\u00a0jazz", "play\u3000jazz"]) == ids_of(wordpiece(), ["play jazz"] * 2)


def test_wordpiece_cuts_long_texts_and_keeps_the_end() -> None:
    tokenizer = wordpiece(max_length=5)
    ids = ids_of(tokenizer, ["a b c d e f", "a"])
    assert [len(row) for row in ids] == [5, 3]
    assert [row[-1] for row in ids] == [PIECES.index("[SEP]")] * 2


def test_the_first_token_of_every_word() -> None:
    tokenizer = wordpiece(max_length=6)
    encoding = tokenizer.encode(tf.constant(["playing the jazz tune", "played"]))
    ids = encoding.token_ids.to_list()
    firsts = encoding.words.ragged(encoding.first_token).to_list()
    # "[CLS] play ##ing the jazz [SEP]": "tune" is cut off.
    assert [[PIECES[ids[i][at - 1]] if at else None for at in row] for i, row in enumerate(firsts)] == [
        ["play", "the", "jazz", None],
        ["play"],
    ]


def test_a_word_that_cannot_be_spelt_is_unknown() -> None:
    cut = WordPiece(["[UNK]", "ab", "##c"])
    assert cut(tf.constant(["abc", "abd", "d", "ab"])).to_list() == [[1, 2], [0], [0], [1]]


def test_a_word_of_any_length_is_unknown_and_harms_no_other() -> None:
    texts = ["playing", "unableness abc"]
    with_long = ids_of(wordpiece(), [*texts, "the " + "a" * 1_000_000])
    assert with_long[:2] == ids_of(wordpiece(), texts)
    assert [PIECES[i] for i in with_long[2]] == ["[CLS]", "the", "[UNK]", "[SEP]"]


@pytest.mark.parametrize("gone", ["[PAD]", "[CLS]", "[UNK]"])
def test_a_vocabulary_that_lacks_a_special_piece(gone: str) -> None:
    with pytest.raises(ConfigError, match=r"\[PAD\]|" + gone.replace("[", r"\[")):
        WordPieceTokenizer([p for p in PIECES if p != gone], max_length=8, lowercase=True, strip_accents=True)


def test_the_graph_needs_only_core_operations() -> None:
    graph = _OUR_GRAPH.get_concrete_function().graph.as_graph_def()
    ops = {node.op for node in graph.node} | {n.op for f in graph.library.function for n in f.node_def}
    assert not {op for op in ops if ">" in op or "Wordpiece" in op or "CaseFold" in op or "PyFunc" in op}


# Our own vocabulary


def test_learning_ranks_words_and_honours_the_limits() -> None:
    texts = ["a a a b b c", "d c b"]
    assert WordTokenizer.learn(texts, max_length=9).vocabulary == ("[PAD]", "[UNK]", "a", "b", "c", "d")
    assert WordTokenizer.learn(texts, max_length=9, min_count=2).vocabulary[2:] == ("a", "b", "c")
    assert WordTokenizer.learn(texts, max_length=9, max_size=4).vocabulary[2:] == ("a", "b")


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.lists(st.sampled_from("abc好"), max_size=7), min_size=1, max_size=5),
    st.integers(1, 4),
    st.integers(1, 6),
)
def test_runs_of_words_follow_the_words(rows: list[list[str]], ngrams: int, max_length: int) -> None:
    tokenizer = WordTokenizer.learn(["a b c 好 a", "b a 好"], max_length=max_length, ngrams=ngrams)
    expected = []
    for words in rows:
        kept = words[:max_length]
        runs = [kept[i : i + n] for n in range(2, ngrams + 1) for i in range(len(kept) - n + 1)]
        known = [" ".join(run) for run in runs if " ".join(run) in tokenizer.vocabulary]
        expected.append([*kept, *known] or ["[UNK]"])
    found = ids_of(tokenizer, [" ".join(words) for words in rows])
    assert [[tokenizer.vocabulary[i] for i in row] for row in found] == expected


def test_runs_of_words_are_learned_like_words() -> None:
    learned = WordTokenizer.learn(["a b a b", "b a"], max_length=9, ngrams=3, min_count=2)
    assert learned.vocabulary == ("[PAD]", "[UNK]", "a", "b", "a b", "b a")


def test_learning_from_nothing() -> None:
    with pytest.raises(DataError, match="min_count"):
        WordTokenizer.learn(["a b"], max_length=9, min_count=2)


def test_a_text_without_words_still_has_a_token() -> None:
    tokenizer = WordTokenizer.learn(["a b"], max_length=2)
    assert ids_of(tokenizer, ["", "a b a", "zzz"]) == [[1], [2, 3], [1]]


def test_unknown_chinese_words_are_read_by_character() -> None:
    tokenizer = WordTokenizer.learn(["房间很好"], max_length=9)
    assert ids_of(tokenizer, ["好房"]) == [
        [tokenizer.vocabulary.index("好"), tokenizer.vocabulary.index("房")]
    ]


# Saving


def byte_pairs() -> keras_hub.models.RobertaTokenizer:
    vocabulary = {"<s>": 0, "<pad>": 1, "</s>": 2, "<mask>": 3, "a": 4, "b": 5, "ab": 6, "Ġ": 7, "Ġab": 8}
    return keras_hub.models.RobertaTokenizer(vocabulary=vocabulary, merges=["a b", "Ġ ab"])


@pytest.mark.parametrize("kind", ["words", "ngrams", "wordpiece", "keras_hub"])
def test_a_saved_tokenizer_gives_the_same_ids(kind: str, tmp_path: Path) -> None:
    made: Tokenizer = {
        "words": lambda: WordTokenizer.learn(["Ab cd", "é"], max_length=3, strip_accents=True),
        "ngrams": lambda: WordTokenizer.learn(["Ab cd", "é Ab cd"], max_length=3, ngrams=2),
        "wordpiece": lambda: wordpiece(max_length=7),
        "keras_hub": lambda: HubTokenizer(byte_pairs(), max_length=4),
    }[kind]()
    made.save(tmp_path)
    again = load_tokenizer(tmp_path)
    assert type(again) is type(made)
    if isinstance(again, HubTokenizer):
        # Its padding is 1, so its ids come one higher: <s> ab </s>, and cut to four tokens with the end kept.
        assert again.padding_id == 1
        assert ids_of(again, ["ab", "ab ab ab ab"]) == [[1, 7, 3], [1, 7, 9, 3]]
    assert ids_of(again, ["ab cd É", *ODD]) == ids_of(made, ["ab cd É", *ODD])


def test_a_tokenizer_that_runs_in_python_is_refused() -> None:
    class InPython:
        start_token_id = end_token_id = pad_token_id = 0

        def vocabulary_size(self) -> int:
            return 3

        def tokenize(self, text: tf.Tensor) -> tf.RaggedTensor:
            flat = tf.numpy_function(lambda t: [len(x) for x in t], [text], tf.int64)
            return tf.RaggedTensor.from_tensor(tf.reshape(flat, [-1, 1]))

    with pytest.raises(ConfigError, match="InPython calls Python"):
        HubTokenizer(InPython(), max_length=4)
