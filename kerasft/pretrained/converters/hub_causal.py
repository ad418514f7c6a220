"""Causal language models of KerasHub as `CausalLM`: preset folders, and Hugging Face folders that it reads.

No code of a preset is run: its `config.json` may name a backbone of KerasHub from the list below and dtype
policies of Keras, nothing else, and of its tokenizer only the vocabulary is read.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasft.errors import PretrainedError
from kerasft.pretrained.converters import hub
from kerasft.pretrained.converters.causal_folder import CausalFolder, needed, read_json
from kerasft.pretrained.converters.hub_tokens import read_tokenizer
from kerasft.pretrained.converters.places import Place, fill
from kerasft.pretrained.converters.report import LoadReport

if TYPE_CHECKING:
    from kerasft.generation import ByteBpe, CausalLM, SentencePieces

_POLICIES = ("DTypePolicy", "DTypePolicyMap")
_HEADS_FIRST = ("/query/kernel", "/key/kernel", "/value/kernel")
Config = Mapping[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Family:
    """What backbones of a class have in common.

    Attributes:
        fields: From the config of a backbone to the fields of `CausalSizes`.
        block: Name of a block, before its number.
        names: Our layers of a block, and theirs.
        norm: Name of the last normalisation.
        gemma: Whether scales are kept as what is added to one, and kernels of queries, keys and values with
            heads first.
        context: From the config to the most tokens that it can read; None: any number.
        refused: What a config must not say, and why.
    """

    fields: Callable[[Config], dict[str, Any]]
    block: str
    names: Mapping[str, str]
    norm: str
    gemma: bool = False
    context: Callable[[Config], int | None] = lambda config: None
    refused: Callable[[Config], str | None] = lambda config: None


def _shared(config: Config) -> dict[str, Any]:
    heads = config["num_query_heads"]
    return {
        "vocabulary": config["vocabulary_size"],
        "width": config["hidden_dim"],
        "layers": config["num_layers"],
        "heads": heads,
        "kv_heads": config["num_key_value_heads"],
        "size": config.get("head_dim") or config["hidden_dim"] // heads,
        "hidden": config["intermediate_dim"],
        "epsilon": config["layer_norm_epsilon"],
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


def _gpt2(config: Config) -> dict[str, Any]:
    heads = config["num_heads"]
    return {
        "vocabulary": config["vocabulary_size"],
        "width": config["hidden_dim"],
        "layers": config["num_layers"],
        "heads": heads,
        "kv_heads": heads,
        "size": config["hidden_dim"] // heads,
        "hidden": config["intermediate_dim"],
        "positions": config["max_sequence_length"],
        "norm": "layer",
        "bias": True,
        "dense_bias": True,
        "gated": False,
        "activation": "gelu",
    }


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


_LLAMA_NAMES = {
    "attention_norm": "self_attention_layernorm",
    "norm": "feedforward_layernorm",
    "query": "self_attention/query",
    "key": "self_attention/key",
    "value": "self_attention/value",
    "output_dense": "self_attention/attention_output",
    "gate": "feedforward_gate_dense",
    "up": "feedforward_intermediate_dense",
    "down": "feedforward_output_dense",
}
_GPT2_NAMES = {
    **{ours: theirs for ours, theirs in _LLAMA_NAMES.items() if ours != "gate"},
    "attention_norm": "self_attention_layer_norm",
    "norm": "feedforward_layer_norm",
}
_QWEN3_NAMES = {
    **_LLAMA_NAMES,
    "query_norm": "self_attention/query_dense_layernorm",
    "key_norm": "self_attention/key_dense_layernorm",
}
_GEMMA_NAMES = {
    "attention_norm": "pre_attention_norm",
    "attention_post_norm": "post_attention_norm",
    "norm": "pre_ffw_norm",
    "post_norm": "post_ffw_norm",
    "query": "attention/query",
    "key": "attention/key",
    "value": "attention/value",
    "output_dense": "attention/attention_output",
    "gate": "ffw_gating",
    "up": "ffw_gating_2",
    "down": "ffw_linear",
}
_GEMMA3_NAMES = {**_GEMMA_NAMES, "query_norm": "attention/query_norm", "key_norm": "attention/key_norm"}
_LLAMA = Family(
    fields=_llama,
    block="transformer_layer_",
    names=_LLAMA_NAMES,
    norm="sequence_output_layernorm",
    refused=_stretched_llama,
)
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
    "GPT2Backbone": Family(
        fields=_gpt2,
        block="transformer_layer_",
        names=_GPT2_NAMES,
        norm="layer_norm",
        context=lambda config: config["max_sequence_length"],
    ),
    "LlamaBackbone": _LLAMA,
    "Llama3Backbone": _LLAMA,
    "MistralBackbone": dataclasses.replace(
        _LLAMA,
        fields=_stretched,
        # Within its window each token sees all before it.
        context=lambda config: config["sliding_window"],
        refused=lambda config: None,
    ),
    "QwenBackbone": dataclasses.replace(
        _LLAMA,
        fields=lambda config: {**_stretched(config), "bias": True},
        context=lambda config: (
            config["sliding_window_size"] if config["use_sliding_window_attention"] else None
        ),
        refused=lambda config: None,
    ),
    "Qwen3Backbone": dataclasses.replace(
        _LLAMA,
        fields=lambda config: {**_stretched(config), "head_norm": True},
        names=_QWEN3_NAMES,
        context=lambda config: config["sliding_window_size"],
        refused=lambda config: None,
    ),
    "GemmaBackbone": _GEMMA,
    "Gemma3Backbone": dataclasses.replace(
        _GEMMA, fields=_gemma3, names=_GEMMA3_NAMES, refused=_refused_gemma3
    ),
}
"""The backbones that are converted, by class."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PresetFolder(CausalFolder):
    """A KerasHub preset, or a Hugging Face folder that KerasHub reads.

    Attributes:
        kind: Class of the backbone.
    """

    kind: str

    def tokenizer(self) -> ByteBpe | SentencePieces:
        return read_tokenizer(self.folder, size=self.sizes.vocabulary)

    def load_weights(self, network: CausalLM) -> LoadReport:
        backbone = hub.read_backbone(self.folder, load_weights=True)
        values = {_path(weight): np.asarray(weight) for weight in backbone.weights}
        return fill(list(_places(network, FAMILIES[self.kind])), values, source=self.folder)


