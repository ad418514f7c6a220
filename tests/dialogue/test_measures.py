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


def test_the_last_reply_is_found(trained: Any, examples: Examples) -> None:
    found = evaluation.last_exchanges(examples, most=None)
    codec = trained.codec
    assert [text_of(codec, exchange.reply[:-1]) for exchange in found] == list(ANSWERS.values())
    assert found[0].reply[-1] == codec.template.end
    assert found[0].before[-1] == codec.template.before["assistant"][0]
    assert len(evaluation.last_exchanges(examples, most=2)) == 2


def text_of(codec: Any, tokens: np.ndarray) -> str:
    return codec.decode(tf.ragged.constant([tokens.tolist()], dtype=tf.int32)).numpy()[0].decode()


def test_scores_are_mean_log_probabilities(trained: Any, examples: Examples) -> None:
    before, reply = evaluation.last_exchanges(examples, most=1)[0]
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
