"""Subword units: any text comes back, in eager mode, in a graph, and from a file."""

from __future__ import annotations

import tempfile
import unicodedata
from pathlib import Path

import keras
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasft.errors import ConfigError, DataError
from kerasft.generation import END, PAD, START, UNKNOWN, SentencePieces, Subwords

TEXTS = ["The dog sleeps in the house.", "Der Hund schläft im Haus.", "狗在房子里睡觉。", "犬は家で眠る。"]


@pytest.fixture(scope="module", params=["bpe", "unigram"])
def units(request: pytest.FixtureRequest) -> Subwords:
    return Subwords.train(TEXTS * 3, size=340, kind=request.param, coverage=1.0)


def back(units: Subwords, texts: list[str], limit: int = 10_000) -> list[str]:
    return [text.decode() for text in units.decode(units.encode(tf.constant(texts), limit=limit)).numpy()]


def test_texts_come_back(units: Subwords) -> None:
    strange = ["Ärger mit 猫 und 鼠?", "emoji 🙂 here", "ﬁ ｆｕｌｌ", "ไทย עברית"]
    assert back(units, TEXTS + strange) == TEXTS + strange


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\u2581")), max_size=4)
)
def test_any_text_comes_back_in_normal_form_with_single_spaces(texts: list[str]) -> None:
    units = _any_units()
    expected = [
        " ".join(part for part in unicodedata.normalize("NFC", text).split(" ") if part) for text in texts
    ]
    if texts:
        assert back(units, texts) == expected


def _any_units(known: list[Subwords] = []) -> Subwords:  # noqa: B006
    if not known:
        known.append(Subwords.train(TEXTS, size=300))
    return known[0]


def test_the_model_names_no_file_of_where_it_was_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    proto = Subwords.train(TEXTS, size=300).proto
    assert str(tmp_path).encode() not in proto
    schema = pytest.importorskip("sentencepiece.sentencepiece_model_pb2", exc_type=Exception)
    model = schema.ModelProto.FromString(proto)
    assert not model.normalizer_spec.HasField("normalization_rule_tsv")
    assert not model.trainer_spec.input
    assert model.trainer_spec.vocab_size == len(model.pieces) == 300


def test_no_text_is_no_ids(units: Subwords) -> None:
    assert units.encode(tf.constant(["", "  ", "\n\t\0"]), limit=9).to_list() == [[], [], []]
    assert units.encode(tf.constant([], tf.string), limit=9).to_list() == []


def test_control_characters_are_spaces_and_broken_bytes_are_replaced(units: Subwords) -> None:
    texts = tf.constant([b"The\tdog\r\n\0sleeps", b"dog \xff\xfe house"])
    decoded = [text.decode() for text in units.decode(units.encode(texts, limit=99)).numpy()]
    assert decoded == ["The dog sleeps", "dog \ufffd\ufffd house"]


def test_ids_are_cut_off_at_the_limit(units: Subwords) -> None:
    texts = tf.constant(["dog " * 25_000, TEXTS[0]])
    ids = units.encode(texts, limit=7)
    assert ids.row_lengths().numpy().tolist() == [7, 7]
    assert ids.dtype == tf.int32
    assert ids[1].numpy().tolist() == units.encode(texts, limit=1000)[1, :7].numpy().tolist()


def test_special_ids_stand_for_nothing(units: Subwords) -> None:
    ids = units.encode(tf.constant([TEXTS[0]]), limit=99).to_tensor()
    framed = tf.concat([[[START]], ids, [[END, PAD, UNKNOWN]]], axis=1)
    assert units.decode(framed).numpy()[0].decode() == TEXTS[0]
    assert units.decode(tf.zeros([2, 0], tf.int32)).numpy().tolist() == [b"", b""]


def test_no_text_spells_a_special_id(units: Subwords) -> None:
    ids = units.encode(tf.constant(["<s> </s> <unk> <pad> <0x41>"]), limit=99)
    assert min(ids.to_list()[0]) > END


def test_a_seed_set_later_does_not_break_them(units: Subwords) -> None:
    before = back(units, TEXTS)
    keras.utils.set_random_seed(3)
    assert back(units, TEXTS) == before


def test_a_file_gives_the_same_units(units: Subwords, tmp_path: Path) -> None:
    units.save(tmp_path / "units.model")
    loaded = Subwords.load(tmp_path / "units.model")
    assert loaded.size == units.size
    texts = tf.constant(TEXTS)
    assert loaded.encode(texts, limit=99).to_list() == units.encode(texts, limit=99).to_list()


def test_training_is_repeatable() -> None:
    assert Subwords.train(TEXTS, size=300).proto == Subwords.train(iter(TEXTS), size=300).proto


def test_little_text_gives_fewer_units() -> None:
    assert Subwords.train(["one two"], size=8000).size < 400


def test_a_frequent_word_is_one_unit() -> None:
    units = Subwords.train(["house"] * 9 + ["mouse", "hose"], size=290)
    assert units.encode(tf.constant(["house"]), limit=9).row_lengths().numpy().tolist() == [1]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Subwords.train([]), DataError, "there are none"),
        (lambda: Subwords.train(["", " "]), DataError, "there are none"),
        (lambda: Subwords.train(TEXTS, size=265, coverage=1.0), ConfigError, "larger size"),
        (lambda: Subwords(b"nonsense"), ConfigError, "cannot be read"),
        (lambda: Subwords.load(Path("nowhere.model")), ConfigError, "nowhere.model cannot be read"),
    ],
)
def test_what_cannot_be_is_refused(make, error, message) -> None:
    with pytest.raises(error, match=message):
        make()


def test_a_model_with_other_special_ids_is_refused() -> None:
    import io

    import sentencepiece

    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS),
        model_writer=written,
        vocab_size=300,
        minloglevel=2,
        byte_fallback=True,
        hard_vocab_limit=False,
    )
    with pytest.raises(ConfigError, match=r"at \(-1, 0, 1, 2\), not at \(0, 1, 2, 3\)"):
        Subwords(written.getvalue())


def test_a_model_without_special_pieces_reads_and_writes_every_text() -> None:
    import io

    import sentencepiece

    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS),
        model_writer=written,
        vocab_size=300,
        minloglevel=2,
        byte_fallback=True,
        hard_vocab_limit=False,
        bos_id=-1,
        eos_id=-1,
    )
    count = sentencepiece.SentencePieceProcessor(model_proto=written.getvalue()).get_piece_size()
    pieces = SentencePieces(written.getvalue(), size=count)
    assert [text.decode() for text in pieces.decode(pieces.encode(tf.constant(TEXTS))).numpy()] == TEXTS
