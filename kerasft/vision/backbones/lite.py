"""EfficientNet-Lite0 with the weights that `kerasft fetch efficientnet_lite0` brings."""

from __future__ import annotations

from kerasft.pretrained import resolve
from kerasft.pretrained.converters import efficientnet_lite0 as converter
from kerasft.vision.backbones.base import Backbone

NAME = "efficientnet_lite0"
_LAST = {"head": "top"}  # the head is what a task puts behind it


def efficientnet_lite0(side: int) -> Backbone:
    """Builds EfficientNet-Lite0 (Tan and Le, 2019; "Lite" without squeeze and excitation).

    Args:
        side: Of the pictures; 224 in its training.

    Example:
        >>> backbone = efficientnet_lite0(64)
        >>> backbone.model.output.shape, list(backbone.groups)[-2:]
        ((None, 2, 2, 1280), ['stage7', 'top'])
    """
    model = converter.build(input_shape=(side, side, 3), name="backbone")
    groups = {_LAST.get(name, name): layers for name, layers in converter.stages(model).items()}
    return Backbone(model=model, groups=groups, load=lambda: converter.load_weights(model, resolve(NAME)))
