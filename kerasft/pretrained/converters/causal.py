"""Causal language models of the Llama family as `CausalLM`: GGUF files and Hugging Face folders."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasft.errors import PretrainedError
from kerasft.pretrained.converters import hub, hub_causal
from kerasft.pretrained.converters.causal_folder import CausalFolder, byte_pairs, needed, read_json
from kerasft.pretrained.converters.places import Place, fill
from kerasft.pretrained.converters.report import LoadReport
from kerasft.pretrained.converters.transformers_tokens import transformers_tokens
from kerasft.pretrained.readers.gguf import Gguf, read_gguf
from kerasft.pretrained.safetensors import open_tensors

if TYPE_CHECKING:
    from kerasft.generation import ByteBpe, CausalLM

_CONTROL = 3  # llama.cpp's type of a token that no text is made of
_SPLITS = {"smollm": "smollm", "gpt-2": "gpt2"}
_SYSTEM = re.compile(r"<\|im_start\|>system\n(.*?)<\|im_end\|>", re.DOTALL)

# Our variables of a block: names in GGUF and in Hugging Face folders.
_NORMS = {
    "attention_norm": ("attn_norm", "input_layernorm"),
    "norm": ("ffn_norm", "post_attention_layernorm"),
}
_KERNELS = {
    "query": ("attn_q", "self_attn.q_proj"),
    "key": ("attn_k", "self_attn.k_proj"),
    "value": ("attn_v", "self_attn.v_proj"),
    "output_dense": ("attn_output", "self_attn.o_proj"),
    "gate": ("ffn_gate", "mlp.gate_proj"),
    "up": ("ffn_up", "mlp.up_proj"),
    "down": ("ffn_down", "mlp.down_proj"),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class LlamaFolder(CausalFolder):
    """A GGUF file, or a Hugging Face Llama."""

    def tokenizer(self) -> ByteBpe:
        found = _gguf(self.folder)
        if found is not None:
            return byte_pairs(self.folder, _gguf_tokens(self.folder, found))
        record = transformers_tokens(self.folder, size=self.sizes.vocabulary)
        return byte_pairs(self.folder, record)

    def load_weights(self, network: CausalLM) -> LoadReport:
        found = _gguf(self.folder)
        if found is not None:
            return fill(_places(network, gguf=True), found.tensors, source=self.folder)
        with open_tensors(self.folder) as tensors:
            return fill(_places(network, gguf=False), tensors, source=self.folder)


def matches(folder: Path) -> bool:
    """Says whether a folder holds a GGUF file or a Hugging Face Llama."""
    if any(folder.glob("*.gguf")):
        return True
    path = folder / "config.json"
    return path.is_file() and read_json(path).get("model_type") == "llama"


def open_causal(folder: Path) -> CausalFolder:
    """Reads what a folder says of its model.

    Args:
        folder: One with a single .gguf file, a Hugging Face Llama with `config.json`, `tokenizer.json` and
            safetensors, or a KerasHub preset (see `kerasft.pretrained.converters.hub_causal`).

    Raises:
        PretrainedError: It holds no such model, or a variant that is not covered.

    Example:
        >>> found = open_causal(kerasft.pretrained.resolve("smollm2"))     # doctest: +SKIP
        >>> found.sizes.layers                                            # doctest: +SKIP
        30
    """
    file = _gguf(folder)
    if file is not None:
        return _from_gguf(folder, file)
    if matches(folder):
        return _from_hub(folder, read_json(folder / "config.json"))
    if hub.matches(folder):
        return hub_causal.open_preset(folder)
    raise PretrainedError(
        f"{folder} holds no causal language model that can be converted: it needs one .gguf file, or the "
        'config.json of a KerasHub preset or of the model_type "llama" with safetensors'
    )


def _gguf(folder: Path) -> Gguf | None:
    files = sorted(folder.glob("*.gguf"))
    if len(files) > 1:
        raise PretrainedError(f"{folder} holds {len(files)} GGUF files; leave the one that is meant")
    return read_gguf(files[0]) if files else None


def _from_gguf(folder: Path, file: Gguf) -> CausalFolder:
    from kerasft.generation import CausalSizes

    settings = file.settings
    kind = settings.get("general.architecture")
    if kind != "llama":
        raise PretrainedError(
            f'{folder} holds a model of the architecture "{kind}"; only "llama" is converted'
        )
    if "rope_freqs.weight" in file.tensors:
        raise PretrainedError(f"{folder} scales its rotary positions (rope_freqs), which is not covered")
    with needed(folder):
        width, heads = settings["llama.embedding_length"], settings["llama.attention.head_count"]
        sizes = CausalSizes(
            vocabulary=file.tensors["token_embd.weight"].shape[0],
            width=width,
            layers=settings["llama.block_count"],
            heads=heads,
            kv_heads=settings.get("llama.attention.head_count_kv", heads),
            size=settings.get("llama.rope.dimension_count", width // heads),
            hidden=settings["llama.feed_forward_length"],
            base=settings.get("llama.rope.freq_base", 10000.0),
            epsilon=settings["llama.attention.layer_norm_rms_epsilon"],
            tied="output.weight" not in file.tensors,
        )
        context = settings["llama.context_length"]
    return LlamaFolder(
        folder=folder,
        sizes=sizes,
        context=context,
        system=_system(settings.get("tokenizer.chat_template", "")),
    )


def _from_hub(folder: Path, config: Mapping[str, Any]) -> CausalFolder:
    from kerasft.generation import CausalSizes

    with needed(folder):
        heads, width = config["num_attention_heads"], config["hidden_size"]
        sizes = CausalSizes(
            vocabulary=config["vocab_size"],
            width=width,
            layers=config["num_hidden_layers"],
            heads=heads,
            kv_heads=config.get("num_key_value_heads", heads),
            size=config.get("head_dim") or width // heads,
            hidden=config["intermediate_size"],
            base=float(config.get("rope_theta", 10000.0)),
            epsilon=config["rms_norm_eps"],
            bias=bool(config.get("attention_bias", False)),
            tied=bool(config.get("tie_word_embeddings", False)),
            **_scaling(folder, config.get("rope_scaling") or {}),
        )
        context = config["max_position_embeddings"]
    path = folder / "tokenizer_config.json"
    template = read_json(path).get("chat_template", "") if path.is_file() else ""
    return LlamaFolder(folder=folder, sizes=sizes, context=context, system=_system(template))


def _scaling(folder: Path, scaling: Mapping[str, Any]) -> dict[str, Any]:
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    if kind == "default":
        return {}
    if kind == "linear":
        return {"stretch": float(scaling["factor"])}
    if kind == "llama3":
        names = ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")
        return {"bands": tuple(float(scaling[name]) for name in names)}
    raise PretrainedError(
        f"{folder} scales its rotary positions ({kind}), which is not covered; linear and llama3 are"
    )


def _system(template: Any) -> str:
    found = _SYSTEM.search(template) if isinstance(template, str) else None
    return found[1] if found is not None and "{" not in found[1] else ""


def _gguf_tokens(folder: Path, file: Gguf) -> dict[str, Any]:
    settings = file.settings
    kind, split = settings.get("tokenizer.ggml.model"), settings.get("tokenizer.ggml.pre")
    if kind != "gpt2" or split not in _SPLITS:
        raise PretrainedError(
            f'the tokenizer of {folder} is "{kind}" with the split "{split}"; "gpt2" with '
            f"{' or '.join(_SPLITS)} is known"
        )
    with needed(folder):
        types = settings["tokenizer.ggml.token_type"]
        return {
            "tokens": settings["tokenizer.ggml.tokens"],
            "merges": settings["tokenizer.ggml.merges"],
            "split": _SPLITS[split],
            "special": [number for number, kind in enumerate(types) if kind == _CONTROL],
        }


def _places(network: CausalLM, *, gguf: bool) -> list[Place]:
    sizes = network.sizes
    side = 0 if gguf else 1

    def kernel(array: np.ndarray) -> np.ndarray:
        return array.T

    def turned(heads: int) -> Any:
        # llama.cpp writes the pairs that a rotation turns beside each other, we half a head apart.
        def undo(array: np.ndarray) -> np.ndarray:
            apart = array.reshape(heads, sizes.size // 2, 2, *array.shape[1:])
            return apart.swapaxes(1, 2).reshape(array.shape).T

        return undo if gguf else kernel

    first = "token_embd" if gguf else "model.embed_tokens"
    last = "output_norm" if gguf else "model.norm"
    places = [
        Place(tensor=f"{first}.weight", variable=network.embedding.table),
        Place(tensor=f"{last}.weight", variable=network.norm.scale),
    ]
    if not sizes.tied:
        head = "output.weight" if gguf else "lm_head.weight"
        places.append(Place(tensor=head, variable=network.output_table.table))
    heads = {"query": sizes.heads, "key": sizes.kv_heads}
    for index, block in enumerate(network.blocks):
        before = f"blk.{index}." if gguf else f"model.layers.{index}."
        for ours, theirs in _NORMS.items():
            norm = getattr(block, ours)
            places.append(Place(tensor=f"{before}{theirs[side]}.weight", variable=norm.scale))
        for ours, theirs in _KERNELS.items():
            dense, name = getattr(block, ours), f"{before}{theirs[side]}"
            layout = turned(heads[ours]) if ours in heads else kernel
            places.append(Place(tensor=f"{name}.weight", variable=dense.kernel, layout=layout))
            if dense.use_bias:
                places.append(
                    Place(
                        tensor=f"{name}.bias", variable=dense.bias, layout=layout if ours in heads else None
                    )
                )
    return places
