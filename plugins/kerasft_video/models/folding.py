"""Frames as so many pictures, and back."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


class EachFrame(keras.layers.Layer):
    """A model of pictures, of each frame of a clip.

    Keras's TimeDistributed goes through the frames one by one; this takes all at once.

    Args:
        model: From pictures `[batch, height, width, 3]`.
        name: Of the layer.
    """

    def __init__(self, model: keras.Model, *, name: str) -> None:
        super().__init__(name=name)
        self.model = model

    def build(self, input_shape: Any) -> None:
        self.built = True

    def call(self, clip: Any, training: bool = False) -> Any:
        frames, *picture = clip.shape[1:]
        seen = self.model(ops.reshape(clip, (-1, *picture)), training=training)
        return ops.reshape(seen, (-1, frames, *seen.shape[1:]))

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        batch, frames, *picture = input_shape
        return (batch, frames, *self.model.compute_output_shape((None, *picture))[1:])


class Differences(keras.layers.Layer):
    """What changes between frames, as pictures: grey where nothing does.

    Args:
        burst: Frames that are neighbours, each of which is compared with the first of them, so that slow and
            fast motion is seen; 1 compares all frames with the next.
        gain: How much the changes are strengthened.
        name: Of the layer.
    """

    def __init__(self, burst: int, *, gain: float = 2.0, name: str) -> None:
        super().__init__(name=name)
        self.burst, self.gain = burst, gain

    def call(self, clip: Any) -> Any:
        frames, *picture = clip.shape[1:]
        clip = ops.cast(clip, self.compute_dtype)
        if self.burst > 1:
            bursts = ops.reshape(clip, (-1, frames // self.burst, self.burst, *picture))
            changes, count = bursts[:, :, 1:] - bursts[:, :, :1], frames // self.burst * (self.burst - 1)
        else:
            changes, count = clip[:, 1:] - clip[:, :-1], frames - 1
        return ops.reshape(ops.clip(changes * self.gain + 128, 0, 255), (-1, count, *picture))
