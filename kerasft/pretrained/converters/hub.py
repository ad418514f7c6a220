"""KerasHub preset folders, and Hugging Face folders that only KerasHub can read, as KerasHub backbones.

The numerics are KerasHub's: unlike `kerasft.pretrained.converters.bert`, this way has no parity fixture of
ours.
"""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kerasft.errors import PretrainedError
from kerasft.pretrained._hub_package import keras_hub_package
from kerasft.pretrained.converters.report import LoadReport

KIND = "keras_hub"


def matches(folder: Path) -> bool:
    """Says whether a folder may hold something that KerasHub reads."""
    return (folder / "config.json").is_file()


def architecture(folder: Path) -> dict[str, Any]:
    """Reads what `build` needs to know of a folder.

    Args:
        folder: A KerasHub preset, or a Hugging Face model of a type that KerasHub converts.

    Returns:
        A dict that survives JSON, and rebuilds the model without the folder.

    Raises:
        PretrainedError: KerasHub cannot read the folder.
    """
    import keras

    backbone = read_backbone(folder, load_weights=False)
    serialized = keras.saving.serialize_keras_object(backbone)
    record = {key: serialized[key] for key in ("module", "class_name", "registered_name", "config")}
    record["config"] = {key: value for key, value in record["config"].items() if key not in ("dtype", "name")}
    return {"kind": KIND, "backbone": json.loads(json.dumps(record))}


def build(
    architecture: Mapping[str, Any],
    *,
    dropout: float | None = None,
    name: str = "backbone",
    dtype: Any = None,
) -> Any:
    """Builds the model with random weights.

    Args:
        architecture: What `architecture` returned.
        dropout: Dropout rate instead of the architecture's, where it has one.
        name: Name of the model.
        dtype: Keras dtype policy; the global one by default.

    Returns:
        A KerasHub backbone; its inputs and outputs are those of its class.
    """
    import keras

    keras_hub_package()  # registers the classes
    serialized = copy.deepcopy(architecture["backbone"])
    config = serialized["config"]
    config["name"] = name
    if dtype is not None:
        config["dtype"] = dtype
    if dropout is not None and "dropout" in config:
        config["dropout"] = dropout
    return keras.saving.deserialize_keras_object(serialized)


def load_weights(backbone: Any, folder: Path) -> LoadReport:
    """Copies the weights of a folder into a model that `build` made.

    Args:
        backbone: The model.
        folder: What its architecture was read from.

    Returns:
        What became of each variable.

    Raises:
        PretrainedError: Shapes differ, or KerasHub cannot read the folder.
    """
    if "model_type" in json.loads((folder / "config.json").read_text(encoding="utf-8")):
        warnings.warn(
            f"{folder} is converted by KerasHub, whose outputs may differ from transformers' in the "
            "third decimal (approximate GELU)",
            stacklevel=2,
        )
    source = read_backbone(folder, load_weights=True)
    wrong = [
        f"{ours.path} needs {tuple(ours.shape)}, the file has {tuple(theirs.shape)}"
        for ours, theirs in zip(backbone.weights, source.weights, strict=False)
        if tuple(ours.shape) != tuple(theirs.shape)
    ]
    if wrong or len(backbone.weights) != len(source.weights):
        detail = "; ".join(wrong[:5]) or f"{len(source.weights)} variables for {len(backbone.weights)}"
        raise PretrainedError(f"the weights in {folder} do not fit the model: {detail}")
    for ours, theirs in zip(backbone.weights, source.weights, strict=True):
        ours.assign(theirs)
    return LoadReport(loaded=tuple(variable.path for variable in source.weights))


def tokenizer(folder: Path, **settings: Any) -> Any:
    """Returns the KerasHub tokenizer of a folder; `settings` go to its constructor."""
    keras_hub = keras_hub_package()
    return _call(folder, lambda: keras_hub.tokenizers.Tokenizer.from_preset(str(folder), **settings))


def pixels(folder: Path) -> tuple[Any, Any]:
    """Returns how a preset of pictures scales pixels from 0 to 255: times the first, plus the second.

    Args:
        folder: A KerasHub preset.

    Returns:
        Factor and addend, each a number or one a channel.

    Raises:
        PretrainedError: The folder does not say.
    """
    keras_hub = keras_hub_package()
    if not (folder / "image_converter.json").is_file():
        raise PretrainedError(
            f"{folder} has no image_converter.json, which says how pixels are scaled; save the whole "
            "classifier with its preprocessor (task.save_to_preset), not the backbone alone"
        )
    found = _call(folder, lambda: keras_hub.layers.ImageConverter.from_preset(str(folder)))
    return found.scale if found.scale is not None else 1.0, found.offset if found.offset is not None else 0.0


def vocabulary(folder: Path) -> list[str]:
    """Returns the WordPiece vocabulary, in the order of the token ids."""
    return list(_word_piece(folder).get_vocabulary())


def lowercase(folder: Path) -> bool:
    """Says whether the WordPiece tokenizer lower-cases its input."""
    return bool(_word_piece(folder).lowercase)


def strip_accents(folder: Path) -> bool:
    """Says whether the WordPiece tokenizer strips accents."""
    return bool(_word_piece(folder).strip_accents)


def _word_piece(folder: Path) -> Any:
    keras_hub = keras_hub_package()
    found = tokenizer(folder)
    if not isinstance(found, keras_hub.tokenizers.WordPieceTokenizer):
        raise PretrainedError(
            f"the tokenizer in {folder} is a {type(found).__name__}, not a WordPiece one; use an "
            "encoder of the BERT family (BERT, DistilBERT, ELECTRA)"
        )
    return found


def read_backbone(folder: Path, *, load_weights: bool) -> Any:
    """Returns the KerasHub backbone of a folder.

    Args:
        folder: A KerasHub preset, or a Hugging Face model of a type that KerasHub converts.
        load_weights: Whether its weights are loaded too.

    Raises:
        PretrainedError: KerasHub cannot read the folder.
    """
    keras_hub = keras_hub_package()
    return _call(
        folder, lambda: keras_hub.models.Backbone.from_preset(str(folder), load_weights=load_weights)
    )


def _call(folder: Path, load: Any) -> Any:
    try:
        return load()
    except Exception as error:  # KerasHub raises whatever its readers raise
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise PretrainedError(f"KerasHub cannot read {folder} ({first})") from error
