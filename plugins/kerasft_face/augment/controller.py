"""How strongly to augment: as much as it takes to keep the discriminator unsure."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="kerasft_face")
class Adaptive(keras.layers.Layer):
    """Moves a probability after every few batches, up where the discriminator overfits and down where not.

    It overfits where the mean sign of its scores of real pictures is above a target. The probability is at
    least 0 and has no upper bound; from 1 on, every augmentation is always applied.
    Source: Karras et al., 2020, "Training Generative Adversarial Networks with Limited Data", section 3.

    Args:
        start: The first probability.
        target: Of the mean sign.
        kimg: Thousands of pictures in which the probability can move by 1; None leaves it where it is.
        interval: Batches between two moves.
        **kwargs: Of `keras.layers.Layer`.

    Attributes:
        probability: A weight, float32 scalar.

    Example:
        >>> adaptive = Adaptive(kimg=0.1, interval=2)
        >>> [round(float(adaptive(tf.constant([3.0, 0.5, 0.2, -0.1, 4.0]))), 3) for _ in range(4)]
        [0.0, 0.0, 0.0, 0.0]
        >>> [round(float(adaptive(tf.constant([3.0, 0.5, 0.2, 0.1, 4.0]))), 3) for _ in range(4)]
        [0.0, 0.1, 0.1, 0.2]
    """

    stays_with_run = True  # another training begins with other pictures

    def __init__(
        self,
        *,
        start: float = 0.0,
        target: float = 0.6,
        kimg: float | None = 500.0,
        interval: int = 4,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.start, self.target, self.kimg, self.interval = start, target, kimg, interval

    def build(self, input_shape: Any) -> None:
        self.probability = self.add_weight(
            name="probability",
            shape=(),
            dtype="float32",
            initializer=keras.initializers.Constant(self.start),
            trainable=False,
        )
        self.signs, self.pictures, self.batches = (
            self.add_weight(name=name, shape=(), dtype="int64", initializer="zeros", trainable=False)
            for name in ("signs", "pictures", "batches")
        )

    def call(self, scores: Any) -> Any:
        """Counts a batch.

        Args:
            scores: Of real pictures, float `[batch]`.

        Returns:
            The probability from now on.
        """
        if self.kimg is None:
            return tf.convert_to_tensor(self.probability)
        signs = self.signs + tf.cast(tf.reduce_sum(tf.sign(scores)), tf.int64)
        pictures = self.pictures + tf.size(scores, out_type=tf.int64)
        batches = self.batches + 1
        due = batches >= self.interval
        seen = tf.cast(pictures, tf.float32)
        step = tf.sign(tf.cast(signs, tf.float32) / seen - self.target) * seen / (1000.0 * self.kimg)
        probability = tf.where(due, tf.maximum(self.probability + step, 0.0), self.probability)
        self.probability.assign(probability)
        for total, value in ((self.signs, signs), (self.pictures, pictures), (self.batches, batches)):
            total.assign(tf.where(due, tf.zeros_like(value), value))
        return probability

    def get_config(self) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in ("start", "target", "kimg", "interval")}
        return {**super().get_config(), **own}
