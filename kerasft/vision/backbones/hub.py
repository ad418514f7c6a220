"""Image backbones of KerasHub: presets by name, hf:// and kaggle:// addresses, and local folders."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

import keras

from kerasft.errors import ConfigError
from kerasft.pretrained import resolve
from kerasft.pretrained.converters import hub as converter
from kerasft.vision.backbones.base import Backbone
from kerasft.vision.backbones.stages import stages


def architecture(name: str, *, suggest: Iterable[str]) -> dict[str, Any]:
    """Reads what `build` needs to know of a preset, with how its pixels are scaled.

    Args:
        name: What `kerasft.pretrained.resolve` knows.
        suggest: Names to suggest for one that is not known.

    Raises:
        PretrainedError: There is no such preset, or it cannot be read.
    """
    folder = resolve(name, suggest=suggest)
    scale, offset = converter.pixels(folder)
    return {**converter.architecture(folder), "scale": scale, "offset": offset}


def build(architecture: Mapping[str, Any], name: str, *, side: int) -> Backbone:
    """Builds the backbone with random weights.

    Args:
        architecture: What `architecture` returned.
        name: What it was read from.
        side: Of the pictures.

    Raises:
        ConfigError: It is no backbone of pictures.
    """
    described = copy.deepcopy(dict(architecture))
    config = described["backbone"]["config"]
    if "image_shape" not in config:
        kind = described["backbone"]["class_name"]
        raise ConfigError(f"backbone: {name} is no image backbone: a {kind} has no image_shape.")
    config["image_shape"] = [side, side, 3]
    inner = converter.build(described)
    image = keras.Input((side, side, 3), name="image")
    scaling = keras.layers.Rescaling(described["scale"], offset=described["offset"], name="rescaling")
    features = inner(scaling(image))
    if isinstance(features, dict) or len(features.shape) not in (3, 4):
        raise ConfigError(
            f"backbone: {name} gives no single map of features; take one that classifiers are built on."
        )
    return Backbone(
        model=keras.Model(image, features, name="backbone"),
        groups=stages(inner),
        load=lambda: converter.load_weights(inner, resolve(name)),
    )
