"""What the two networks play for: logistic losses, and two regularisers that act now and then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf


def discriminator_loss(real: Any, fake: Any) -> tf.Tensor:
    """Returns the logistic loss of telling real scores `[batch]` from fake ones.

    Example:
        >>> round(float(discriminator_loss(tf.zeros(2), tf.zeros(2))), 3)
        1.386
    """
    return tf.reduce_mean(tf.nn.softplus(-real) + tf.nn.softplus(fake))


def generator_loss(fake: Any) -> tf.Tensor:
    """Returns the non-saturating logistic loss of scores `[batch]`.

    Example:
        >>> round(float(generator_loss(tf.zeros(2))), 3)
        0.693
    """
    return tf.reduce_mean(tf.nn.softplus(-fake))


def r1_penalty(score: Callable[[Any], Any], pictures: Any) -> tf.Tensor:
    """Returns half of the mean squared gradient of the score at real pictures.

    Source: Mescheder et al., 2018, "Which Training Methods for GANs do actually Converge?".

    Args:
        score: From pictures to scores `[batch]`.
        pictures: float `[batch, side, side, 3]`.

    Example:
        >>> float(r1_penalty(lambda x: tf.reduce_sum(3.0 * x, axis=[1, 2, 3]), tf.zeros([2, 1, 1, 2])))
        9.0
    """
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(pictures)
        total = tf.reduce_sum(score(pictures))
    return tf.reduce_mean(tf.reduce_sum(tf.square(tape.gradient(total, pictures)), axis=[1, 2, 3])) / 2.0


def path_lengths(synthesize: Callable[[Any], Any], styles: Any, noise: Any) -> tf.Tensor:
    """Returns how far a picture moves, in a random direction, for a step in w.

    Args:
        synthesize: From styles to pictures `[batch, side, side, 3]`.
        styles: float `[batch, styles, w]`.
        noise: The directions, standard normal, of the shape of the pictures.

    Returns:
        float `[batch]`.
    """
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(styles)
        pictures = synthesize(styles)
        side = tf.cast(pictures.shape[1], pictures.dtype)
        total = tf.reduce_sum(pictures * noise) / side
    slopes = tape.gradient(total, styles)
    # The root of zero has no gradient.
    return tf.sqrt(tf.reduce_mean(tf.reduce_sum(tf.square(slopes), axis=2), axis=1) + 1e-8)


@keras.saving.register_keras_serializable(package="kerasft_face")
class PathLength(keras.layers.Layer):
    """The mean squared deviation of path lengths from their moving average, which it keeps.

    Source: Karras et al., 2020, "Analyzing and Improving the Image Quality of StyleGAN", section 3.2.

    Args:
        decay: Share of the old average that a step forgets.
        **kwargs: Of `keras.layers.Layer`.

    Example:
        >>> float(PathLength(0.5)(tf.constant([2.0, 4.0])))  # around 1.5, half-way from 0 to the mean
        3.25
    """

    stays_with_run = True

    def __init__(self, decay: float = 0.01, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.decay = decay

    def build(self, input_shape: Any) -> None:
        self.average = self.add_weight(name="average", shape=(), initializer="zeros", trainable=False)

    def call(self, lengths: Any) -> Any:
        average = tf.stop_gradient(self.average + self.decay * (tf.reduce_mean(lengths) - self.average))
        self.average.assign(average)
        return tf.reduce_mean(tf.square(lengths - average))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "decay": self.decay}
