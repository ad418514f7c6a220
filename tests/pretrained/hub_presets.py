"""KerasHub presets small enough for tests, with random weights."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from kerasft.generation import byte_alphabet

MERGES = ["t h", "th e", "Ġ the", "1 2", "Ċ Ċ"]
# As in these models the first token is a word.
PIECES = [
    "!",
    *(letter for letter in byte_alphabet() if letter != "!"),
    *(pair.replace(" ", "") for pair in MERGES),
]
SPECIAL = {
    "GPT2": ["<|endoftext|>"],
    "Llama3": [
        "<|begin_of_text|>",
        "<|end_of_text|>",
        "<|start_header_id|>",
        "<|end_header_id|>",
        "<|eot_id|>",
    ],
    "Qwen": ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
    "QwenMoe": ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
    "Qwen3Moe": ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
    "SmolLM3": [
        "<|begin_of_text|>",
        "<|end_of_text|>",
        "<think>",
        "</think>",
        "<|im_start|>",
        "<|im_end|>",
    ],
    "OPT": ["<pad>", "</s>"],
    "GPTNeoX": ["<|endoftext|>"],
    "Bloom": ["<s>", "</s>", "<pad>"],
    "Falcon": ["<|endoftext|>"],
}
MARKS = {
    "Gemma": ["<start_of_turn>", "<end_of_turn>"],
    "Phi3": ["<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"],
}
LLAMA3 = (  # how a tokenizer.json says how words are cut
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
GROUPED = {"num_query_heads": 4, "num_key_value_heads": 2}
GEMMA = {"num_query_heads": 4, "num_key_value_heads": 1, "head_dim": 6, "intermediate_dim": 40}
BACKBONES: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("GPT2", {"num_heads": 4, "max_sequence_length": 96}),
    "llama": ("Llama", GROUPED),
    "llama3.1": (
        "Llama3",
        {
            **GROUPED,
            "rope_max_wavelength": 500000,
            "rope_frequency_adjustment_factor": 8.0,
            "rope_low_freq_factor": 1.0,
            "rope_high_freq_factor": 4.0,
            "rope_pretraining_sequence_length": 16,
        },
    ),
    "mistral": ("Mistral", {**GROUPED, "rope_scaling_factor": 2.0}),
    "mixtral": ("Mixtral", {**GROUPED, "num_experts": 5, "rope_scaling_factor": 2.0}),
    "qwen": ("Qwen", GROUPED),
    "qwen-untied": ("Qwen", {**GROUPED, "tie_word_embeddings": False}),
    "qwen3": ("Qwen3", {**GROUPED, "head_dim": 8}),
    "qwen-moe": (
        "QwenMoe",
        {
            **GROUPED,
            **{"moe_intermediate_dim": 12, "shared_expert_intermediate_dim": 20, "num_experts": 6},
        },
    ),
    "qwen3-moe": (
        "Qwen3Moe",
        {
            **GROUPED,
            **{"num_layers": 3, "head_dim": 8, "moe_intermediate_dim": 12, "num_experts": 6, "top_k": 3},
            "mlp_only_layers": [1],
        },
    ),
    "qwen3-moe-normalised": (
        "Qwen3Moe",
        {
            **GROUPED,
            **{"head_dim": 8, "moe_intermediate_dim": 12, "num_experts": 4, "top_k": 2},
            **{"norm_top_k_prob": True, "decoder_sparse_step": 2, "tie_word_embeddings": True},
        },
    ),
    "smollm3": (
        "SmolLM3",
        {
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "attention_bias": True,
            "attention_dropout": 0.0,
            "rope_layer_enabled_list": [True, False],
            "layer_types": ["full_attention"] * 2,
            "mlp_bias": False,
            "layer_norm_epsilon": 1e-6,
            "max_position_embeddings": 128,
            "rope_theta": 5000.0,
            "partial_rotary_factor": 1.0,
        },
    ),
    "phi3": ("Phi3", {**GROUPED, "max_sequence_length": 128}),
    "phi3-long": (
        "Phi3",
        {
            **GROUPED,
            "max_sequence_length": 512,
            "pretraining_sequence_length": 64,
            "rope_scaling_type": "su",
            "rope_scaling_short_factor": [1.0, 1.5, 3.0],
            "rope_scaling_long_factor": [2.0, 8.0, 9.0],
        },
    ),
    "opt": ("OPT", {"num_heads": 4, "max_sequence_length": 96}),
    "gpt-neox": ("GPTNeoX", {"num_heads": 3, "rotary_percentage": 0.5, "max_sequence_length": 96}),
    "bloom": ("Bloom", {"num_heads": 3}),
    "falcon": ("Falcon", {"num_attention_heads": 6}),
    "gemma": ("Gemma", GEMMA),
    "gemma3": (
        "Gemma3",
        {
            **GEMMA,
            "num_layers": 7,  # the sixth looks further than the others
            "image_size": 16,
            "use_post_ffw_norm": True,
            "use_post_attention_norm": True,
            "use_sliding_window_attention": True,
            "sliding_window_size": 64,
            "global_rope_scaling_factor": 8.0,
        },
    ),
    "gemma2": (
        "Gemma",
        {
            **GEMMA,
            "use_post_ffw_norm": True,
            "use_post_attention_norm": True,
            "attention_logit_soft_cap": 3.0,
            "final_logit_soft_cap": 4.0,
            "use_sliding_window_attention": True,
            "sliding_window_size": 64,
        },
    ),
}


def backbone(name: str, *, vocabulary: int = 50, **changes: Any) -> Any:
    """Returns a KerasHub backbone whose weights are large enough for every term to matter."""
    keras_hub = pytest.importorskip("keras_hub")
    family, options = BACKBONES[name]
    sizes = {"vocabulary_size": vocabulary, "num_layers": 2, "hidden_dim": 24, "intermediate_dim": 40}
    made = getattr(keras_hub.models, f"{family}Backbone")(**{**sizes, **options, **changes})
    random = np.random.default_rng(3)
    for weight in made.trainable_weights:
        weight.assign(weight + random.normal(0, 0.3, weight.shape))
    return made


def logits(made: Any, ids: np.ndarray) -> np.ndarray:
    """Returns what KerasHub computes."""
    vectors = made({"token_ids": ids, "padding_mask": np.ones_like(ids)})
    return np.asarray(keras.ops.convert_to_numpy(made.token_embedding(vectors, reverse=True)))


def write_byte_pairs(folder: Path, name: str, family: str) -> list[str]:
    """Writes a preset with the tokenizer of a family, and returns its tokens."""
    keras_hub = pytest.importorskip("keras_hub")
    tokens = [*PIECES, *SPECIAL[family]]
    # Some rows of the table have no token, as in most released models.
    backbone(name, vocabulary=len(tokens) + 3).save_to_preset(folder)
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokenizer = getattr(keras_hub.tokenizers, f"{family}Tokenizer")
    tokenizer(vocabulary=vocabulary, merges=MERGES).save_to_preset(folder)
    return tokens


def write_pieces(folder: Path, name: str, family: str) -> int:
    """Writes a preset with a SentencePiece tokenizer of a family, and returns its number of pieces."""
    keras_hub = pytest.importorskip("keras_hub")
    sentencepiece = pytest.importorskip("sentencepiece")
    gemma = family == "Gemma"
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["the model and the user", "over the top of them"] * 4),
        model_writer=written,
        vocab_size=290,
        model_type="bpe",
        byte_fallback=True,
        hard_vocab_limit=False,
        pad_id=0 if gemma else -1,
        unk_id=3 if gemma else 0,
        bos_id=2 if gemma else 1,
        eos_id=1 if gemma else 2,
        bos_piece="<bos>" if gemma else "<s>",
        eos_piece="<eos>" if gemma else "</s>",
        user_defined_symbols=MARKS.get(family, []),
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        add_dummy_prefix=not gemma,
        minloglevel=2,
    )
    tokenizer = getattr(keras_hub.tokenizers, f"{family}Tokenizer")(proto=written.getvalue())
    tokenizer.save_to_preset(folder)
    count: int = tokenizer.vocabulary_size()
    backbone(name, vocabulary=count + 3).save_to_preset(folder)
    return count


def write_transformers_gpt2(folder: Path, made: Any) -> None:
    """Writes a GPT-2 of KerasHub as Hugging Face saves one."""
    arrays = {weight.path: np.asarray(weight) for weight in made.weights}
    width = made.hidden_dim

    def joined(layer: str, part: str, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
        names = [f"{layer}/self_attention/{name}/{part}" for name in ("query", "key", "value")]
        return np.concatenate([arrays[name].reshape(shape) for name in names], axis=-1)

    tensors = {
        "wte.weight": arrays["token_embedding/embeddings"],
        "wpe.weight": arrays["position_embedding/embeddings"],
        "ln_f.weight": arrays["layer_norm/gamma"],
        "ln_f.bias": arrays["layer_norm/beta"],
    }
    for index in range(made.num_layers):
        layer = f"transformer_layer_{index}"
        tensors[f"h.{index}.attn.c_attn.weight"] = joined(layer, "kernel", (width, width))
        tensors[f"h.{index}.attn.c_attn.bias"] = joined(layer, "bias", (width,))
        for theirs, ours in {
            "attn.c_proj": "self_attention/attention_output",
            "mlp.c_fc": "feedforward_intermediate_dense",
            "mlp.c_proj": "feedforward_output_dense",
        }.items():
            kernel = arrays[f"{layer}/{ours}/kernel"]
            tensors[f"h.{index}.{theirs}.weight"] = kernel.reshape(-1, kernel.shape[-1])
            tensors[f"h.{index}.{theirs}.bias"] = arrays[f"{layer}/{ours}/bias"]
        for theirs, ours in (("ln_1", "self_attention_layer_norm"), ("ln_2", "feedforward_layer_norm")):
            tensors[f"h.{index}.{theirs}.weight"] = arrays[f"{layer}/{ours}/gamma"]
            tensors[f"h.{index}.{theirs}.bias"] = arrays[f"{layer}/{ours}/beta"]
    config = {
        "model_type": "gpt2",
        "vocab_size": made.vocabulary_size,
        "n_layer": made.num_layers,
        "n_head": made.num_heads,
        "n_embd": width,
        "n_positions": made.max_sequence_length,
        "resid_pdrop": 0.1,
    }
    _write_transformers(folder, tensors, config, special=SPECIAL["GPT2"], rule=None)


def write_transformers_smollm3(folder: Path, made: Any) -> None:
    """Writes a SmolLM3 of KerasHub as Hugging Face saves one."""
    tensors = {
        "model.embed_tokens.weight": np.asarray(made.token_embedding.embeddings),
        "model.norm.weight": np.asarray(made.norm.scale),
    }
    for index, layer in enumerate(made.transformer_layers):
        for part, names in (("self_attn", "qkvo"), ("mlp", ("gate", "up", "down"))):
            for name in names:
                kernel = np.asarray(getattr(getattr(layer, part), f"{name}_proj").kernel)
                tensors[f"model.layers.{index}.{part}.{name}_proj.weight"] = kernel.reshape(
                    -1, kernel.shape[-1]
                ).T.copy()
        for name in ("input_layernorm", "post_attention_layernorm"):
            tensors[f"model.layers.{index}.{name}.weight"] = np.asarray(getattr(layer, name).scale)
    config = {
        "model_type": "smollm3",
        "vocab_size": made.vocabulary_size,
        "hidden_size": made.hidden_dim,
        "num_hidden_layers": made.num_layers,
        "num_attention_heads": made.num_attention_heads,
        "num_key_value_heads": made.num_key_value_heads,
        "intermediate_size": made.intermediate_dim,
        "rms_norm_eps": made.layer_norm_epsilon,
        "max_position_embeddings": made.max_position_embeddings,
        "rope_theta": made.rope_theta,
        "attention_bias": made.attention_bias,
        "attention_dropout": 0.0,
        "no_rope_layers": [int(turns) for turns in made.rope_layer_enabled_list],
        "layer_types": made.layer_types,
        "mlp_bias": False,
        "tie_word_embeddings": True,
    }
    _write_transformers(folder, tensors, config, special=SPECIAL["SmolLM3"], rule=LLAMA3)


def _write_transformers(
    folder: Path, tensors: dict[str, Any], config: dict[str, Any], *, special: list[str], rule: str | None
) -> None:
    safetensors = pytest.importorskip("safetensors.numpy")
    folder.mkdir(exist_ok=True)
    safetensors.save_file(tensors, str(folder / "model.safetensors"))
    tokens = [*PIECES, *special]
    bytewise = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": rule is None}
    split = {"type": "Split", "pattern": {"Regex": rule}, "behavior": "Isolated"}
    cuts = bytewise if rule is None else {"type": "Sequence", "pretokenizers": [split, bytewise]}
    tokenizer = {
        "model": {
            "type": "BPE",
            "vocab": {token: number for number, token in enumerate(tokens)},
            "merges": MERGES,
        },
        "added_tokens": [{"id": tokens.index(name), "content": name} for name in special],
        "pre_tokenizer": cuts,
    }
    for name, record in (("config", config), ("tokenizer", tokenizer)):
        (folder / f"{name}.json").write_text(json.dumps(record))
