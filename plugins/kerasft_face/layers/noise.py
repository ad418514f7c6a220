"""Noise: detail that no style can say, such as the place of single hairs."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="kerasft_face")
class Noise(keras.layers.Layer):
    """Adds noise of a learned strength: drawn anew in training, the same stored picture otherwise.

    Args:
        seed: Of the random numbers.
        **kwargs: Of `keras.layers.Layer`.

    Example:
        >>> float(keras.ops.sum(Noise()(keras.ops.zeros((1, 4, 4, 2)))))  # the strength starts at zero
        0.0
    """

    def __init__(self, *, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def build(self, input_shape: Any) -> None:
        self.strength = self.add_weight(name="strength", shape=(), initializer="zeros")
        self.stored = self.add_weight(
            name="stored",
            shape=(1, *input_shape[1:3], 1),
            initializer=keras.initializers.RandomNormal(0.0, 1.0),
            trainable=False,
        )

    def call(self, x: Any, training: bool = False) -> Any:
        if not training:
            return x + self.stored * self.strength
        shape = (ops.shape(x)[0], *x.shape[1:3], 1)
        return x + keras.random.normal(shape, dtype=x.dtype, seed=self.seed_generator) * self.strength

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "seed": self.seed}