def open_preset(folder: Path) -> PresetFolder:
    """Reads what a folder says of its model.

    Args:
        folder: One with a `config.json` that KerasHub reads.

    Raises:
        PretrainedError: The backbone is none that is converted, or its config holds other objects.
    """
    from kerasft.generation import CausalSizes

    kind, config = _described(folder)
    family = FAMILIES.get(kind)
    if family is None:
        raise PretrainedError(
            f"{folder} holds a {kind}, which is not converted; of KerasHub's causal language models "
            f"{', '.join(FAMILIES)} are"
        )
    with needed(folder):
        refused = family.refused(config)
        if refused is not None:
            raise PretrainedError(f"{folder} says {refused}; such a {kind} is not converted")
        sizes = CausalSizes(**family.fields(config))
        context = _least(family.context(config), config.get("max_position_embeddings"))
    return PresetFolder(folder=folder, sizes=sizes, context=context, system="", kind=kind)


def _described(folder: Path) -> tuple[str, Config]:
    """Returns the class of the backbone and its config."""
    record = read_json(folder / "config.json")
    if "class_name" not in record:
        backbone = hub.read_backbone(folder, load_weights=False)
        tied = getattr(getattr(backbone, "token_embedding", None), "tie_weights", True)
        added = {
            "tie_word_embeddings": tied,
            "max_position_embeddings": record.get("max_position_embeddings"),
        }
        return type(backbone).__name__, {**backbone.get_config(), **added}
    with needed(folder):
        kind, config = record["class_name"], record["config"]
        if record.get("registered_name") != f"keras_hub>{kind}" or not _is_of_hub(record):
            raise PretrainedError(
                f"{folder} holds a {kind} of {record.get('module')}: objects that KerasHub itself does not "
                "have are not loaded, since that would run code of the preset"
            )
        for inner in _objects(config):
            if _is_of_hub(inner):
                raise PretrainedError(
                    f"{folder} holds a {kind} with a {inner['class_name']}; only networks of text are "
                    "converted"
                )
            if inner.get("module") != "keras" or inner["class_name"] not in _POLICIES:
                raise PretrainedError(
                    f"the config of {folder} holds a {inner['class_name']} of {inner.get('module')}: only "
                    "dtype policies are loaded, since others would run code of the preset"
                )
    return kind, config


def _least(*bounds: int | None) -> int | None:
    return min((bound for bound in bounds if bound is not None), default=None)


def _is_of_hub(record: Config) -> bool:
    return str(record.get("module")).split(".")[0] in ("keras_hub", "keras_nlp")


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """Yields the serialized objects in a config."""
    if isinstance(value, dict):
        if "class_name" in value:
            yield value
        for inner in value.values():
            yield from _objects(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _objects(inner)


def _path(weight: Any) -> str:
    return str(weight.path)


def _places(network: CausalLM, family: Family) -> Iterator[Place]:
    sizes = network.sizes
    yield Place(tensor="token_embedding/embeddings", variable=network.embedding.table)
    if sizes.positions:
        yield Place(tensor="position_embedding/embeddings", variable=network.places.table)
    if not sizes.tied:
        table = network.output_table.table
        yield Place(tensor="token_embedding/reverse_embeddings", variable=table, layout=np.transpose)
    yield from _of_layer(network.norm, family.norm, family)
    for index, block in enumerate(network.blocks):
        for ours in (*block.norm_names, *block.dense_names):
            yield from _of_layer(getattr(block, ours), f"{family.block}{index}/{family.names[ours]}", family)


def _of_layer(layer: Any, name: str, family: Family) -> Iterator[Place]:
    for variable in layer.weights:
        yield Place(
            tensor=f"{name}/{variable.name}",
            variable=variable,
            layout=_layout(tuple(variable.shape), f"{name}/{variable.name}", gemma=family.gemma),
        )


def _layout(shape: tuple[int, ...], path: str, *, gemma: bool) -> Callable[[np.ndarray], np.ndarray]:
    """Returns what makes one axis of heads and their vectors, of an array that KerasHub keeps as two."""

    def change(array: np.ndarray) -> np.ndarray:
        if gemma and path.endswith("/scale"):
            return array + 1.0
        if gemma and path.endswith(_HEADS_FIRST):
            array = array.swapaxes(0, 1)
        return array.reshape(shape) if array.size == np.prod(shape) else array

    return change
