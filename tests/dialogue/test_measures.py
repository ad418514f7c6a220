"""The right reply among wrong ones, and how varied replies are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import kerasft
from kerasft.data import open_source
from kerasft.metrics import distinct
from kerasft.training.examples import Examples
from kerasft_dialogue import evaluation

from .conftest import ANSWERS, conversation


@pytest.fixture(scope="module")
def examples(trained: Any) -> Examples:
    rows = [{"turns": conversation("Who sings?", "The bird sings.", *pair)} for pair in ANSWERS.items()]
    source = open_source(trained.open_data(rows), fields=trained.fields())
    return Examples(task=trained, source=trained.arrange(source, training=False), targets=True)


def test_a_reply_after_the_first_is_drawn(trained: Any, examples: Examples) -> None:
    found = evaluation.drawn_exchanges(examples, most=None, seed=0)
    codec = trained.codec
    assert [text_of(codec, exchange.reply[:-1]) for exchange in found] == list(ANSWERS.values())
    assert found[0].reply[-1] == codec.template.end
    assert found[0].before[-1] == codec.template.before["assistant"][0]
    assert len(evaluation.drawn_exchanges(examples, most=2, seed=0)) == 2


def test_each_later_reply_is_drawn_at_times(trained: Any) -> None:
    turns = conversation("One?", "First.", "Two?", "Second.", "Three?", "Third.")
    source = open_source(trained.open_data([{"turns": turns}] * 20), fields=trained.fields())
    examples = Examples(task=trained, source=trained.arrange(source, training=False), targets=True)
    found = evaluation.drawn_exchanges(examples, most=None, seed=0)
    said = {text_of(trained.codec, exchange.reply[:-1]) for exchange in found}
    assert said == {"Second.", "Third."}
    again = evaluation.drawn_exchanges(examples, most=None, seed=0)
    assert [one.reply.tolist() for one in found] == [one.reply.tolist() for one in again]


def text_of(codec: Any, tokens: np.ndarray) -> str:
    return codec.decode(tf.ragged.constant([tokens.tolist()], dtype=tf.int32)).numpy()[0].decode()


def test_scores_are_mean_log_probabilities(trained: Any, examples: Examples) -> None:
    before, reply = evaluation.drawn_exchanges(examples, most=1, seed=0)[0]
    other = reply[2:]
    scores = evaluation.score_replies(trained, before, [reply, other])
    network = trained.network
    for score, said in zip(scores, (reply, other), strict=True):
        tokens = np.concatenate([before, said])[None]
        logits = network.logits(network.model([tokens, np.ones_like(tokens)])).numpy()[0].astype(np.float64)
        chances = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        wanted = np.mean([chances[len(before) - 1 + at, token] for at, token in enumerate(said)])
        assert score == pytest.approx(wanted, abs=1e-4)


def test_who_knows_the_answers_finds_them(create: Any, trained: Any, rows: Any) -> None:
    trained.config.evaluation.retrieval = 20
    trained.config.evaluation.candidates = 5
    trained.config.evaluation.replies = 4
    try:
        values = trained.evaluate(rows, verbose="quiet")
    finally:
        trained.config.evaluation.retrieval = trained.config.evaluation.replies = 0
    assert values["r@1"] == 1.0
    assert 0.0 < values["distinct_1"] < values["distinct_2"] <= 1.0
    assert values["perplexity"] < 1.2
    # Both write replies, each with a graph of its own.
    assert trained.predict(list(ANSWERS))["reply"][0].decode() == next(iter(ANSWERS.values()))


def test_what_can_be_said_anywhere_does_not_win(trained: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    usual, apt = np.array([7]), np.array([8])
    exchanges = [evaluation.Exchange(np.array([101]), usual), evaluation.Exchange(np.array([102]), apt)]

    def scores(task: Any, before: np.ndarray, replies: list[np.ndarray]) -> np.ndarray:
        """The usual reply is likely after anything; the other only where it belongs, and a little less so."""
        other = -1.2 if before[-1] == 102 else -4.0
        return np.array([-1.0 if reply is usual else other for reply in replies])

    monkeypatch.setattr(evaluation, "score_replies", scores)
    monkeypatch.setattr(trained.config.evaluation, "retrieval", 2)
    for prior, share in ((0.0, 0.5), (0.5, 1.0)):
        monkeypatch.setattr(trained.config.evaluation, "prior", prior)
        found = evaluation.retrieval(trained, exchanges, progress=lambda done: None)
        assert found["r@1"] == share


@pytest.mark.slow
def test_who_knows_nothing_finds_them_by_chance(create: Any, rows: Any) -> None:
    task = create(evaluation={"retrieval": 60, "candidates": 5})
    task.finetune(rows[:3], epochs=1, learning_rate=1e-9, verbose="quiet")
    varied = [{"turns": conversation(f"Number {i}?", f"It is {i * 7}.")} for i in range(60)]
    values = task.evaluate(varied, verbose="quiet")
    assert 0.02 < values["r@1"] < 0.5
    assert values["r@1"] <= values["r@2"]


def test_distinct_counts_words() -> None:
    assert distinct(["a a", "a"], 1) == pytest.approx(1 / 3)
    assert distinct([], 1) == 0.0
    assert distinct(["a"], 2) == 0.0


def test_scores_see_adapters_that_came_after_the_first_scores(create: Any, rows: Any) -> None:
    task = create()
    task.finetune(rows, epochs=1, verbose="quiet")
    tokens = np.array([5, 6, 7], np.int32)
    before = evaluation.score_replies(task, tokens, [tokens])
    task.freeze(kerasft.LoRA(rank=2))
    np.testing.assert_allclose(evaluation.score_replies(task, tokens, [tokens]), before, rtol=1e-4)
    for block in task.network.blocks:
        block.up.lora_kernel_b.assign(np.full(block.up.lora_kernel_b.shape, 50.0))
    assert np.abs(evaluation.score_replies(task, tokens, [tokens]) - before).max() > 1e-3
