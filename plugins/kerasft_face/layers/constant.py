"""Where synthesis starts."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="kerasft_face")
class LearnedConstant(keras.layers.Layer):
    """The same trained 4x4 picture for every row of its input, which gives only the number of rows.

    Args:
        filters: Channels.
        **kwargs: Of `keras.layers.Layer`.

    Example:
        >>> LearnedConstant(8)(keras.ops.zeros((3, 2))).shape
        TensorShape([3, 4, 4, 8])
    """

    def __init__(self, filters: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters = filters

    def build(self, input_shape: Any) -> None:
        self.constant = self.add_weight(
            name="constant",
            shape=(1, 4, 4, self.filters),
            initializer=keras.initializers.RandomNormal(0.0, 1.0),
        )

    def call(self, rows: Any) -> Any:
        return ops.broadcast_to(self.constant, (ops.shape(rows)[0], 4, 4, self.filters))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "filters": self.filters}
