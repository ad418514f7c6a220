"""Llama models from files against a reference in numpy; SmolLM2 against its fixture."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from kerasft.errors import PretrainedError
from kerasft.generation import CausalLM, byte_alphabet
from kerasft.pretrained.converters import causal

from .gguf_files import floats, gguf
from .numpy_llama import forward

FIXTURE = Path(__file__).parent / "fixtures" / "smollm2_parity.npz"
SIZES = {"layers": 2, "heads": 4, "kv_heads": 2, "size": 6, "base": 5000.0, "epsilon": 1e-5}
WIDTH, HIDDEN, CONTEXT = 20, 28, 512
TOKENS = ["<|im_start|>", "<|im_end|>", *byte_alphabet(), "lo", "low", "Ġlow"]
MERGES = ["l o", "lo w", "Ġ low"]
TEMPLATE = "{{ '<|im_start|>system\nBe small.<|im_end|>\n' }}{% for m in messages %}"
GGUF_NAMES = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def weights(*, tied: bool = True) -> dict[str, np.ndarray]:
    """Random tensors under Hugging Face's names, large enough for every term to matter."""
    random = np.random.default_rng(3)
    asked, kept = SIZES["heads"] * SIZES["size"], SIZES["kv_heads"] * SIZES["size"]
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (len(TOKENS), WIDTH),
        "model.norm.weight": (WIDTH,),
    }
    for index in range(SIZES["layers"]):
        shapes |= {
            f"model.layers.{index}.{name}.weight": shape
            for name, shape in {
                "input_layernorm": (WIDTH,),
                "post_attention_layernorm": (WIDTH,),
                "self_attn.q_proj": (asked, WIDTH),
                "self_attn.k_proj": (kept, WIDTH),
                "self_attn.v_proj": (kept, WIDTH),
                "self_attn.o_proj": (WIDTH, asked),
                "mlp.gate_proj": (HIDDEN, WIDTH),
                "mlp.up_proj": (HIDDEN, WIDTH),
                "mlp.down_proj": (WIDTH, HIDDEN),
            }.items()
        }
    if not tied:
        shapes["lm_head.weight"] = (len(TOKENS), WIDTH)
    return {name: random.normal(0, 0.5, shape).astype(np.float32) for name, shape in shapes.items()}


def write_gguf(folder: Path, *, tied: bool = True, **changes: Any) -> Path:
    found = weights(tied=tied)
    tensors = {
        "token_embd.weight": floats(found["model.embed_tokens.weight"]),
        "output_norm.weight": floats(found["model.norm.weight"]),
    }
    if not tied:
        tensors["output.weight"] = floats(found["lm_head.weight"])
    for index in range(SIZES["layers"]):
        for long, short in GGUF_NAMES.items():
            array = found[f"model.layers.{index}.{long}.weight"]
            if short in ("attn_q", "attn_k"):
                heads = len(array) // SIZES["size"]
                array = array.reshape(heads, 2, SIZES["size"] // 2, WIDTH).swapaxes(1, 2).reshape(array.shape)
            tensors[f"blk.{index}.{short}.weight"] = floats(array)
    settings = {
        "general.architecture": "llama",
        "llama.block_count": SIZES["layers"],
        "llama.context_length": CONTEXT,
        "llama.embedding_length": WIDTH,
        "llama.feed_forward_length": HIDDEN,
        "llama.attention.head_count": SIZES["heads"],
        "llama.attention.head_count_kv": SIZES["kv_heads"],
        "llama.rope.dimension_count": SIZES["size"],
        "llama.rope.freq_base": SIZES["base"],
        "llama.attention.layer_norm_rms_epsilon": SIZES["epsilon"],
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
        "tokenizer.ggml.tokens": TOKENS,
        "tokenizer.ggml.token_type": [3, 3, *[1] * (len(TOKENS) - 2)],
        "tokenizer.ggml.merges": MERGES,
        "tokenizer.chat_template": TEMPLATE,
    }
    kept = {key: value for key, value in {**settings, **changes}.items() if value is not None}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.gguf").write_bytes(gguf(kept, tensors))
    return folder


def write_hub(folder: Path, *, tokenizer: dict[str, Any] | None = None, **changes: Any) -> Path:
    safetensors = pytest.importorskip("safetensors.numpy")
    folder.mkdir(parents=True, exist_ok=True)
    tied = changes.get("tie_word_embeddings", True)
    safetensors.save_file(weights(tied=tied), str(folder / "model.safetensors"))
    config = {
        "model_type": "llama",
        "tie_word_embeddings": True,
        "vocab_size": len(TOKENS),
        "hidden_size": WIDTH,
        "intermediate_size": HIDDEN,
        "num_hidden_layers": SIZES["layers"],
        "num_attention_heads": SIZES["heads"],
        "num_key_value_heads": SIZES["kv_heads"],
        "head_dim": SIZES["size"],
        "rope_theta": SIZES["base"],
        "rms_norm_eps": SIZES["epsilon"],
        "max_position_embeddings": CONTEXT,
        **changes,
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": TEMPLATE}))
    found = {
        "model": {
            "type": "BPE",
            "vocab": {token: number for number, token in enumerate(TOKENS)},
            "merges": [pair.split(" ") for pair in MERGES],
        },
        "added_tokens": [{"id": number, "content": TOKENS[number], "special": True} for number in (0, 1)],
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Digits", "individual_digits": True},
                {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True},
            ],
        },
        **(tokenizer or {}),
    }
    (folder / "tokenizer.json").write_text(json.dumps(found))
    return folder


