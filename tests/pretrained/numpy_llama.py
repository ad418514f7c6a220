"""Llama in numpy, straight from the papers: a reference that shares no code with Keras or llama.cpp."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def forward(config: dict[str, Any], w: dict[str, Array], ids: Array) -> Array:
    """Returns logits [length, vocabulary] of a sequence.

    Args:
        config: layers, heads, kv_heads, size, base, epsilon; bands as of `CausalSizes`, or none.
        w: Tensors under Hugging Face's names, kernels as [out, in], not permuted.
        ids: int [length].
    """
    heads, kv_heads, size = config["heads"], config["kv_heads"], config["size"]
    length = len(ids)

    def norm(x: Array, name: str) -> Array:
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + config["epsilon"]) * w[f"{name}.weight"]

    def turn(x: Array) -> Array:
        # As complex numbers: dimension j and j + size / 2 are one number, turned by position * rate_j.
        rates = config["base"] ** (-2.0 * np.arange(size // 2) / size)
        if "bands" in config:
            factor, low, high, context = config["bands"]
            for at, waves in enumerate(context * rates / 2 / np.pi):
                if waves < low:
                    rates[at] /= factor
                elif waves < high:
                    part = (waves - low) / (high - low)
                    rates[at] *= part + (1 - part) / factor
        turned = (x[..., : size // 2] + 1j * x[..., size // 2 :]) * np.exp(
            1j * np.arange(length)[:, None, None] * rates
        )
        return np.concatenate([turned.real, turned.imag], axis=-1)

    x = w["model.embed_tokens.weight"][ids]
    for index in range(config["layers"]):
        prefix = f"model.layers.{index}"
        normed = norm(x, f"{prefix}.input_layernorm")
        query, key, value = (
            (
                normed @ w[f"{prefix}.self_attn.{part}_proj.weight"].T
                + w.get(f"{prefix}.self_attn.{part}_proj.bias", 0)
            ).reshape(length, count, size)
            for part, count in (("q", heads), ("k", kv_heads), ("v", kv_heads))
        )
        query, key = turn(query), turn(key)
        mixed = np.zeros((length, heads, size))
        for head in range(heads):
            shared = head * kv_heads // heads
            scores = query[:, head] @ key[:, shared].T / np.sqrt(size)
            scores[np.triu_indices(length, 1)] = -np.inf
            scores = np.exp(scores - scores.max(-1, keepdims=True))
            mixed[:, head] = scores / scores.sum(-1, keepdims=True) @ value[:, shared]
        x = x + mixed.reshape(length, -1) @ w[f"{prefix}.self_attn.o_proj.weight"].T
        normed = norm(x, f"{prefix}.post_attention_layernorm")
        gate = normed @ w[f"{prefix}.mlp.gate_proj.weight"].T
        inner = gate / (1 + np.exp(-gate)) * (normed @ w[f"{prefix}.mlp.up_proj.weight"].T)
        x = x + inner @ w[f"{prefix}.mlp.down_proj.weight"].T
    return norm(x, "model.norm") @ w.get("lm_head.weight", w["model.embed_tokens.weight"]).T
