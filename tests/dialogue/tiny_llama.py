"""A chat model small enough for tests, as Hugging Face saves one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from kerasft.generation import byte_alphabet

TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *byte_alphabet(), "th", "the", "Ġthe"]
MERGES = ["t h", "th e", "Ġ the"]
WIDTH, HEADS, HIDDEN, LAYERS = 24, 4, 40, 2


def write(folder: Path, *, special: int = 3) -> Path:
    """Writes a model with random weights; `special` tokens are said to be no text."""
    safetensors = pytest.importorskip("safetensors.numpy")
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(5)
    shapes: dict[str, tuple[int, ...]] = {"embed_tokens": (len(TOKENS), WIDTH), "norm": (WIDTH,)}
    for index in range(LAYERS):
        shapes |= {
            f"layers.{index}.{name}": shape
            for name, shape in {
                "input_layernorm": (WIDTH,),
                "post_attention_layernorm": (WIDTH,),
                "self_attn.q_proj": (WIDTH, WIDTH),
                "self_attn.k_proj": (WIDTH // 2, WIDTH),
                "self_attn.v_proj": (WIDTH // 2, WIDTH),
                "self_attn.o_proj": (WIDTH, WIDTH),
                "mlp.gate_proj": (HIDDEN, WIDTH),
                "mlp.up_proj": (HIDDEN, WIDTH),
                "mlp.down_proj": (WIDTH, HIDDEN),
            }.items()
        }
    tensors = {
        f"model.{name}.weight": (random.normal(0, 0.2, shape) + (len(shape) == 1)).astype(np.float32)
        for name, shape in shapes.items()
    }
    safetensors.save_file(tensors, str(folder / "model.safetensors"))
    config = {
        "model_type": "llama",
        "tie_word_embeddings": True,
        "vocab_size": len(TOKENS),
        "hidden_size": WIDTH,
        "intermediate_size": HIDDEN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS // 2,
        "rms_norm_eps": 1e-5,
        "max_position_embeddings": 512,
    }
    tokenizer = {
        "model": {
            "type": "BPE",
            "vocab": {token: number for number, token in enumerate(TOKENS)},
            "merges": MERGES,
        },
        "added_tokens": [{"id": number, "content": TOKENS[number]} for number in range(special)],
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Digits", "individual_digits": True},
                {"type": "ByteLevel", "add_prefix_space": False},
            ],
        },
    }
    template = "{{ '<|im_start|>system\nBe tiny.<|im_end|>\n' }}"
    for name, record in (
        ("config", config),
        ("tokenizer", tokenizer),
        ("tokenizer_config", {"chat_template": template}),
    ):
        (folder / f"{name}.json").write_text(json.dumps(record))
    return folder