@pytest.mark.parametrize("write", [write_gguf, write_hub])
def test_logits_and_tokens_are_those_of_the_reference(tmp_path: Path, write: Callable[..., Path]) -> None:
    folder = write(tmp_path / "model")
    assert causal.matches(folder)
    found = causal.open_causal(folder)
    assert (found.context, found.system) == (CONTEXT, "Be small.")
    network = CausalLM(found.sizes)
    report = found.load_weights(network)
    assert not report.ignored
    assert len(report.loaded) == len(network.model.weights)
    bpe = found.tokenizer()
    ids = bpe.encode(tf.constant(["low slow 12 é"])).to_list()[0]
    assert [TOKENS[number] for number in ids[:3]] == ["low", "Ġ", "s"]
    tokens = tf.constant([ids])
    logits = network.logits(network.model([tokens, tf.ones_like(tokens)]))[0]
    np.testing.assert_allclose(logits, forward(SIZES, weights(), np.array(ids)), rtol=2e-4, atol=2e-4)


SCALING = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}


@pytest.mark.parametrize(
    ("write", "changes", "bands"),
    [
        (write_gguf, {"tied": False}, None),
        (write_hub, {"tie_word_embeddings": False, "rope_scaling": SCALING}, (8.0, 1.0, 4.0, 16.0)),
    ],
)
def test_an_output_table_and_slowed_positions(
    tmp_path: Path, write: Callable[..., Path], changes: dict[str, Any], bands: tuple[float, ...] | None
) -> None:
    found = causal.open_causal(write(tmp_path / "model", **changes))
    network = CausalLM(found.sizes)
    found.load_weights(network)
    ids = np.arange(2, 26)
    config = SIZES if bands is None else {**SIZES, "bands": bands}
    logits = network.logits(network.model([ids[None], np.ones((1, 24), np.int32)]))[0]
    np.testing.assert_allclose(logits, forward(config, weights(tied=False), ids), rtol=2e-4, atol=2e-4)


def cuts(rule: str) -> dict[str, Any]:
    steps = [
        {"type": "Split", "pattern": {"Regex": rule}, "behavior": "Isolated", "invert": False},
        {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False},
    ]
    return {"pre_tokenizer": {"type": "Sequence", "pretokenizers": steps}}


