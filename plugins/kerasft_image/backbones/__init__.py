"""Backbones: a picture in, a map of features out.

Every backbone is a functional model from float32 `[batch, side, side, 3]`, 0 to 255, to features
`[batch, height, width, channels]` (of a vision transformer `[batch, tokens, channels]`); what it does to the
pixels first is part of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kerasft_image.backbones import applications, hub
from kerasft_image.backbones.base import Backbone
from kerasft_image.backbones.lite import efficientnet_lite0
from kerasft_image.backbones.small import cnn, resnet20
from kerasft_image.backbones.stages import stages
from kerasft_image.config import ImageConfig

__all__ = ["Backbone", "architecture", "build_backbone", "stages"]


def architecture(config: ImageConfig) -> dict[str, Any] | None:
    """Returns what a run must keep to rebuild a backbone that is not known by its name alone.

    Args:
        config: `backbone` is read.

    Returns:
        A dict that survives JSON; None for backbones with a name of their own.

    Raises:
        PretrainedError: There is no such backbone, or it cannot be read.
    """
    if config.named or applications.name_of(config.backbone):
        return None
    return hub.architecture(config.backbone, suggest=(*config.known, *applications.names()))


def build_backbone(config: ImageConfig, *, side: int, architecture: Mapping[str, Any] | None) -> Backbone:
    """Builds the backbone of a config with random weights.

    Args:
        config: `backbone` and `network` are read.
        side: Of the pictures.
        architecture: What the function of that name returned.

    Raises:
        ConfigError: The pictures are too small for it.
    """
    if config.backbone == "cnn":
        return Backbone.of(cnn(side, filters=config.network.filters))
    if config.backbone == "resnet20":
        return Backbone.of(resnet20(side))
    if config.backbone == "efficientnet_lite0":
        return efficientnet_lite0(side)
    if architecture is None:
        return applications.build(config.backbone, side=side)
    return hub.build(architecture, config.backbone, side=side)
