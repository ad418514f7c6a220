"""Layers, losses and perplexity against formulas written out in NumPy."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasft.generation import (
    Attention,
    FeedForward,
    TiedEmbedding,
    sequence_losses,
    sinusoids,
    smoothed_losses,
    token_losses,
)
from kerasft.metrics import Perplexity

RANDOM = np.random.default_rng(0)


def softmax(x: np.ndarray) -> np.ndarray:
    exponential = np.exp(x - x.max(axis=-1, keepdims=True))
    return exponential / exponential.sum(axis=-1, keepdims=True)


def attention_by_hand(layer: Attention, queries, memory, seen) -> np.ndarray:
    """seen: bool [batch, queries, memory]."""
    weights = {part: layer.get_weights()[i : i + 2] for i, part in zip(range(0, 8, 2), "qkvo", strict=True)}

    def project(x, part):
        kernel, bias = weights[part]
        return x @ kernel + bias

    size = layer.width // layer.heads
    made = np.zeros_like(queries)
    for head in range(layer.heads):
        cut = slice(head * size, (head + 1) * size)
        q, k, v = (project(x, p)[..., cut] for x, p in ((queries, "q"), (memory, "k"), (memory, "v")))
        scores = np.where(seen, q @ k.transpose(0, 2, 1) / np.sqrt(size), -1e9)
        made[..., cut] = softmax(scores) @ v
    return project(made, "o")


def test_attention_is_the_formula() -> None:
    layer = Attention(8, 2)
    queries, memory = (RANDOM.normal(size=(2, n, 8)).astype(np.float32) for n in (3, 5))
    visible = np.array([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]], bool)
    layer(queries, memory)
    layer.set_weights([RANDOM.normal(size=w.shape) for w in layer.get_weights()])
    made = layer(queries, memory, visible=visible)
    seen = np.repeat(visible[:, None], 3, axis=1)
    np.testing.assert_allclose(made, attention_by_hand(layer, queries, memory, seen), rtol=2e-4, atol=2e-4)


def test_causal_attention_sees_nothing_behind() -> None:
    layer = Attention(8, 4)
    vectors = RANDOM.normal(size=(1, 5, 8)).astype(np.float32)
    made = layer(vectors, causal=True)
    seen = np.tril(np.ones((5, 5), bool))[None]
    np.testing.assert_allclose(made, attention_by_hand(layer, vectors, vectors, seen), rtol=1e-4, atol=1e-5)


def test_kept_keys_and_values_give_the_same() -> None:
    layer = Attention(8, 2)
    vectors = RANDOM.normal(size=(2, 4, 8)).astype(np.float32)
    whole = layer(vectors, causal=True)
    kept = None
    for position in range(4):
        now = vectors[:, position : position + 1]
        new = layer.remember(now)
        kept = new if kept is None else tuple(tf.concat(pair, axis=2) for pair in zip(kept, new, strict=True))
        np.testing.assert_allclose(layer.attend(now, *kept)[:, 0], whole[:, position], rtol=1e-4, atol=1e-5)


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match="3 does not divide 8"):
        Attention(8, 3)


def test_a_tied_embedding_reads_and_writes_with_one_table() -> None:
    layer = TiedEmbedding(6, 4)
    (table,) = layer.get_weights()
    np.testing.assert_allclose(layer(np.array([[5, 0]])), 2 * table[[5, 0]][None], rtol=1e-6)
    vectors = RANDOM.normal(size=(1, 3, 4)).astype(np.float32)
    np.testing.assert_allclose(layer(vectors, reverse=True), vectors @ table.T, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("layer", [Attention(8, 2, dropout=0.1), FeedForward(8, 5), TiedEmbedding(9, 4)])
def test_layers_survive_their_config(layer: keras.layers.Layer) -> None:
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert again.get_config() == layer.get_config()


def test_logits_are_float32_in_half_precision() -> None:
    layer = TiedEmbedding(6, 4, dtype="mixed_float16")
    assert layer(tf.zeros([1, 2, 4], tf.float16), reverse=True).dtype == tf.float32
    assert layer(tf.zeros([1, 2], tf.int32)).dtype == tf.float16


def test_positions_are_sines_and_cosines() -> None:
    made = np.asarray(sinusoids(tf.constant([0.0, 3.0]), 4))
    np.testing.assert_allclose(made[0], [0, 0, 1, 1], atol=1e-7)
    np.testing.assert_allclose(made[1], [np.sin(3), np.sin(3e-4), np.cos(3), np.cos(3e-4)], rtol=1e-5)


def test_smoothed_losses_are_the_cross_entropy_of_smoothed_targets() -> None:
    logits = RANDOM.normal(size=(2, 3, 7)).astype(np.float32)
    tokens = np.array([[4, 3, 0], [6, 0, 0]], np.int32)
    target = 0.9 * np.eye(7)[tokens] + 0.1 / 7
    wanted = -(target * np.log(softmax(logits))).sum(axis=-1) * (tokens > 0)
    np.testing.assert_allclose(smoothed_losses(logits, tokens, smoothing=0.1), wanted, rtol=1e-5)
    plain = -np.log(softmax(logits)[np.arange(2)[:, None], np.arange(3), tokens]) * (tokens > 0)
    np.testing.assert_allclose(smoothed_losses(logits, tokens, smoothing=0.0), plain, rtol=1e-5)
    variable = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(variable)
        total = tf.reduce_sum(smoothed_losses(variable, tokens, smoothing=0.1) * [[1.0, 2.0, 3.0]])
    slopes = (softmax(logits) - target) * (np.array([[1, 2, 3]]) * (tokens > 0))[:, :, None]
    np.testing.assert_allclose(tape.gradient(total, variable), slopes, rtol=1e-4, atol=1e-6)
    losses, counts = token_losses(logits, tokens)
    np.testing.assert_allclose(losses, plain, rtol=1e-5)
    assert counts.numpy().tolist() == [[1, 1, 0], [1, 0, 0]]
    assert float(tf.reduce_mean(sequence_losses(losses, counts))) == pytest.approx(plain.sum() / 3, rel=1e-5)


def test_perplexity_is_that_of_all_tokens_together() -> None:
    metric = Perplexity()
    assert float(metric.result()) == 1.0
    metric.update_state(tf.constant([[1.0, 2.0, 0.0]]), tf.constant([[1.0, 1.0, 0.0]]))
    metric.update_state(tf.constant([[6.0]]), tf.constant([[1.0]]))
    assert float(metric.result()) == pytest.approx(np.exp(3.0), rel=1e-6)
    metric.reset_state()
    metric.update_state(tf.constant([[1e9]]), tf.constant([[1.0]]))
    assert np.isfinite(float(metric.result()))