LATER = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@pytest.mark.parametrize(
    ("rule", "digits"), [(LATER, ["123", "4"]), (LATER.replace("{1,3}", ""), ["1", "2", "3", "4"])]
)
def test_the_rules_of_llama_3_and_qwen_are_known(tmp_path: Path, rule: str, digits: list[str]) -> None:
    found = causal.open_causal(write_hub(tmp_path, tokenizer=cuts(rule), vocab_size=len(TOKENS) + 4))
    bpe = found.tokenizer()
    assert bpe.size == len(TOKENS) + 4
    assert len(bpe.special) == 6
    assert [word.decode() for word in bpe._words(tf.constant(["1234"])).to_list()[0]] == digits


@pytest.mark.parametrize(
    ("write", "changes", "sentence"),
    [
        (write_gguf, {"general.architecture": "gemma"}, 'architecture "gemma"; only "llama"'),
        (write_gguf, {"llama.block_count": None}, "does not say what is needed .*llama.block_count"),
        (write_gguf, {"llama.block_count": 3}, "lack blk.2"),
        (write_gguf, {"llama.feed_forward_length": 30}, "do not fit the model: blk.0.ffn_gate"),
        (write_gguf, {"llama.attention.head_count_kv": 3}, "cannot be built: kv_heads must divide heads"),
        (write_gguf, {"tokenizer.ggml.pre": "llama-bpe"}, 'with the split "llama-bpe"'),
        (write_gguf, {"tokenizer.ggml.merges": ["x y"]}, "the merge 'x y' joins or makes a piece"),
        (write_hub, {"vocab_size": 40}, "has 261 tokens and the network 40"),
        (write_hub, {"rope_scaling": {"type": "yarn"}}, r"scales its rotary positions \(yarn\)"),
        (write_hub, {"tokenizer": cuts(r"\w+")}, "a rule that is not known"),
        (write_hub, {"tokenizer": {"pre_tokenizer": {"type": "Whitespace"}}}, "a rule that is not known"),
        (write_hub, {"model_type": "gpt_neox"}, "KerasHub cannot read .*gpt_neox"),
    ],
)
def test_what_is_not_covered_is_refused(
    tmp_path: Path, write: Callable[..., Path], changes: dict[str, Any], sentence: str
) -> None:
    folder = write(tmp_path / "model", **changes)

    def read() -> None:
        found = causal.open_causal(folder)
        found.tokenizer()
        found.load_weights(CausalLM(found.sizes))

    with pytest.raises(PretrainedError, match=sentence):
        read()


def test_two_files_are_one_too_many(tmp_path: Path) -> None:
    folder = write_gguf(tmp_path)
    (folder / "other.gguf").write_bytes(b"GGUF")
    with pytest.raises(PretrainedError, match="holds 2 GGUF files"):
        causal.open_causal(folder)


@pytest.mark.fetched
def test_the_tokenizer_of_smollm2_is_that_of_the_reference(weights: Callable[[str], Path]) -> None:
    with np.load(FIXTURE) as wanted:
        texts, ids, lengths = wanted["texts"].tolist(), wanted["ids"], wanted["lengths"]
    bpe = causal.open_causal(weights("smollm2")).tokenizer()
    made = tf.function(bpe.encode, autograph=False)(tf.constant(texts))
    assert made.to_list() == [row.tolist() for row in np.split(ids, np.cumsum(lengths)[:-1])]
    assert [text.decode() for text in bpe.decode(made).numpy()] == texts


@pytest.mark.slow
@pytest.mark.fetched
def test_logits_of_smollm2_are_those_of_the_reference(weights: Callable[[str], Path]) -> None:
    with np.load(FIXTURE) as wanted:
        question, columns, logits, best = (wanted[key] for key in ("question", "columns", "logits", "best"))
    found = causal.open_causal(weights("smollm2"))
    network = CausalLM(found.sizes)
    found.load_weights(network)
    tokens = tf.constant(question[None])
    made = network.logits(network.model([tokens, tf.ones_like(tokens)])).numpy()[0]
    np.testing.assert_allclose(made[:, columns], logits, atol=1e-3)
    np.testing.assert_array_equal(made.argmax(-1), best)
