"""A mixture of experts: what a token is made of, what adapters leave alone, and what its loss is."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import kerasft
from kerasft.generation import CausalBlock, CausalSizes, Experts

VECTORS = np.random.default_rng(0).normal(size=(11, 8)).astype(np.float32)


def layer(**options: Any) -> Experts:
    made = Experts(**{"width": 8, "hidden": 5, "experts": 4, "chosen": 2, **options})
    made.build((None, 8))
    random = np.random.default_rng(1)
    for weight in made.weights:
        weight.assign(random.normal(size=weight.shape))
    return made


@pytest.mark.parametrize("normalised", [True, False])
def test_a_token_is_the_weighted_sum_of_what_its_experts_return(normalised: bool) -> None:
    made = layer(normalised=normalised)
    router, gate, up, down = (
        keras.ops.convert_to_numpy(weight)
        for weight in (made.router, made.gate.kernel, made.up.kernel, made.down.kernel)
    )
    for vector, output in zip(VECTORS, made(VECTORS).numpy(), strict=True):
        scores = np.exp(vector @ router)
        shares = scores / scores.sum()
        best = np.argsort(shares)[-2:]
        weights = shares[best] / (shares[best].sum() if normalised else 1.0)
        wanted = np.zeros(8)
        for expert, weight in zip(best, weights, strict=True):
            bent = vector @ gate[expert]
            bent = bent / (1 + np.exp(-bent))
            wanted += weight * ((bent * (vector @ up[expert])) @ down[expert])
        np.testing.assert_allclose(output, wanted, rtol=1e-3, atol=1e-4)


def test_the_loss_is_of_what_is_counted_and_lowest_where_tokens_are_spread_evenly() -> None:
    made = layer(chosen=1, balance=0.5)
    made.router.assign(np.eye(8, 4) * 9)
    every = np.ones(4, bool)
    made(np.eye(4, 8, dtype=np.float32), counted=every, training=True)
    np.testing.assert_allclose(made.losses[0], 0.5, rtol=1e-5)
    made(np.eye(4, 8, dtype=np.float32), counted=np.array([True, False, False, False]), training=True)
    np.testing.assert_allclose(made.losses[0], 0.5 * 4, rtol=1e-2)
    made(np.eye(4, 8, dtype=np.float32), counted=every, training=False)
    assert not made.losses


def test_adapters_leave_experts_alone() -> None:
    sizes = CausalSizes(
        **{"vocabulary": 9, "width": 8, "layers": 1, "heads": 2, "kv_heads": 1, "size": 4, "hidden": 16},
        **{"experts": 3, "experts_per_token": 2, "expert_hidden": 5, "shared_expert": 6},
    )
    block = CausalBlock(sizes)
    block.build((None, None, 8))
    before = tf.shape(block(VECTORS[None], tf.ones([1, 11], tf.int32)))
    kerasft.LoRA(rank=2).enable([block], seed=0)
    adapted = {name for name in block.dense_names if getattr(block, name).lora_enabled}
    assert adapted == {"query", "key", "value", "output_dense", "gate", "up", "down"}
    assert len(block.experts.weights) == 5
    np.testing.assert_array_equal(tf.shape(block(VECTORS[None], tf.ones([1, 11], tf.int32))), before)
