"""Which backbones of KerasHub are converted: their sizes as `CausalSizes`, and the names of their layers."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

Config = Mapping[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Family:
    """What backbones of a class have in common.

    Attributes:
        fields: From the config of a backbone to the fields of `CausalSizes`.
        block: Name of a block, before its number.
        names: Our layers of a block, and theirs.
        norm: Name of the last normalisation.
        embeddings: What stands before the names of the tables of tokens and positions.
        gemma: Whether scales are kept as what is added to one, and kernels of queries, keys and values with
            heads first.
        context: From the config to the most tokens that it can read; None: any number.
        refused: What a config must not say, and why.
    """

    fields: Callable[[Config], dict[str, Any]]
    block: str
    names: Mapping[str, str]
    norm: str
    embeddings: str = ""
    gemma: bool = False
    context: Callable[[Config], int | None] = lambda config: None
    refused: Callable[[Config], str | None] = lambda config: None


def _shared(config: Config) -> dict[str, Any]:
    names = ("num_query_heads", "num_attention_heads", "num_heads")
    heads = config[next((name for name in names if name in config), names[0])]
    return {
        "vocabulary": config["vocabulary_size"],
        "width": config["hidden_dim"],
        "layers": config["num_layers"],
        "heads": heads,
        "kv_heads": config.get("num_key_value_heads", heads),
        "size": config.get("head_dim") or config["hidden_dim"] // heads,
        "hidden": config["intermediate_dim"],
        "epsilon": config.get("layer_norm_epsilon", 1e-5),
    }


def _llama(config: Config) -> dict[str, Any]:
    names = ("frequency_adjustment_factor", "low_freq_factor", "high_freq_factor")
    bands = tuple(config.get(f"rope_{name}") for name in (*names, "pretraining_sequence_length"))
    return {
        **_shared(config),
        "base": float(config["rope_max_wavelength"]),
        "bands": () if None in bands else bands,
        "tied": config.get("tie_word_embeddings", False),
    }


def _stretched_llama(config: Config) -> str | None:
    factor = config.get("rope_position_scaling_factor", 1.0)
    return None if factor == 1.0 else f"rope_position_scaling_factor={factor}, which KerasHub does not obey"


def _stretched(config: Config) -> dict[str, Any]:
    return {
        **_shared(config),
        "base": float(config["rope_max_wavelength"]),
        "stretch": float(config["rope_scaling_factor"]),
        "tied": config.get("tie_word_embeddings", False),
    }


def _mixtral(config: Config) -> dict[str, Any]:
    made = _stretched(config)
    return {
        **made,
        "experts": config["num_experts"],
        "experts_per_token": config["top_k"],
        "expert_hidden": made["hidden"],
        "balance": config.get("router_aux_loss_coef", 0.02),
    }


def _qwens(config: Config) -> dict[str, Any]:
    return {
        **_stretched(config),
        "experts": config["num_experts"],
        "experts_per_token": config["top_k"],
        "expert_hidden": config["moe_intermediate_dim"],
        "experts_normalised": config["norm_top_k_prob"],
        "balance": config.get("router_aux_loss_coefficient", 0.001),
    }


def _qwen_moe(config: Config) -> dict[str, Any]:
    return {**_qwens(config), "bias": True, "shared_expert": config["shared_expert_intermediate_dim"]}


def _refused_qwen_moe(config: Config) -> str | None:
    step, dense = config["decoder_sparse_step"], config["mlp_only_layers"]
    if step == 1 and not dense:
        return None
    return f"decoder_sparse_step={step} and mlp_only_layers={dense}, and KerasHub makes all blocks alike"


def _qwen3_moe(config: Config) -> dict[str, Any]:
    step, dense = config["decoder_sparse_step"], config["mlp_only_layers"] or ()
    return {
        **_qwens(config),
        "head_norm": True,
        "dense_blocks": tuple(at for at in range(config["num_layers"]) if at in dense or (at + 1) % step),
    }


def _noisy(config: Config) -> str | None:
    noise = config.get("router_jitter_noise", 0.0)
    return f"router_jitter_noise={noise}, which KerasHub cannot compute" if noise else None


def _smollm3(config: Config) -> dict[str, Any]:
    base = float(config["rope_theta"])
    turned = [*config["rope_layer_enabled_list"]]
    turned += [True] * (config["num_layers"] - len(turned))
    return {
        **_shared(config),
        "rotary": tuple((base if turns else 0.0, 1.0) for turns in turned[: config["num_layers"]]),
        "bias": config["attention_bias"],
    }


def _refused_smollm3(config: Config) -> str | None:
    if config["mlp_bias"]:
        return "mlp_bias=True, which no released model has"
    if config["partial_rotary_factor"] != 1.0:
        return f"partial_rotary_factor={config['partial_rotary_factor']}, which KerasHub cannot compute"
    return None


def _phi3(config: Config) -> dict[str, Any]:
    made = {**_shared(config), "base": float(config["rope_max_wavelength"]), "tied": False}
    if config["rope_scaling_type"] is None:
        return made
    context, longest = config["pretraining_sequence_length"], config["max_sequence_length"]
    # Longer texts have other waves from their first token on, so they cannot be read bit by bit.
    return {
        **made,
        "waves": config["rope_scaling_short_factor"],
        "swell": math.sqrt(1.0 + max(math.log(longest / context), 0.0) / math.log(context)),
    }


def _context_of_phi3(config: Config) -> int:
    scaled = config["rope_scaling_type"] is not None
    length: int = config["pretraining_sequence_length" if scaled else "max_sequence_length"]
    return length


def _refused_phi3(config: Config) -> str | None:
    kind = config["rope_scaling_type"]
    return None if kind in (None, "su") else f"rope_scaling_type={kind}, which KerasHub does not know"


def _biased(config: Config) -> dict[str, Any]:
    return {
        **_shared(config),
        "norm": "layer",
        "bias": True,
        "dense_bias": True,
        "gated": False,
        "activation": "gelu",
    }


def _placed(config: Config) -> dict[str, Any]:
    return {**_biased(config), "positions": config["max_sequence_length"]}


def _gpt_neox(config: Config) -> dict[str, Any]:
    made = _biased(config)
    return {
        **made,
        "base": float(config["rotary_max_wavelength"]),
        "rotary_size": int(made["size"] * config["rotary_percentage"]),
        "parallel": True,
    }


def _refused_gpt_neox(config: Config) -> str | None:
    part = config["rotary_percentage"]
    size = int(config["hidden_dim"] // config["num_heads"] * part)
    return None if size else f"rotary_percentage={part}, so its tokens have no positions"


def _falcon(config: Config) -> dict[str, Any]:
    made = _biased(config)
    return {**made, "lean": made["size"] ** -0.5, "activation": "gelu_exact"}


def _refused_falcon(config: Config) -> str | None:
    epsilon = config["layer_norm_epsilon"]
    return None if epsilon == 1e-5 else f"layer_norm_epsilon={epsilon}, which KerasHub's blocks do not obey"


def _gemma(config: Config) -> dict[str, Any]:
    return {
        **_shared(config),
        "hidden": config["intermediate_dim"] // 2,  # of the two layers that make the gate together
        "scaled": True,
        "activation": "gelu",
        "score_cap": config["attention_logit_soft_cap"] or 0.0,
        "logit_cap": config["final_logit_soft_cap"] or 0.0,
        "post_norm": config["use_post_attention_norm"],
    }


def _gemma3(config: Config) -> dict[str, Any]:
    local, everywhere = (config[f"{reach}_rope_scaling_factor"] for reach in ("local", "global"))
    # Of six blocks five look back as far as the window, if there is one, and have shorter waves.
    windows = [config["use_sliding_window_attention"] and at % 6 < 5 for at in range(config["num_layers"])]
    return {
        **_gemma(config),
        "hidden": config["intermediate_dim"],
        "head_norm": config["use_query_key_norm"],
        "rotary": tuple((1e4, float(local)) if window else (1e6, float(everywhere)) for window in windows),
    }


def _refused_gemma3(config: Config) -> str | None:
    if config["use_bidirectional_attention"] or config.get("is_embedding_model"):
        return "use_bidirectional_attention or is_embedding_model, so it writes no texts"
    return _refused_gemma(config)


def _refused_gemma(config: Config) -> str | None:
    if config["use_post_attention_norm"] != config["use_post_ffw_norm"]:
        return "one of use_post_attention_norm and use_post_ffw_norm without the other"
    if not config["query_head_dim_normalize"]:
        return "query_head_dim_normalize=False, which KerasHub does not obey"
    return None


def _attention(layer: str, *, asks: str = "{}", says: str = "attention_output") -> dict[str, str]:
    """Returns the names of the parts of attention, whose layer is called `layer`."""
    parts = {name: f"{layer}/{asks.format(name)}" for name in ("query", "key", "value")}
    return {**parts, "output_dense": f"{layer}/{says}"}


_LLAMA_NAMES = {
    **_attention("self_attention"),
    "attention_norm": "self_attention_layernorm",
    "norm": "feedforward_layernorm",
    "gate": "feedforward_gate_dense",
    "up": "feedforward_intermediate_dense",
    "down": "feedforward_output_dense",
}
_GPT2_NAMES = {
    **{ours: theirs for ours, theirs in _LLAMA_NAMES.items() if ours != "gate"},
    "attention_norm": "self_attention_layer_norm",
    "norm": "feedforward_layer_norm",
}
_SMOLLM3_NAMES = {
    "attention_norm": "input_layernorm",
    "norm": "post_attention_layernorm",
    "query": "self_attn/q_proj",
    "key": "self_attn/k_proj",
    "value": "self_attn/v_proj",
    "output_dense": "o_proj",
    "gate": "mlp/gate_proj",
    "up": "mlp/up_proj",
    "down": "mlp/down_proj",
}
_PHI3_NAMES = {
    **_LLAMA_NAMES,
    **_attention("attention"),
    "attention_norm": "pre_attention_layernorm",
    "norm": "post_attention_layernorm",
}
_FALCON_NAMES = {
    **_attention("attention", asks="{}_dense", says="output_dense"),
    "attention_norm": "input_layernorm",
    "norm": "post_attention_layernorm",
    "up": "dense_h_to_4h",
    "down": "dense_4h_to_h",
}
_BLOOM_NAMES = {
    **_attention("self_attention", asks="{}_dense", says="output_dense"),
    "attention_norm": "pre_attention_layernorm",
    "norm": "post_attention_layernorm",
    "up": "mlp_intermediate_dense",
    "down": "mlp_output_dense",
}
_QWEN3_NAMES = {
    **_LLAMA_NAMES,
    "query_norm": "self_attention/query_dense_layernorm",
    "key_norm": "self_attention/key_dense_layernorm",
}
_QWEN_MOE_NAMES = {
    **_LLAMA_NAMES,
    **{name: f"mlp/shared_expert_dense/{_LLAMA_NAMES[name]}" for name in ("gate", "up", "down")},
}
_QWEN3_MOE_NAMES = {
    **_QWEN3_NAMES,
    **{name: f"mlp/{_LLAMA_NAMES[name]}" for name in ("gate", "up", "down")},  # of blocks without experts
}
_GEMMA_NAMES = {
    **_attention("attention"),
    "attention_norm": "pre_attention_norm",
    "attention_post_norm": "post_attention_norm",
    "norm": "pre_ffw_norm",
    "post_norm": "post_ffw_norm",
    "gate": "ffw_gating",
    "up": "ffw_gating_2",
    "down": "ffw_linear",
}
_GEMMA3_NAMES = {**_GEMMA_NAMES, "query_norm": "attention/query_norm", "key_norm": "attention/key_norm"}
_LATER_LLAMA = Family(
    fields=_stretched, block="transformer_layer_", names=_LLAMA_NAMES, norm="sequence_output_layernorm"
)
_LLAMA = dataclasses.replace(_LATER_LLAMA, fields=_llama, refused=_stretched_llama)
_GPT2 = Family(
    fields=_placed,
    block="transformer_layer_",
    names=_GPT2_NAMES,
    norm="layer_norm",
    context=lambda config: config["max_sequence_length"],
)
_LEANING = dataclasses.replace(_GPT2, norm="final_layernorm", context=lambda config: None)
_GEMMA = Family(
    fields=_gemma,
    block="decoder_block_",
    names=_GEMMA_NAMES,
    norm="final_normalization",
    gemma=True,
    context=lambda config: config["sliding_window_size"] if config["use_sliding_window_attention"] else None,
    refused=_refused_gemma,
)

FAMILIES: dict[str, Family] = {
    "GPT2Backbone": _GPT2,
    "OPTBackbone": dataclasses.replace(
        _GPT2,
        fields=lambda config: {**_placed(config), "activation": "relu"},
        embeddings="embeddings/",
    ),
    "GPTNeoXBackbone": dataclasses.replace(_GPT2, fields=_gpt_neox, refused=_refused_gpt_neox),
    "BloomBackbone": dataclasses.replace(
        _LEANING,
        fields=lambda config: {**_biased(config), "lean": 1.0, "embedding_norm": True},
        names=_BLOOM_NAMES,
    ),
    "FalconBackbone": dataclasses.replace(
        _LEANING, fields=_falcon, names=_FALCON_NAMES, refused=_refused_falcon
    ),
    "LlamaBackbone": _LLAMA,
    "Llama3Backbone": _LLAMA,
    # Within its window each token sees all before it.
    "MistralBackbone": dataclasses.replace(_LATER_LLAMA, context=lambda config: config["sliding_window"]),
    "MixtralBackbone": dataclasses.replace(
        _LATER_LLAMA,
        fields=_mixtral,
        context=lambda config: config["sliding_window"],
        refused=_noisy,
    ),
    "QwenBackbone": dataclasses.replace(
        _LATER_LLAMA,
        fields=lambda config: {**_stretched(config), "bias": True},
        context=lambda config: (
            config["sliding_window_size"] if config["use_sliding_window_attention"] else None
        ),
    ),
    "QwenMoeBackbone": dataclasses.replace(
        _LATER_LLAMA,
        fields=_qwen_moe,
        names=_QWEN_MOE_NAMES,
        context=lambda config: (
            config["sliding_window_size"] if config["use_sliding_window_attention"] else None
        ),
        refused=_refused_qwen_moe,
    ),
    "Qwen3Backbone": dataclasses.replace(
        _LATER_LLAMA,
        fields=lambda config: {**_stretched(config), "head_norm": True},
        names=_QWEN3_NAMES,
        context=lambda config: config["sliding_window_size"],
    ),
    "Qwen3MoeBackbone": dataclasses.replace(
        _LATER_LLAMA,
        fields=_qwen3_moe,
        names=_QWEN3_MOE_NAMES,
        context=lambda config: config["sliding_window_size"],
    ),
    "SmolLM3Backbone": dataclasses.replace(
        _LATER_LLAMA, fields=_smollm3, names=_SMOLLM3_NAMES, refused=_refused_smollm3
    ),
    "Phi3Backbone": dataclasses.replace(
        _LATER_LLAMA, fields=_phi3, names=_PHI3_NAMES, context=_context_of_phi3, refused=_refused_phi3
    ),
    "GemmaBackbone": _GEMMA,
    "Gemma3Backbone": dataclasses.replace(
        _GEMMA, fields=_gemma3, names=_GEMMA3_NAMES, refused=_refused_gemma3
    ),
}
"""The backbones that are converted, by class."""
