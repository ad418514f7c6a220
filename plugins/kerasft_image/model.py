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
        features: The symbolic map of features, `[batch, height, width, channels]`.
        head: From such a map to the logits.
    """

    model: keras.Model
    groups: dict[str, list[keras.Layer]]
    features: keras.KerasTensor
    head: keras.Model


def build_model(config: ImageConfig, backbone: Backbone, kind: Kind) -> Built:
    """Puts a head on a backbone.

    Args:
        config: `side`, `network.scale` and `head` are read.
        backbone: Of `kerasft.vision.backbones`.
        kind: Makes the outputs.

    Raises:
        ConfigError: The backbone gives no map, and its mirror image was asked for.
    """
    image = x = keras.Input((config.side, config.side, 3), name="image")
    scale = config.network.scale
    if scale is not None and scale != config.side:
        x = layers.Resizing(scale, scale, interpolation="bilinear", name="scale")(x)
    seeing: keras.layers.Layer = backbone.model
    if config.augment.test_time == "flip":
        if len(backbone.model.output.shape) != 4:
            raise ConfigError(
                f"augment.test_time: {config.backbone} gives no map of features that could be mirrored back; "
                "leave it out."
            )
        seeing = Mirrored(backbone.model)
    features = seeing(x)
    pool = layers.GlobalAveragePooling2D if len(features.shape) == 4 else layers.GlobalAveragePooling1D
    vector = embedding = pool(dtype="float32", name="embedding")(features)
    head = _between(config)
    for layer in head:
        vector = layer(vector)
    outputs, added = kind.head(vector, embedding)
    model = keras.Model(image, outputs, name="image")
    return Built(
        model=model,
        groups={**backbone.groups, "head": [*head, *added]},
        features=features,
        head=keras.Model(features, outputs["logits"], name="image_head"),
    )


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
