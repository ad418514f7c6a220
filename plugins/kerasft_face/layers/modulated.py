"""The modulated convolution: a style says how much each input channel counts."""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from kerasft_face.layers.equalized import EqualizedDense
from kerasft_face.layers.resampling import resample


@keras.saving.register_keras_serializable(package="kerasft_face")
class ModulatedConv2D(keras.layers.Layer):
    """A convolution with a kernel of its own for each picture, made from w.

    The activations are scaled before and after one common convolution, which equals scaling the kernel of
    each picture and needs no grouped convolution.
    Source: Karras et al., 2020, "Analyzing and Improving the Image Quality of StyleGAN", section 2.2.

    Args:
        filters: Channels of the output.
        kernel_size: Side of the kernel.
        upsample: Double height and width, low-pass filtered.
        demodulate: Scale each output channel to unit expected variance.
        **kwargs: Of `keras.layers.Layer`.

    Example:
        >>> ModulatedConv2D(4, upsample=True)(keras.ops.zeros((2, 8, 8, 3)), keras.ops.zeros((2, 5))).shape
        TensorShape([2, 16, 16, 4])
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int = 3,
        *,
        upsample: bool = False,
        demodulate: bool = True,
        **kwargs: Any,
    ) -> None:
        # Styles stay in full precision, so casting is done by hand.
        super().__init__(**{**kwargs, "autocast": False})
        self.filters, self.kernel_size = filters, kernel_size
        self.upsample, self.demodulate = upsample, demodulate
        self.affine: EqualizedDense | None = None

    def build(self, x_shape: Any, w_shape: Any) -> None:
        inputs, size = x_shape[-1], self.kernel_size
        self.affine = EqualizedDense(inputs, bias=1.0, dtype=self.variable_dtype, name="affine")
        self.affine.build(w_shape)
        self.kernel = self.add_weight(
            name="kernel",
            shape=(size, size, inputs, self.filters),
            initializer=keras.initializers.RandomNormal(0.0, 1.0),
        )
        self._scale = 1.0 / math.sqrt(inputs * size * size)

    def call(self, x: Any, w: Any) -> Any:
        assert self.affine is not None
        style = self.affine(ops.cast(w, self.variable_dtype))
        kernel = ops.convert_to_tensor(self.kernel) * self._scale
        if self.demodulate and self.compute_dtype == "float16":
            # Demodulation undoes any scale, so one is chosen at which float16 does not overflow.
            kernel = kernel * (self._scale / ops.max(ops.abs(kernel), axis=(0, 1, 2)))
            style = style / ops.max(ops.abs(style), axis=1, keepdims=True)
        x = ops.cast(x, self.compute_dtype) * _per_picture(style, self.compute_dtype)
        x = self._convolve(x, ops.cast(kernel, self.compute_dtype))
        if self.demodulate:
            power = ops.matmul(ops.square(style), ops.sum(ops.square(kernel), axis=(0, 1)))
            x = x * _per_picture(ops.rsqrt(power + 1e-8), self.compute_dtype)
        return x

    def _convolve(self, x: Any, kernel: Any) -> Any:
        if not self.upsample:
            return tf.nn.conv2d(x, kernel, 1, "SAME")
        height, width = 2 * x.shape[1] + 1, 2 * x.shape[2] + 1
        shape = [tf.shape(x)[0], height, width, self.filters]
        x = tf.nn.conv2d_transpose(x, tf.transpose(kernel, [0, 1, 3, 2]), shape, 2, "VALID")
        # The filter loses three quarters of the brightness, as after an insertion of zeros.
        return resample(tf.ensure_shape(x, [None, height, width, self.filters]), padding=(1, 1)) * 4.0

    def get_config(self) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in ("filters", "kernel_size", "upsample", "demodulate")}
        return {**super().get_config(), **own}


def _per_picture(factors: Any, dtype: str) -> Any:
    return ops.cast(factors, dtype)[:, None, None, :]
