"""Dense and convolution with equalised learning rate: weights of unit variance, scaled when they are used.

Source: Karras et al., 2018, "Progressive Growing of GANs", section 4.1.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from kerasft_face.layers.activation import bounded, leaky
from kerasft_face.layers.resampling import resample


@keras.saving.register_keras_serializable(package="kerasft_face")
class EqualizedDense(keras.layers.Dense):
    """A dense layer whose every weight learns at the same speed, whatever its fan-in; it takes LoRA.

    Args:
        units: Width of the output.
        activate: Apply the leaky ReLU.
        rate: Learning rate relative to other layers.
        bias: Initial value of the biases.
        **kwargs: Of `keras.layers.Layer`.

    Example:
        >>> EqualizedDense(4, bias=1.0)(keras.ops.zeros((2, 3))).numpy().tolist()
        [[1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0]]
    """

    def __init__(
        self, units: int, *, activate: bool = False, rate: float = 1.0, bias: float = 0.0, **kwargs: Any
    ) -> None:
        super().__init__(
            units,
            kernel_initializer=keras.initializers.RandomNormal(0.0, 1.0 / rate),
            bias_initializer=keras.initializers.Constant(bias / rate),
            **kwargs,
        )
        self.activate, self.rate, self.initial_bias = activate, rate, bias

    def call(self, x: Any) -> Any:
        scale = self.rate / math.sqrt(x.shape[-1])
        x = ops.matmul(x, self.kernel * scale) + self.bias * self.rate
        return leaky(x) if self.activate else x

    def get_config(self) -> dict[str, Any]:
        own = {"units": self.units, "activate": self.activate, "rate": self.rate, "bias": self.initial_bias}
        return {**keras.layers.Layer.get_config(self), **own}


@keras.saving.register_keras_serializable(package="kerasft_face")
class EqualizedConv2D(keras.layers.Layer):
    """A convolution with equalised learning rate that may halve the picture, low-pass filtered first.

    Args:
        filters: Channels of the output.
        kernel_size: Side of the kernel, 1 or 3.
        downsample: Halve height and width.
        activate: Apply the leaky ReLU.
        use_bias: Add a bias.
        gain: Factor of the output.
        **kwargs: Of `keras.layers.Layer`.

    Example:
        >>> EqualizedConv2D(4, 3, downsample=True)(keras.ops.zeros((2, 8, 8, 3))).shape
        TensorShape([2, 4, 4, 4])
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int,
        *,
        downsample: bool = False,
        activate: bool = True,
        use_bias: bool = True,
        gain: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.filters, self.kernel_size, self.downsample = filters, kernel_size, downsample
        self.activate, self.use_bias, self.gain = activate, use_bias, gain

    def build(self, input_shape: Any) -> None:
        inputs, size = input_shape[-1], self.kernel_size
        self._scale = 1.0 / math.sqrt(inputs * size * size)
        self.kernel = self.add_weight(
            name="kernel",
            shape=(size, size, inputs, self.filters),
            initializer=keras.initializers.RandomNormal(0.0, 1.0),
        )
        self.bias = (
            self.add_weight(name="bias", shape=(self.filters,), initializer="zeros")
            if self.use_bias
            else None
        )

    def call(self, x: Any) -> Any:
        kernel = ops.convert_to_tensor(self.kernel * self._scale)
        if not self.downsample:
            x = tf.nn.conv2d(x, kernel, 1, "SAME")
        elif self.kernel_size == 1:
            x = tf.nn.conv2d(resample(x, down=2, padding=(1, 1)), kernel, 1, "VALID")
        else:
            x = tf.nn.conv2d(resample(x, padding=(2, 2)), kernel, 2, "VALID")
        if self.bias is not None:
            x = x + self.bias
        return bounded((leaky(x) if self.activate else x) * self.gain)

    def get_config(self) -> dict[str, Any]:
        own = {
            name: getattr(self, name)
            for name in ("filters", "kernel_size", "downsample", "activate", "use_bias", "gain")
        }
        return {**super().get_config(), **own}
