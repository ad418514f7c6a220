"""What lets a discriminator see that all pictures of a batch are alike."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras import ops


@keras.saving.register_keras_serializable(package="kerasft_face")
class MinibatchDeviation(keras.layers.Layer):
    """Appends a channel with the mean standard deviation over a group of pictures.

    A batch is cut into groups of the largest size up to `group` that divides it; with one picture a group the
    channel is zero.
    Source: Karras et al., 2018, "Progressive Growing of GANs", section 3.

    Args:
        group: Pictures in one group, at most.
        **kwargs: Of `keras.layers.Layer`.

    Example:
        >>> MinibatchDeviation(4)(keras.ops.zeros((6, 4, 4, 8))).shape
        TensorShape([6, 4, 4, 9])
    """

    def __init__(self, group: int = 4, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.group = group

    def call(self, x: Any) -> Any:
        height, width, channels = x.shape[1:]
        count = tf.shape(x)[0]
        sizes = tf.range(1, self.group + 1)
        size = tf.reduce_max(tf.where(count % sizes == 0, sizes, 1))
        groups = tf.reshape(x, [size, -1, height, width, channels])
        centred = groups - ops.mean(groups, axis=0, keepdims=True)
        deviation = ops.mean(ops.sqrt(ops.mean(ops.square(centred), axis=0) + 1e-8), axis=(1, 2, 3))
        channel = ops.broadcast_to(tf.tile(deviation, [size])[:, None, None, None], (count, height, width, 1))
        return ops.concatenate([x, channel], axis=-1)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (*input_shape[:-1], input_shape[-1] + 1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "group": self.group}
