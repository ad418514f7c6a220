"""Twice as many pictures for nothing, where left and right mean the same."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="kerasft_face")
class Mirror(keras.layers.Layer):
    """Mirrors every picture left to right with a chance of one half.

    Unlike an augmentation, it changes what is learned: mirrored pictures count as real.

    Args:
        seed: Of the random numbers.
        **kwargs: Of `keras.layers.Layer`.

    Example:
        >>> Mirror(seed=0)(keras.ops.zeros((2, 8, 8, 3))).shape
        TensorShape([2, 8, 8, 3])
    """

    def __init__(self, *, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, pictures: Any) -> Any:
        drawn = keras.random.uniform((tf.shape(pictures)[0], 1, 1, 1), seed=self.seed_generator)
        return tf.where(drawn < 0.5, pictures[:, :, ::-1], pictures)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "seed": self.seed}
