"""Causal language models of KerasHub as `CausalLM`: preset folders, and Hugging Face folders that it reads.

No code of a preset is run: its `config.json` may name a backbone of KerasHub in `FAMILIES` and dtype policies
of Keras, nothing else, and of its tokenizer only the vocabulary is read.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasft.errors import PretrainedError
from kerasft.pretrained.converters import hub
from kerasft.pretrained.converters.causal_folder import CausalFolder, needed, read_json
from kerasft.pretrained.converters.hub_families import FAMILIES, Config, Family
from kerasft.pretrained.converters.hub_tokens import read_tokenizer
from kerasft.pretrained.converters.places import Place, fill
from kerasft.pretrained.converters.report import LoadReport

if TYPE_CHECKING:
    from kerasft.generation import ByteBpe, CausalLM, Experts, SentencePieces

_POLICIES = ("DTypePolicy", "DTypePolicyMap")
_HEADS_FIRST = ("/query/kernel", "/key/kernel", "/value/kernel")
_FUSED = "/query_key_value/"
_EXPERT = "/expert_feedforward_"
_EXPERT_GATE = f"{_EXPERT}gate_dense"
_UNNAMED = re.compile(r"/(mixtral|qwen3?)_(sparse_moe_block|moe_mlp)(_\d+)?/")  # numbered by the process
_COMPUTED = "/inv_freq"  # kept as a weight, though it follows from the config


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
        return fill(list(_places(network, FAMILIES[self.kind])), dict(_values(backbone)), source=self.folder)


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


def _values(backbone: Any) -> Iterator[tuple[str, np.ndarray]]:
    """Yields what a backbone has learned, by names that begin with a layer of the backbone."""
    for layer in backbone.layers:
        gated = any(str(weight.path).endswith(f"{_EXPERT}intermediate_dense") for weight in layer.weights)
        for weight in layer.weights:
            # A layer that was built before its parent (SmolLM3's o_proj) does not name the parent.
            inside = str(weight.path).removeprefix(f"{layer.name}/")
            path, array = _UNNAMED.sub("/mlp/", f"{layer.name}/{inside}"), np.asarray(weight)
            if path.endswith(_COMPUTED):
                continue
            if _FUSED in path:
                parts = np.split(array, 3, axis=-1)  # of each head
                names = (path.replace(_FUSED, f"/{name}/") for name in ("query", "key", "value"))
                yield from zip(names, parts, strict=True)
            elif path.endswith(_EXPERT_GATE) and not gated:
                gate, up = np.split(array, 2, axis=-1)
                yield path, gate
                yield path.replace("gate_dense", "intermediate_dense"), up
            else:
                yield path, array


def _places(network: CausalLM, family: Family) -> Iterator[Place]:
    sizes = network.sizes
    table, around = network.embedding.table, family.embeddings
    yield Place(tensor=f"{around}token_embedding/embeddings", variable=table)
    if sizes.positions:
        yield Place(tensor=f"{around}position_embedding/embeddings", variable=network.places.table)
    if sizes.embedding_norm:
        yield from _of_layer(network.embedding_norm, "embedding_layernorm", family)
    if not sizes.tied:
        table = network.output_table.table
        yield Place(tensor="token_embedding/reverse_embeddings", variable=table, layout=np.transpose)
    yield from _of_layer(network.norm, family.norm, family)
    for index, block in enumerate(network.blocks):
        for ours in (*block.norm_names, *block.dense_names):
            yield from _of_layer(getattr(block, ours), f"{family.block}{index}/{family.names[ours]}", family)
        if block.experts is not None:
            yield from _of_experts(block.experts, f"{family.block}{index}/mlp")


def _of_experts(layer: Experts, name: str) -> Iterator[Place]:
    yield Place(tensor=f"{name}/sparse_feedforward_gate_dense/kernel", variable=layer.router)
    if layer.shared:
        yield Place(tensor=f"{name}/shared_expert_gate_dense/kernel", variable=layer.shared_router)
    for ours, theirs in (("gate", "gate"), ("up", "intermediate"), ("down", "output")):
        tensor = f"{name}/experts{_EXPERT}{theirs}_dense"
        yield Place(tensor=tensor, variable=getattr(layer, ours).kernel)


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
