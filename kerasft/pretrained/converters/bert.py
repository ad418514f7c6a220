"""Hugging Face BERT folders (config.json, model.safetensors, vocab.txt) as exact KerasHub backbones."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasft.errors import PretrainedError
from kerasft.pretrained._hub_package import keras_hub_package
from kerasft.pretrained.converters.places import some
from kerasft.pretrained.converters.report import LoadReport
from kerasft.pretrained.safetensors import open_tensors

if TYPE_CHECKING:
    from kerasft.pretrained.converters.bert_backbone import Bert

KIND = "bert"

_CONFIG_KEYS = {
    "vocabulary_size": "vocab_size",
    "num_layers": "num_hidden_layers",
    "num_heads": "num_attention_heads",
    "hidden_dim": "hidden_size",
    "intermediate_dim": "intermediate_size",
}

# Tensor name without the prefix of the task model -> path of the variable.
_EMBEDDINGS = {
    "embeddings.word_embeddings.weight": "token_embedding/embeddings",
    "embeddings.position_embeddings.weight": "position_embedding/embeddings",
    "embeddings.token_type_embeddings.weight": "segment_embedding/embeddings",
    "embeddings.LayerNorm.weight": "embeddings_layer_norm/gamma",
    "embeddings.LayerNorm.bias": "embeddings_layer_norm/beta",
    "pooler.dense.weight": "pooled_dense/kernel",
    "pooler.dense.bias": "pooled_dense/bias",
}
_LAYER = {
    "attention.self.query": "self_attention_layer/query",
    "attention.self.key": "self_attention_layer/key",
    "attention.self.value": "self_attention_layer/value",
    "attention.output.dense": "self_attention_layer/attention_output",
    "attention.output.LayerNorm": "self_attention_layer_norm",
    "intermediate.dense": "feedforward_intermediate_dense",
    "output.dense": "feedforward_output_dense",
    "output.LayerNorm": "feedforward_layer_norm",
}
_ENCODER = re.compile(r"encoder\.layer\.(\d+)\.(.+)\.(weight|bias)")


def matches(folder: Path) -> bool:
    """Says whether a folder holds a Hugging Face BERT."""
    path = folder / "config.json"
    return path.is_file() and _read_json(path).get("model_type") == "bert"


def architecture(folder: Path) -> dict[str, Any]:
    """Reads what `build` needs to know of a Hugging Face BERT folder.

    Args:
        folder: Holds ``config.json``.

    Returns:
        A dict that survives JSON, and rebuilds the model without the folder.

    Raises:
        PretrainedError: The folder holds another model, or a variant that is not covered.
    """
    keras_hub_package()
    from kerasft.pretrained.converters.bert_backbone import ACTIVATIONS

    path = folder / "config.json"
    config = _read_json(path)
    if config.get("model_type") != "bert":
        raise PretrainedError(f'{path} describes a model of type "{config.get("model_type")}", not "bert"')
    if config.get("is_decoder") or config.get("add_cross_attention"):
        raise PretrainedError(f"{path} describes a BERT decoder; only encoders can be converted")
    positions = config.get("position_embedding_type", "absolute")
    if positions != "absolute":
        raise PretrainedError(
            f'{path} asks for position embeddings "{positions}"; only "absolute" can be converted'
        )
    activation = config.get("hidden_act", "gelu")
    if activation not in ACTIVATIONS:
        known = ", ".join(ACTIVATIONS)
        raise PretrainedError(f'{path} asks for the activation "{activation}"; known are: {known}')
    missing = [key for key in _CONFIG_KEYS.values() if key not in config]
    if missing:
        raise PretrainedError(f"{path} lacks {', '.join(missing)}")
    return {
        "kind": KIND,
        **{ours: int(config[theirs]) for ours, theirs in _CONFIG_KEYS.items()},
        "max_sequence_length": int(config.get("max_position_embeddings", 512)),
        "num_segments": int(config.get("type_vocab_size", 2)),
        "dropout": float(config.get("hidden_dropout_prob", 0.1)),
        "hidden_act": activation,
        "layer_norm_epsilon": float(config.get("layer_norm_eps", 1e-12)),
    }


def build(
    architecture: Mapping[str, Any],
    *,
    dropout: float | None = None,
    name: str = "backbone",
    dtype: Any = None,
) -> Bert:
    """Builds the model with random weights.

    Args:
        architecture: What `architecture` returned.
        dropout: Dropout rate instead of the architecture's.
        name: Name of the model.
        dtype: Keras dtype policy; the global one by default.

    Returns:
        A KerasHub ``BertBackbone`` with inputs ``token_ids``, ``segment_ids`` and ``padding_mask`` (int32
        ``[batch, length]``) and outputs ``sequence_output`` (``[batch, length, hidden_dim]``) and
        ``pooled_output``.
    """
    keras_hub_package()
    from kerasft.pretrained.converters.bert_backbone import Bert

    settings = {key: value for key, value in architecture.items() if key != "kind"}
    if dropout is not None:
        settings["dropout"] = dropout
    return Bert(**settings, name=name, dtype=dtype)


def load_weights(backbone: Any, folder: Path) -> LoadReport:
    """Copies the weights of a Hugging Face BERT folder into a model that `build` made.

    Args:
        backbone: The model.
        folder: Holds ``model.safetensors``, or its shards and their index.

    Returns:
        What became of each tensor.

    Raises:
        PretrainedError: Tensors are missing or have other shapes (each is named), or the file cannot be
            read. The model is then unchanged.
    """
    variables = {path: variable for layer in backbone.layers for path, variable in _variables(layer)}
    with open_tensors(folder) as tensors:
        places = {name: _place(name) for name in tensors}
        used = {name: place for name, place in places.items() if place in variables}
        absent = set(variables) - set(used.values())
        without_pooler = {"pooled_dense/kernel", "pooled_dense/bias"}
        if absent - without_pooler:
            raise PretrainedError(f"the weights in {folder} lack {some(sorted(absent - without_pooler))}")
        shapes = {name: _keras_layout(tensors[name], place).shape for name, place in used.items()}
        wrong = [
            f"{name} has shape {shapes[name]}, {place} needs {tuple(variables[place].shape)}"
            for name, place in used.items()
            if not _fits(shapes[name], tuple(variables[place].shape), place)
        ]
        if wrong:
            raise PretrainedError(f"the weights in {folder} do not fit the model: {some(wrong)}")
        for name, place in used.items():
            variable = variables[place]
            variable.assign(_keras_layout(tensors[name], place).reshape(variable.shape))
    return LoadReport(
        loaded=tuple(sorted(used)),
        ignored=tuple(sorted(set(places) - set(used))),
        initialized=tuple(sorted(absent)),
    )


def vocabulary(folder: Path) -> list[str]:
    """Returns the WordPiece vocabulary, in the order of the token ids.

    Raises:
        PretrainedError: The folder has none, or one of another kind, or one that does not fit its model.
    """
    pieces = _pieces(folder)
    config = _read_json(folder / "config.json") if (folder / "config.json").is_file() else {}
    rows = config.get("vocab_size", len(pieces))
    if len(pieces) > rows:
        raise PretrainedError(
            f"the vocabulary in {folder} has {len(pieces)} pieces, its model only {rows} (vocab_size in "
            "config.json); give the folder the vocabulary that the model was trained with"
        )
    return pieces


def _pieces(folder: Path) -> list[str]:
    path = folder / "tokenizer.json"
    model = _read_json(path).get("model", {}) if path.is_file() else {}
    kind = model.get("type", "WordPiece")
    if kind != "WordPiece":
        raise PretrainedError(
            f"{path} describes a tokenizer of type {kind}; of Hugging Face's BERT models only those with "
            "WordPiece can be converted"
        )
    listed = folder / "vocab.txt"
    if listed.is_file():
        return listed.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    ids = model.get("vocab", {})
    if not ids:
        raise PretrainedError(f"{folder} holds neither vocab.txt nor a tokenizer.json with a vocabulary")
    if sorted(ids.values()) != list(range(len(ids))):
        raise PretrainedError(f"{path} does not number the pieces of its vocabulary from 0 without gaps")
    return sorted(ids, key=ids.__getitem__)


def lowercase(folder: Path) -> bool:
    """Says whether the tokenizer lower-cases (as in transformers, it does when the folder is silent)."""
    return bool(_tokenizer_setting(folder, "do_lower_case", "lowercase", default=True))


def strip_accents(folder: Path) -> bool:
    """Says whether the tokenizer strips accents (when the folder does not say: if it lower-cases)."""
    setting = _tokenizer_setting(folder, "strip_accents", "strip_accents", default=None)
    return lowercase(folder) if setting is None else bool(setting)


def _tokenizer_setting(folder: Path, key: str, normalizer_key: str, *, default: bool | None) -> Any:
    path = folder / "tokenizer_config.json"
    config = _read_json(path) if path.is_file() else {}
    if key in config:
        return config[key]
    path = folder / "tokenizer.json"
    normalizer = (_read_json(path).get("normalizer") or {}) if path.is_file() else {}
    return normalizer.get(normalizer_key, default)


def _place(name: str) -> str | None:
    """Returns the path of the variable for a tensor, or None when the model has no place for it."""
    name = name.removeprefix("bert.")
    name = re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", name)  # as converted from TensorFlow checkpoints
    name = re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", name)
    if name in _EMBEDDINGS:
        return _EMBEDDINGS[name]
    match = _ENCODER.fullmatch(name)
    if match is None or match[2] not in _LAYER:
        return None
    index, part, kind = match.groups()
    norm = part.endswith("LayerNorm")
    variable = {"weight": "gamma" if norm else "kernel", "bias": "beta" if norm else "bias"}[kind]
    return f"transformer_layer_{index}/{_LAYER[part]}/{variable}"


def _variables(layer: Any) -> list[tuple[str, Any]]:
    """Returns the weights of a layer with their paths, from the layer's name on."""
    return [(variable.path[variable.path.index(layer.name) :], variable) for variable in layer.weights]


def _keras_layout(tensor: Any, place: str) -> Any:
    """PyTorch keeps a dense kernel as [out, in], Keras as [in, out]."""
    return np.transpose(tensor) if place.endswith("/kernel") else tensor


def _fits(found: tuple[int, ...], needed: tuple[int, ...], place: str) -> bool:
    if "/self_attention_layer/" not in place:
        return found == needed
    # Keras splits the attention heads into an axis of their own.
    joined = (needed[0], needed[1] * needed[2]) if len(needed) == 3 else (int(np.prod(needed)),)
    if place.endswith("/attention_output/kernel"):
        joined = (needed[0] * needed[1], needed[2])
    return found == joined


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise PretrainedError(f"there is no {path}; give a Hugging Face model folder") from error
    except ValueError as error:
        raise PretrainedError(f"{path} is not valid JSON ({error})") from error
    if not isinstance(value, dict):
        raise PretrainedError(f"{path} is not a JSON object")
    return value
