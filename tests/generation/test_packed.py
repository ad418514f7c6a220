"""Weights in fewer bits stand for nearly the same network."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasft.generation import CausalLM, CausalSizes, PackedLM

SIZES: dict[str, Any] = {
    "vocabulary": 40,
    "width": 16,
    "layers": 2,
    "heads": 4,
    "kv_heads": 2,
    "size": 4,
    "hidden": 24,
}
LIKE_GPT2: dict[str, Any] = {
    "positions": 8,
    "norm": "layer",
    "bias": True,
    "dense_bias": True,
    "gated": False,
    "activation": "gelu",
}
LIKE_GEMMA2: dict[str, Any] = {
    "tied": False,
    "post_norm": True,
    "head_norm": True,
    "score_cap": 2.0,
    "logit_cap": 4.0,
}
LIKE_BLOOM: dict[str, Any] = {"lean": 1.0, "embedding_norm": True, "norm": "layer"}
LIKE_QWEN_MOE: dict[str, Any] = {
    "experts": 4,
    "experts_per_token": 2,
    "expert_hidden": 12,
    "shared_expert": 10,
    "dense_blocks": (1,),
}
IDS = tf.constant([[5, 9, 2, 33, 7, 21]])


def network(**changes: Any) -> CausalLM:
    keras.utils.set_random_seed(0)
    made = CausalLM(CausalSizes(**{**SIZES, **changes}))
    random = np.random.default_rng(0)
    for weight in made.model.weights:
        weight.assign(weight + random.normal(0, 0.2, weight.shape))
    return made


def logits(lm: Any) -> np.ndarray:
    vectors, _ = lm.read(IDS, tf.range(6)[None], (), tf.zeros([1, 6]))
    return lm.logits(vectors).numpy()


@pytest.mark.parametrize(
    "changes", [{}, {"scaled": True, "bias": True}, LIKE_GPT2, LIKE_GEMMA2, LIKE_BLOOM, LIKE_QWEN_MOE]
)
@pytest.mark.parametrize(("bits", "near"), [("bfloat16", 0.04), ("int8", 0.04)])
def test_logits_stay_near(bits: Any, near: float, changes: dict[str, Any]) -> None:
    lm = network(**changes)
    wanted, made = logits(lm), logits(PackedLM(lm, bits))
    assert np.abs(made - wanted).max() < near * np.abs(wanted).max()
    assert np.abs(made - wanted).max() > 0


def test_numbers_are_rounded_by_half_a_step_at_most() -> None:
    lm = network()
    packed = PackedLM(lm, "int8").blocks[0].up
    kernel = lm.blocks[0].up.kernel.numpy()
    scale = np.abs(kernel).max(axis=0) / 127
    assert packed.values.dtype == tf.int8
    np.testing.assert_array_less(
        np.abs(packed.values.numpy() * scale - kernel), np.broadcast_to(scale * 0.5001, kernel.shape)
    )


def test_adapters_are_added_in() -> None:
    lm = network()
    for block in lm.blocks:
        block.up.enable_lora(2)
        block.up.lora_kernel_b.assign(np.random.default_rng(1).normal(size=block.up.lora_kernel_b.shape))
    with_adapters = logits(lm)
    assert np.abs(logits(PackedLM(lm, "int8")) - with_adapters).max() < 0.05 * np.abs(with_adapters).max()


def test_a_kept_past_gives_the_same() -> None:
    packed = PackedLM(network(), "int8")
    whole = logits(packed)
    _, past = packed.read(IDS[:, :4], tf.range(4)[None], (packed.nothing(1),), tf.zeros([1, 4]))
    vectors, _ = packed.read(IDS[:, 4:], tf.range(4, 6)[None], (past,), tf.zeros([1, 2]))
    np.testing.assert_allclose(packed.logits(vectors)[0], whole[0, 4:], atol=1e-4)
