"""The causal language model: what it sees, and that a kept past gives the same."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasft.errors import ConfigError
from kerasft.generation import CausalLM, CausalSizes, Linear, angles, hide, rotate

SIZES: dict[str, Any] = {
    "vocabulary": 30,
    "width": 16,
    "layers": 2,
    "heads": 4,
    "kv_heads": 2,
    "size": 4,
    "hidden": 24,
    "bias": True,
}
IDS = np.random.default_rng(0).integers(0, 30, (2, 7)).astype(np.int32)


KINDS: dict[str, dict[str, Any]] = {
    "llama": {},
    "gpt2": {
        "positions": 7,
        "norm": "layer",
        "dense_bias": True,
        "gated": False,
        "activation": "gelu",
    },
    "gemma": {"tied": False, "post_norm": True, "head_norm": True, "score_cap": 2.0, "logit_cap": 4.0},
    "llama3": {"stretch": 2.0, "bands": (8.0, 1.0, 4.0, 16.0)},
    "gemma3": {"rotary": ((100.0, 2.0), (0.0, 1.0))},
    "gpt-neox": {"rotary_size": 2, "parallel": True, "activation": "gelu_exact"},
    "phi3": {"waves": (1.0, 3.0), "swell": 1.2},
    "mixtral": {"experts": 5, "experts_per_token": 2, "expert_hidden": 9, "dense_blocks": (0,)},
    "qwen-moe": {
        **{"experts": 3, "experts_per_token": 2, "expert_hidden": 9},
        **{"shared_expert": 7, "experts_normalised": False},
    },
    "bloom": {"lean": 2.0, "embedding_norm": True, "activation": "relu"},
}


@pytest.fixture(scope="module", params=KINDS)
def lm(request: pytest.FixtureRequest) -> CausalLM:
    keras.utils.set_random_seed(0)
    made = CausalLM(CausalSizes(**{**SIZES, **KINDS[request.param]}))
    for weight in made.model.weights:
        weight.assign(weight + np.random.default_rng(1).normal(0, 0.3, weight.shape))
    return made


def whole(lm: CausalLM, ids: np.ndarray) -> np.ndarray:
    return lm.logits(lm.model([ids, np.ones_like(ids)])).numpy()


def test_nothing_behind_a_token_changes_it(lm: CausalLM) -> None:
    changed = IDS.copy()
    changed[:, 4:] = (changed[:, 4:] + 1) % 30
    np.testing.assert_allclose(whole(lm, changed)[:, :4], whole(lm, IDS)[:, :4], atol=1e-5)
    assert np.abs(whole(lm, changed)[:, 4:] - whole(lm, IDS)[:, 4:]).max() > 0.1


@pytest.mark.parametrize("cuts", [[7], [3, 7], [1, 2, 3, 4, 5, 6, 7]])
def test_reading_in_parts_gives_the_same(lm: CausalLM, cuts: list[int]) -> None:
    past, at, made = [], 0, []
    for end in cuts:
        vectors, kept = lm.read(
            tf.constant(IDS[:, at:end]), tf.range(at, end)[None], tuple(past), tf.zeros([2, end - at])
        )
        past.append(kept)
        made.append(lm.logits(vectors).numpy())
        at = end
    np.testing.assert_allclose(np.concatenate(made, axis=1), whole(lm, IDS), atol=1e-4)


def test_what_is_hidden_does_not_count(lm: CausalLM) -> None:
    visible = tf.constant([[True] * 4 + [False] * 3] * 2)
    vectors, kept = lm.read(tf.constant(IDS), tf.range(7)[None], (), hide(visible))
    following = tf.constant(IDS[:, :1])
    made, _ = lm.read(following, tf.constant([[4]]), (kept,), tf.zeros([2, 1]))
    wanted = whole(lm, np.concatenate([IDS[:, :4], IDS[:, :1]], axis=1))[:, 4]
    np.testing.assert_allclose(lm.logits(made)[:, 0], wanted, atol=1e-4)
    np.testing.assert_allclose(lm.logits(vectors)[:, :4], whole(lm, IDS)[:, :4], atol=1e-5)


def test_conversations_of_a_row_count_for_themselves(lm: CausalLM) -> None:
    segments = np.array([[1, 1, 1, 2, 2, 2, 2]] * 2, np.int32)
    together = lm.logits(lm.model([IDS, segments])).numpy()
    np.testing.assert_allclose(together[:, :3], whole(lm, IDS[:, :3]), atol=1e-4)
    np.testing.assert_allclose(together[:, 3:], whole(lm, IDS[:, 3:]), atol=1e-4)
    assert np.abs(together[:, 3:] - whole(lm, IDS)[:, 3:]).max() > 0.1


def test_only_distances_count_for_rotated_vectors() -> None:
    random = np.random.default_rng(2)
    query, key = random.normal(size=(2, 1, 1, 5, 8)).astype(np.float32)

    def scores(shift: int) -> np.ndarray:
        turn = angles(tf.range(shift, shift + 5)[None], 8, base=100.0)
        return tf.matmul(rotate(query, turn), rotate(key, turn), transpose_b=True).numpy()

    np.testing.assert_allclose(scores(0), scores(40), atol=1e-4)
    np.testing.assert_allclose(np.diagonal(scores(3)[0, 0]), np.sum(query * key, -1)[0, 0], atol=1e-4)


def test_a_model_is_rebuilt_from_its_config(lm: CausalLM, tmp_path: Any) -> None:
    lm.model.save(tmp_path / "lm.keras")
    again = keras.models.load_model(tmp_path / "lm.keras")
    np.testing.assert_allclose(again([IDS, np.ones_like(IDS)]), lm.model([IDS, np.ones_like(IDS)]), atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"kv_heads": 3}, "3 does not divide 4"),
        ({"size": 5}, "must be even and within the size of a head, 5, and it is 5"),
        ({"rotary_size": 6}, "must be even and within the size of a head, 4, and it is 6"),
        ({"waves": [1.0]}, "one number for each of 2 or none, and they are 1"),
        ({"positions": 9, "lean": 1.0}, "but not both"),
        ({"bands": [8.0, 1.0]}, "four numbers or none"),
        ({"experts": 4}, "from 1 to the number of experts, 4, and it is 0"),
        ({"experts": 4, "experts_per_token": 2}, "expert_hidden must be at least 1"),
        (
            {"experts": 4, "experts_per_token": 2, "expert_hidden": 8, "activation": "relu"},
            "experts have a gate, silu and no biases",
        ),
        ({"rotary": [[100.0, 1.0]]}, "is of 1 of 2"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        CausalSizes(**{**SIZES, **changes})


def test_an_adapter_is_as_if_added_into_the_kernel() -> None:
    layer = Linear(6, use_bias=True)
    plain = keras.layers.Dense(6)
    vectors = np.random.default_rng(4).normal(size=(2, 3, 5)).astype(np.float32)
    for one in (layer, plain):
        one.build((None, None, 5))
    plain.set_weights(layer.get_weights())
    np.testing.assert_allclose(layer(vectors), plain(vectors), atol=1e-6)
    layer.enable_lora(2, lora_alpha=3.0)
    layer.lora_kernel_b.assign(np.random.default_rng(5).normal(size=(2, 6)))
    plain.kernel.assign(layer.kernel)
    np.testing.assert_allclose(layer(vectors), plain(vectors), atol=1e-5)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(vectors) ** 2)
    gradients = tape.gradient(loss, [layer.lora_kernel_a.value, layer.lora_kernel_b.value])
    assert all(np.abs(gradient).max() > 0 for gradient in gradients)
