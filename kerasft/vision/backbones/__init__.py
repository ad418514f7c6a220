"""Backbones: a picture in, a map of features out.

Every backbone is a functional model from float32 `[batch, side, side, 3]`, 0 to 255, to features
`[batch, height, width, channels]` (of a vision transformer `[batch, tokens, channels]`); what it does to the
pixels first is part of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kerasft.vision.backbones import applications, hub
from kerasft.vision.backbones.base import Backbone
from kerasft.vision.backbones.lite import efficientnet_lite0
from kerasft.vision.backbones.small import cnn, resnet20
from kerasft.vision.backbones.stages import stages
from kerasft.vision.names import KNOWN

__all__ = ["Backbone", "architecture", "build_backbone", "stages"]


def architecture(name: str) -> dict[str, Any] | None:
    """Returns what a run must keep to rebuild a backbone that is not known by its name alone.

    Args:
        name: One of `kerasft.vision.names.KNOWN`, a name of keras.applications, or an image preset of
            KerasHub (also hf://, kaggle://, a folder).

    Returns:
        A dict that survives JSON; None for backbones with a name of their own.

    Raises:
        PretrainedError: There is no such backbone, or it cannot be read.
    """
    if name in KNOWN or applications.name_of(name):
        return None
    return hub.architecture(name, suggest=(*KNOWN, *applications.names()))


def build_backbone(
    name: str,
    *,
    side: int,
    filters: Sequence[int] = (32, 64, 128),
    architecture: Mapping[str, Any] | None = None,
) -> Backbone:
    """Builds a backbone with random weights.

    Args:
        name: As of `architecture`.
        side: Of the pictures.
        filters: Of each stage of the backbone cnn.
        architecture: What the function of that name returned.

    Raises:
        ConfigError: The pictures are too small for it, or it gives no map of features.

    Example:
        >>> build_backbone("resnet20", side=32).model.output.shape
        (None, 8, 8, 64)
    """
    if name == "cnn":
        return Backbone.of(cnn(side, filters=filters))
    if name == "resnet20":
        return Backbone.of(resnet20(side))
    if name == "efficientnet_lite0":
        return efficientnet_lite0(side)
    if architecture is None:
        return applications.build(name, side=side)
    return hub.build(architecture, name, side=side)
