"""Byte pair encoding in the graph against Hugging Face's, on a vocabulary that is made here."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from kerasft.errors import ConfigError
from kerasft.generation import ByteBpe, byte_alphabet

MERGES = [
    "t h",
    "th e",
    "Ġ the",
    "Ġ a",
    "a a",
    "aa aa",
    "i n",
    "in g",
    "Ġ Ġ",
    "ĠĠ ĠĠ",
    "' s",
    "1 2",
    "Ã ©",
    "Ċ Ċ",
]
TOKENS = ["<end>", *byte_alphabet(), *(pair.replace(" ", "") for pair in MERGES)]
TEXTS = [
    "the theatre is in the thing",
    "In 2024 there were 12345 cats, it's 3.14!",
    "  two spaces\n\nnew  para 日本語 😀 café ",
    "aaaaa aaaaaaaaa a",
    "don't DON'T I'll's 's't",
    "",
    "a  ",
    "\n\n\n  \n x \t y\r\n",
    "\u3000全角\u00a0nbsp\u2028sep Ⅷ ½ ٣٤ e\u0301",
    "\x00\x01\x1e\x7f\x85",
    " (the|the),  the… the。the، the;  [the]",
]


LATER = (  # Llama 3's rule, as its tokenizer.json has it; Qwen's takes digits one by one
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


BLOOM = r" ?[^(\s|[.,!?…。，、।۔،])]+"  # the same of BLOOM


@pytest.mark.parametrize("split", ["gpt2", "smollm", "llama3", "qwen", "bloom"])
def test_tokens_are_those_of_the_reference(split: Any) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    cuts = tokenizers.pre_tokenizers
    steps = [cuts.ByteLevel(add_prefix_space=False)]
    if split == "smollm":
        steps.insert(0, cuts.Digits(individual_digits=True))
    rules = {"llama3": LATER, "qwen": LATER.replace("{1,3}", ""), "bloom": BLOOM}
    if split in rules:
        steps = [
            cuts.Split(tokenizers.Regex(rules[split]), "isolated"),
            cuts.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    model = tokenizers.models.BPE(
        vocab={token: number for number, token in enumerate(TOKENS)},
        merges=[tuple(pair.split(" ")) for pair in MERGES],
    )
    reference = tokenizers.Tokenizer(model)
    reference.pre_tokenizer = cuts.Sequence(steps)
    draw = random.Random(0)
    parts = [
        " ",
        "  ",
        "\n",
        "\t",
        "a",
        "the",
        "é",
        "12",
        "'s",
        "'",
        "!",
        "日",
        "\u00a0",
        "\u0301",
        "\r\n",
        "ing",
        "(",
        "…",
    ]
    texts = TEXTS + ["".join(draw.choices(parts, k=draw.randint(1, 30))) for _ in range(300)]
    bpe = ByteBpe(TOKENS, MERGES, split=split, special=[0])
    ids = tf.function(bpe.encode, autograph=False)(tf.constant(texts))
    assert ids.to_list() == [reference.encode(text).ids for text in texts]
    assert [text.decode() for text in bpe.decode(ids).numpy()] == texts


def test_special_pieces_are_no_text() -> None:
    bpe = ByteBpe(TOKENS, MERGES, split="gpt2", special=[0])
    ids = bpe.encode(tf.constant(["<end>"])).to_list()[0]
    assert 0 not in ids
    assert bpe.decode(tf.ragged.constant([[0, *ids, 0]], dtype=tf.int32)).numpy()[0] == b"<end>"
    assert bpe.special == {"<end>": 0}


def test_bytes_without_a_piece_are_left_out() -> None:
    tokens = [token for token in TOKENS if token != byte_alphabet()[1]]
    bpe = ByteBpe(tokens, MERGES, split="gpt2", special=[0])
    ids = bpe.encode(tf.constant(["t\x01h", "\x01"])).to_list()
    assert [[tokens[number] for number in row] for row in ids] == [["t", "h"], []]


def test_it_is_saved_and_loaded(tmp_path: Path) -> None:
    bpe = ByteBpe(TOKENS, MERGES, split="smollm", special=[0])
    bpe.save(tmp_path / "tokens.json")
    again = ByteBpe.load(tmp_path / "tokens.json")
    assert again.encode(tf.constant(TEXTS)).to_list() == bpe.encode(tf.constant(TEXTS)).to_list()
    (tmp_path / "tokens.json").write_text("{}")
    with pytest.raises(ConfigError, match="holds no vocabulary that can be read"):
        ByteBpe.load(tmp_path / "tokens.json")


@pytest.mark.parametrize(
    ("tokens", "merges", "split", "sentence"),
    [
        (TOKENS[:40], [], "gpt2", "has no piece for .* it is no byte-level one"),
        (TOKENS, ["x y"], "gpt2", "'x y' joins or makes a piece"),
        (TOKENS, [], "words", "must be gpt2 or smollm"),
    ],
)
def test_a_wrong_vocabulary_is_refused(tokens: Any, merges: Any, split: Any, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        ByteBpe(tokens, merges, split=split)
