"""From a backbone to a model: pooling, and one output a label."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
from keras import layers

from kerasft.errors import ConfigError
from kerasft.vision.backbones import Backbone
from kerasft_image.config import ImageConfig
from kerasft_image.kinds import Kind
from kerasft_image.mirrored import Mirrored


class Built(NamedTuple):
    """A model and what is worth knowing of it.

    Attributes:
        model: From `image`, float32 `[batch, side, side, 3]`, to `logits` and `embedding`.
        groups: Layer groups, input to head.
        maps: The symbolic maps of features, `[batch, height, width, channels]`, one a stage that is read.
        head: From such maps, in a list, to the logits.
    """

    model: keras.Model
    groups: dict[str, list[keras.Layer]]
    maps: list[keras.KerasTensor]
    head: keras.Model


def build_model(config: ImageConfig, backbone: Backbone, kind: Kind) -> Built:
    """Puts a head on a backbone.

    Args:
        config: `side`, `network.scale`, `network.stages`, `augment.test_time` and `head` are read.
        backbone: Of `kerasft.vision.backbones`.
        kind: Makes the outputs.

    Raises:
        ConfigError: The backbone gives no map, and its mirror image was asked for; or it has fewer stages
            than are to be read.
    """
    image = x = keras.Input((config.side, config.side, 3), name="image")
    scale = config.network.scale
    if scale is not None and scale != config.side:
        x = layers.Resizing(scale, scale, interpolation="bilinear", name="scale")(x)
    seeing: keras.layers.Layer = _reading(backbone, config)
    if config.augment.test_time == "flip":
        if len(backbone.model.output.shape) != 4:
            raise ConfigError(
                f"augment.test_time: {config.backbone} gives no map of features that could be mirrored back; "
                "leave it out."
            )
        seeing = Mirrored(seeing)
    seen = seeing(x)
    maps = list(seen) if isinstance(seen, (list, tuple)) else [seen]
    vector = embedding = _pooled(maps)
    head = _between(config)
    for layer in head:
        vector = layer(vector)
    outputs, added = kind.head(vector, embedding)
    model = keras.Model(image, outputs, name="image")
    return Built(
        model=model,
        groups={**backbone.groups, "head": [*head, *added]},
        maps=maps,
        head=keras.Model(maps, outputs["logits"], name="image_head"),
    )


def _reading(backbone: Backbone, config: ImageConfig) -> keras.Model:
    """Returns the backbone with the maps of its last stages as outputs, the earliest first."""
    count = config.network.stages
    if count == 1:
        return backbone.model
    inside, last = set(map(id, backbone.model.layers)), backbone.model.output
    found = []
    for members in list(backbone.groups.values())[:-1]:
        ends = [layer.output for layer in members if id(layer) in inside and _has_places(layer.output)]
        found += ends[-1:]
    if len(last.shape) != 4 or len(found) < count - 1:
        most = 1 + len(found) if len(last.shape) == 4 else 1
        raise ConfigError(
            f"network.stages: {config.backbone} lets {most} of its stages be read, not {count}; give a "
            "smaller number."
        )
    outputs = [*found[len(found) - count + 1 :], last]
    return keras.Model(backbone.model.input, outputs, name=backbone.model.name)


def _has_places(tensor: Any) -> bool:
    return len(tensor.shape) == 4 and tensor.shape[1] > 1


def _pooled(maps: list[keras.KerasTensor]) -> keras.KerasTensor:
    pool = layers.GlobalAveragePooling2D if len(maps[0].shape) == 4 else layers.GlobalAveragePooling1D
    if len(maps) == 1:
        return pool(dtype="float32", name="embedding")(maps[0])
    vectors = [pool(dtype="float32", name=f"pool_{number}")(features) for number, features in enumerate(maps)]
    return layers.Concatenate(dtype="float32", name="embedding")(vectors)


def _between(config: ImageConfig) -> list[keras.Layer]:
    """Layers from features to the vector of the last layer."""
    plain: dict[str, Any] = {"dtype": "float32"}
    found: list[keras.Layer] = []
    if config.head.norm:
        found.append(layers.BatchNormalization(momentum=0.9, name="head_norm", **plain))
    for number, width in enumerate((*config.head.hidden, None)):
        if config.head.dropout:
            found.append(layers.Dropout(config.head.dropout, name=f"head_dropout_{number}", **plain))
        if width is not None:
            found.append(layers.Dense(width, activation="relu", name=f"head_hidden_{number}", **plain))
    return found
