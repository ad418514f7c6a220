"""Test-time augmentation: a picture and its mirror image are both seen, in inference."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


class Mirrored(keras.layers.Layer):
    """A backbone that averages, outside of training, what it sees in a picture and in its mirror image.

    The map of the mirror image is mirrored back first, so places in the result are places in the picture.

    Args:
        backbone: From pictures `[batch, side, side, 3]` to maps `[batch, height, width, channels]`, one or
            a list of them.
        name: Of the layer.
    """

    def __init__(self, backbone: keras.Model, *, name: str = "mirrored") -> None:
        super().__init__(name=name)
        self.backbone = backbone

    def build(self, input_shape: Any) -> None:
        self.built = True

    def call(self, picture: Any, training: bool = False) -> Any:
        seen = self.backbone(picture, training=training)
        if training:
            return seen
        again = self.backbone(ops.flip(picture, axis=2), training=False)
        return keras.tree.map_structure(lambda one, other: (one + ops.flip(other, axis=2)) / 2, seen, again)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return self.backbone.compute_output_shape(input_shape)
