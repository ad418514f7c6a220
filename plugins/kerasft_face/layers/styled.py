"""One step of synthesis."""

from __future__ import annotations

from typing import Any

import keras

from kerasft_face.layers.activation import bounded, leaky
from kerasft_face.layers.modulated import ModulatedConv2D
from kerasft_face.layers.noise import Noise


@keras.saving.register_keras_serializable(package="kerasft_face")
class StyledConv2D(keras.layers.Layer):
    """A modulated convolution, noise, a bias and the leaky ReLU.

    Args:
        filters: Channels of the output.
        upsample: Double height and width.
        noise: Add noise.
        **kwargs: Of `keras.layers.Layer`.

    Example:
        >>> StyledConv2D(4)(keras.ops.zeros((2, 8, 8, 3)), keras.ops.zeros((2, 5))).shape
        TensorShape([2, 8, 8, 4])
    """

    def __init__(self, filters: int, *, upsample: bool = False, noise: bool = True, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "autocast": False})
        self.filters, self.upsample, self.with_noise = filters, upsample, noise
        self.convolution = ModulatedConv2D(
            filters, upsample=upsample, dtype=self.dtype_policy, name="convolution"
        )
        self.noise = Noise(dtype=self.dtype_policy, name="noise") if noise else None

    def build(self, x_shape: Any, w_shape: Any) -> None:
        self.convolution.build(x_shape, w_shape)
        factor = 2 if self.upsample else 1
        if self.noise is not None:
            self.noise.build((x_shape[0], x_shape[1] * factor, x_shape[2] * factor, self.filters))
        self.bias = self.add_weight(name="bias", shape=(self.filters,), initializer="zeros")

    def call(self, x: Any, w: Any, training: bool = False) -> Any:
        x = self.convolution(x, w)
        if self.noise is not None:
            x = self.noise(x, training=training)
        return bounded(leaky(x + keras.ops.cast(self.bias, self.compute_dtype)))

    def get_config(self) -> dict[str, Any]:
        own = {"filters": self.filters, "upsample": self.upsample, "noise": self.with_noise}
        return {**super().get_config(), **own}
