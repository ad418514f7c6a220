"""From a latent vector to the w that styles a picture."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kerasft_face.layers.equalized import EqualizedDense

_AVERAGE_KEPT = 0.995


@keras.saving.register_keras_serializable(package="kerasft_face")
class Mapping(keras.layers.Layer):
    """Fully connected layers from z, and a label if there are classes, to w; keeps the average w of training.

    Source: Karras et al., 2019, "A Style-Based Generator Architecture for GANs".

    Args:
        width: Length of w.
        depth: Layers.
        rate: Learning rate relative to other layers.
        classes: Number of classes; 0 takes no label.
        track: Keep an average of w, for `truncate`.
        **kwargs: Of `keras.layers.Layer`.

    Example:
        >>> mapping = Mapping(8, depth=2)
        >>> w = mapping(keras.ops.ones((3, 4)))
        >>> float(keras.ops.max(keras.ops.abs(mapping.truncate(w, keras.ops.zeros(3)))))  # the average w
        0.0
    """

    def __init__(
        self,
        width: int,
        *,
        depth: int = 8,
        rate: float = 0.01,
        classes: int = 0,
        track: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.width, self.depth, self.rate, self.classes, self.track = width, depth, rate, classes, track
        self.embedding = EqualizedDense(width, dtype=self.dtype_policy, name="label") if classes else None
        self.hidden = [
            EqualizedDense(width, activate=True, rate=rate, dtype=self.dtype_policy, name=f"dense_{i}")
            for i in range(depth)
        ]

    def build(self, z_shape: Any, label_shape: Any = None) -> None:
        inputs = 0 if z_shape is None else z_shape[-1]
        if self.embedding is not None:
            self.embedding.build((None, self.classes))
            inputs += self.width
        for layer in self.hidden:
            layer.build((None, inputs))
            inputs = self.width
        if self.track:
            self.average = self.add_weight(
                name="average", shape=(self.width,), initializer="zeros", trainable=False
            )

    def call(self, z: Any = None, label: Any = None, training: bool = False) -> Any:
        """Maps latents.

        Args:
            z: float `[batch, z]`, or None to map the label alone.
            label: One-hot `[batch, classes]`, if there are classes.
            training: Move the average.
        """
        parts = [] if z is None else [_normalized(z)]
        if self.embedding is not None:
            parts.append(_normalized(self.embedding(label)))
        x = ops.concatenate(parts, axis=-1)
        for layer in self.hidden:
            x = layer(x)
        if training and self.track and self.trainable:
            mean = ops.stop_gradient(ops.mean(x, axis=0))
            self.average.assign(mean + _AVERAGE_KEPT * (self.average - mean))
        return x

    def truncate(self, w: Any, truncation: Any) -> Any:
        """Returns w moved towards the average w: 1 leaves it, 0 is the average.

        Args:
            w: float `[batch, w]`.
            truncation: float `[batch]`.
        """
        return self.average + truncation[:, None] * (w - self.average)

    def get_config(self) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in ("width", "depth", "rate", "classes", "track")}
        return {**super().get_config(), **own}


def _normalized(x: Any) -> Any:
    return x * ops.rsqrt(ops.mean(ops.square(x), axis=-1, keepdims=True) + 1e-8)
