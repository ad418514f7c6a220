"""Random numbers for augmentations: one for each picture."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


class Draws:
    """Draws what augmentations need, `[count]` at once.

    Args:
        count: Pictures.
        p: The probability of an augmentation, a scalar.
        seed: Its state moves on with every draw, whatever `p` is.
        dtype: Of all results.

    Example:
        >>> Draws(count=3, p=0.0, seed=keras.random.SeedGenerator(0)).sometimes().numpy().tolist()
        [0.0, 0.0, 0.0]
    """

    def __init__(
        self, *, count: Any, p: Any, seed: keras.random.SeedGenerator, dtype: Any = "float32"
    ) -> None:
        self._shape = (count,)
        self._p = tf.cast(p, dtype)
        self._seed = seed
        self._dtype = dtype

    def sometimes(self, *, twice: bool = False) -> tf.Tensor:
        """Returns 1 with the probability, and 0 otherwise.

        Args:
            twice: It is asked for twice; 1 at least once has the probability.
        """
        p = self._p
        if twice:
            p = 1.0 - tf.sqrt(1.0 - tf.minimum(p, 1.0))
        drawn = keras.random.uniform(self._shape, dtype=self._dtype, seed=self._seed)
        return tf.cast(drawn < p, self._dtype)

    def uniform(self) -> tf.Tensor:
        """Returns numbers between -1 and 1."""
        return keras.random.uniform(self._shape, -1.0, 1.0, dtype=self._dtype, seed=self._seed)

    def normal(self) -> tf.Tensor:
        """Returns standard normal numbers."""
        return keras.random.normal(self._shape, dtype=self._dtype, seed=self._seed)

    def whole(self, below: int) -> tf.Tensor:
        """Returns whole numbers from 0 on, as floats."""
        return tf.floor(below * keras.random.uniform(self._shape, dtype=self._dtype, seed=self._seed))
