"""What is learned token by token, and rows of several conversations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from kerasft.data import open_source
from kerasft.training.examples import Examples
from kerasft_dialogue.encoding import NOTHING, encode_conversations
from kerasft_dialogue.packing import joined, pack, split_turns
from kerasft_dialogue.subword_codec import SubwordCodec

TURNS = [
    (["user", "assistant"], ["Who sings?", "The bird sings."]),
    (["system", "user", "assistant", "user"], ["Be kind.", "What is red?", "The rose is red.", "Who?"]),
    (["assistant", "assistant", "user"], ["Hello!", "It is I.", "Who?"]),
    (["user"], ["Nobody answers."]),
]


@pytest.fixture(scope="module")
def codec() -> SubwordCodec:
    texts = [text for _, turns in TURNS for text in turns]
    return SubwordCodec.train(texts * 4, size=320, kind="bpe", coverage=1.0)


def by_hand(codec: SubwordCodec, roles: list[str], texts: list[str]) -> tuple[list[int], list[int]]:
    """Tokens, and what each has to say next: written out turn by turn."""
    tokens: list[int] = []
    said: list[bool] = []
    for role, text in zip(roles, texts, strict=True):
        own = codec.encode(tf.constant([text])).to_list()[0]
        tokens += [*codec.template.before[role], *own, codec.template.end]
        said += [False] + [role == "assistant"] * (len(own) + 1)
    targets = [
        tokens[at + 1] + 1 if at + 1 < len(tokens) and said[at + 1] else NOTHING for at in range(len(tokens))
    ]
    return tokens, targets


def encode(codec: SubwordCodec, rows: list[tuple[list[str], list[str]]], context: int = 500) -> Any:
    roles, texts = (tf.ragged.constant([row[side] for row in rows]) for side in (0, 1))
    return encode_conversations(codec, roles, texts, context=context)


def test_only_what_the_assistant_says_is_learned(codec: SubwordCodec) -> None:
    made = encode(codec, TURNS)
    for row, turns in enumerate(TURNS):
        tokens, targets = by_hand(codec, *turns)
        assert made.tokens[row].numpy().tolist() == tokens
        assert made.targets[row].numpy().tolist() == targets
        assert set(made.segments[row].numpy()) == {1}
    # The end of a reply is learned, or the model would never stop; nothing of a row without a reply is.
    assert codec.template.end + 1 in made.targets[0].numpy()
    assert not made.targets[3].numpy().any()


def test_a_packed_row_is_its_conversations_one_after_another(codec: SubwordCodec) -> None:
    made = encode(codec, [joined(TURNS), TURNS[0]])
    parts = [by_hand(codec, *turns) for turns in TURNS]
    assert made.tokens[0].numpy().tolist() == [token for tokens, _ in parts for token in tokens]
    assert made.targets[0].numpy().tolist() == [token for _, targets in parts for token in targets]
    numbers = [number for number, (tokens, _) in enumerate(parts, 1) for _ in tokens]
    assert made.segments[0].numpy().tolist() == numbers


def test_a_row_is_cut_to_the_context(codec: SubwordCodec) -> None:
    made = encode(codec, TURNS, context=5)
    assert made.tokens.row_lengths().numpy().tolist() == [5, 5, 5, 5]
    tokens, _ = by_hand(codec, *TURNS[0])
    assert made.tokens[0].numpy().tolist() == tokens[:5]


def test_conversations_of_a_row_do_not_see_each_other(trained: Any) -> None:
    rows = [(roles, [text.replace("It is I.", "The dog barks.") for text in texts]) for roles, texts in TURNS]
    alone = encode(trained.codec, rows)
    packed = encode(trained.codec, [joined(rows)])
    network = trained.network
    together = network.logits(network.model([packed.tokens.to_tensor(), packed.segments.to_tensor()]))[0]
    at = 0
    for row in range(len(rows)):
        tokens, segments = (part[row : row + 1].to_tensor() for part in (alone.tokens, alone.segments))
        single = network.logits(network.model([tokens, segments]))[0]
        np.testing.assert_allclose(together[at : at + len(single)], single, rtol=1e-4, atol=1e-4)
        at += len(single)
    # Without the numbers of the conversations they would.
    ones = tf.ones_like(packed.segments.to_tensor())
    mixed = network.logits(network.model([packed.tokens.to_tensor(), ones]))[0]
    assert np.abs(mixed - together).max() > 0.1


def test_padding_changes_nothing(trained: Any) -> None:
    made = encode(trained.codec, TURNS)
    network = trained.network
    padded = network.logits(network.model([made.tokens.to_tensor(), made.segments.to_tensor()]))
    single = network.logits(network.model([made.tokens[:1].to_tensor(), made.segments[:1].to_tensor()]))
    np.testing.assert_allclose(padded[0, : single.shape[1]], single[0], rtol=1e-4, atol=1e-4)


def test_the_loss_is_the_mean_over_the_tokens_that_are_learned(trained: Any) -> None:
    rows = open_source(
        {"roles": [turns[0] for turns in TURNS], "texts": [turns[1] for turns in TURNS]},
        fields=trained.fields(),
    )
    examples = Examples(task=trained, source=rows, targets=True)
    batch = examples.batch(np.arange(4))
    vectors = trained.network.model([batch.features["token_ids"], batch.features["segments"]])
    logits = trained.network.logits(vectors).numpy().astype(np.float64)
    chances = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    targets = batch.targets["target_ids"]
    places = np.argwhere(targets != NOTHING)
    wanted = -np.mean([chances[row, at, targets[row, at] - 1] for row, at in places])
    loss, _ = trained.supervised(batch, training=False)
    assert float(loss) == pytest.approx(wanted, rel=1e-4)
    values = trained.evaluate({"turns": [_turns(*turns) for turns in TURNS]}, verbose="quiet")
    assert values["perplexity"] > 1.0


def _turns(roles: list[str], texts: list[str]) -> list[dict[str, str]]:
    return [{"role": role, "text": text} for role, text in zip(roles, texts, strict=True)]


def test_rows_are_filled_and_nothing_is_lost() -> None:
    lengths = np.random.default_rng(0).integers(1, 40, size=400).tolist()
    rows = pack(lengths, context=100)
    assert sorted(number for row in rows for number in row) == list(range(400))
    totals = [sum(lengths[number] for number in row) for row in rows]
    assert max(totals) <= 100
    assert sum(totals) / (100 * len(rows)) > 0.97


def test_what_is_too_long_alone_has_a_row_of_its_own() -> None:
    assert sorted(pack([300, 40, 60], context=100)) == [[0], [1, 2]]


def test_a_long_conversation_is_cut_between_exchanges() -> None:
    roles = ["system", *["user", "assistant"] * 3]
    parts = split_turns((roles, list("sabcdef")), [2, 3, 3, 3, 3, 3, 3], context=10)
    assert [("".join(texts), size) for (_, texts), size in parts] == [("sab", 8), ("scd", 8), ("sef", 8)]
    assert split_turns((["system"], ["s"]), [2], context=10) == [((["system"], ["s"]), 2)]
    long = split_turns((["user", "assistant"], ["a", "b"]), [20, 30], context=10)
    assert [texts for (_, texts), _ in long] == [["a"], ["b"]]
