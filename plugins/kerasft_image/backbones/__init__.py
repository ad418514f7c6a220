"""Backbones: a picture in, a map of features out.

Every backbone is a functional model from float32 `[batch, side, side, 3]`, 0 to 255, to features
`[batch, height, width, channels]`; what it does to the pixels first is part of it.
"""

from __future__ import annotations

from collections.abc import Callable

import keras

from kerasft._suggest import suggestion
from kerasft.errors import ConfigError
from kerasft_image.backbones.small import cnn, resnet20
from kerasft_image.backbones.stages import stages
from kerasft_image.config import ImageConfig

__all__ = ["build_backbone", "stages"]

_SMALL: dict[str, Callable[..., keras.Model]] = {"cnn": cnn, "resnet20": resnet20}


def build_backbone(config: ImageConfig, *, side: int) -> keras.Model:
    """Builds the backbone of a config with random weights.

    Args:
        config: `backbone` and `network` are read.
        side: Of the pictures.

    Raises:
        ConfigError: There is no such backbone.
    """
    if config.backbone == "cnn":
        return cnn(side, filters=config.network.filters)
    if config.backbone == "resnet20":
        return resnet20(side)
    raise ConfigError(
        f"backbone: there is no {config.backbone!r}; {suggestion(config.backbone, _SMALL, noun='backbones')}"
    )
