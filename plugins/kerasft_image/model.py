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
        model: From `image`, float32 `[batch, side, side, 3]`, to `logits` and `embedding`; with several heads
            also to `members`, the logits of each, of which `logits` is the mean.
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
    outputs, added = _answers(config, _pooled(maps), kind)
    model = keras.Model(image, outputs, name="image")
    return Built(
        model=model,
        groups={**backbone.groups, "head": added},
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


def _answers(
    config: ImageConfig, embedding: keras.KerasTensor, kind: Kind
) -> tuple[dict[str, Any], list[keras.Layer]]:
    """Returns the outputs of the model and the layers between the features and them."""
    if config.head.members == 1:
        between = _between(config)
        outputs, last = kind.head(_through(between, embedding), embedding)
        return outputs, [*between, *last]
    members, added = [], []
    for number in range(config.head.members):
        prefix = f"member_{number}_"
        head = [*_between(config, prefix), kind.last_layer(f"{prefix}logits")]
        members.append(_through(head, embedding))
        added += head
    mean = layers.Average(dtype="float32", name="logits")
    return {"logits": mean(members), "embedding": embedding, "members": members}, [*added, mean]


def _through(chain: list[keras.Layer], vector: keras.KerasTensor) -> keras.KerasTensor:
    for layer in chain:
        vector = layer(vector)
    return vector


def _between(config: ImageConfig, prefix: str = "") -> list[keras.Layer]:
    """Layers from features to the vector of the last layer."""
    plain: dict[str, Any] = {"dtype": "float32"}
    found: list[keras.Layer] = []
    if config.head.norm:
        found.append(layers.BatchNormalization(momentum=0.9, name=f"{prefix}head_norm", **plain))
    for number, width in enumerate((*config.head.hidden, None)):
        if config.head.dropout:
            dropout = f"{prefix}head_dropout_{number}"
            found.append(layers.Dropout(config.head.dropout, name=dropout, **plain))
        if width is not None:
            hidden = f"{prefix}head_hidden_{number}"
            found.append(layers.Dense(width, activation="relu", name=hidden, **plain))
    return found
