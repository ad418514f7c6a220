"""A network for skeletons in motion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from kerasft_video.models.base import Network

_DROPOUT = 0.1


def skeleton(frames: int, joints: int, dimensions: int, *, filters: Sequence[int] = (64, 128)) -> Network:
    """Builds a network like DD-Net (Yang et al. 2019): distances between joints, and two paces of motion.

    Distances between all pairs of joints do not depend on where the person stands and how the camera is
    turned; differences between neighbouring frames, and between every second one, are what moves. Each of the
    three goes through convolutions over time of its own; joined, they go through more of them.

    Args:
        frames: Of an example.
        joints: Of a skeleton.
        dimensions: Of a joint, 2 or 3.
        filters: Of the first convolutions; each further number halves the time and has that many.

    Example:
        >>> network = skeleton(32, 15, 2, filters=(16, 32))
        >>> network.model.output.shape, list(network.groups)
        ((None, 32), ['distances', 'slow', 'fast', 'stage_1'])
    """
    xy = keras.Input((frames, joints, dimensions), name="xy")
    normal = Normalized(name="normalized")(xy)
    width = filters[0]
    groups: dict[str, list[keras.Layer]] = {}
    x: Any = layers.Concatenate(name="joined")(
        [
            _embedded(Distances(name="pairs")(normal), width, "distances", groups, pool=True),
            _embedded(Moved(1, name="slow_moved")(normal), width, "slow", groups, pool=True),
            _embedded(Moved(2, name="fast_moved")(normal), width, "fast", groups, pool=False),
        ]
    )
    for stage, more in enumerate(filters[1:], start=1):
        group = groups.setdefault(f"stage_{stage}", [])
        for i in range(2):
            x = _convolved(x, more, 3, f"stage_{stage}_{i}", group)
        if stage < len(filters) - 1:
            x = layers.MaxPooling1D(2, padding="same", name=f"stage_{stage}_pool")(x)
        x = layers.SpatialDropout1D(_DROPOUT, name=f"stage_{stage}_dropout")(x)
    features = layers.GlobalMaxPooling1D(dtype="float32", name="features")(x)
    return Network(model=keras.Model(xy, features, name="skeleton"), groups=groups)


class Normalized(keras.layers.Layer):
    """Places relative to their mean over all frames, in units of their spread."""

    def call(self, xy: Any) -> Any:
        centred = xy - ops.mean(xy, axis=(1, 2), keepdims=True)
        spread = ops.sqrt(ops.mean(ops.square(centred), axis=(1, 2, 3), keepdims=True))
        return centred / ops.maximum(spread, 1e-6)


class Distances(keras.layers.Layer):
    """Distances between all pairs of joints, `[batch, frames, pairs]`."""

    def call(self, xy: Any) -> Any:
        one, other = np.triu_indices(xy.shape[2], 1)
        apart = ops.take(xy, one, axis=2) - ops.take(xy, other, axis=2)
        # The root has no gradient at 0, where two joints meet.
        return ops.sqrt(ops.sum(ops.square(apart), axis=-1) + 1e-8)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        joints = input_shape[2]
        return (*input_shape[:2], joints * (joints - 1) // 2)


class Moved(keras.layers.Layer):
    """How far each joint moves until the next frame looked at, `[batch, frames / step, joints * dimensions]`.

    Args:
        step: Every how many frames one is looked at.
        name: Of the layer.
    """

    def __init__(self, step: int, *, name: str) -> None:
        super().__init__(name=name)
        self.step = step

    def call(self, xy: Any) -> Any:
        looked_at = xy[:, :: self.step]
        moved = looked_at[:, 1:] - looked_at[:, :-1]
        moved = ops.concatenate([moved, ops.zeros_like(looked_at[:, :1])], axis=1)
        return ops.reshape(moved, (-1, looked_at.shape[1], xy.shape[2] * xy.shape[3]))


def _embedded(x: Any, width: int, name: str, groups: dict[str, list[keras.Layer]], *, pool: bool) -> Any:
    group = groups.setdefault(name, [])
    for i, (filters, kernel) in enumerate(((2 * width, 1), (width, 3), (width, 1))):
        x = _convolved(x, filters, kernel, f"{name}_{i}", group)
        x = layers.SpatialDropout1D(_DROPOUT, name=f"{name}_{i}_dropout")(x)
    return layers.MaxPooling1D(2, padding="same", name=f"{name}_pool")(x) if pool else x


def _convolved(x: Any, width: int, kernel: int, name: str, group: list[keras.Layer]) -> Any:
    convolution = layers.Conv1D(width, kernel, padding="same", use_bias=False, name=f"{name}_conv")
    norm = layers.BatchNormalization(momentum=0.9, name=f"{name}_norm")
    group += [convolution, norm]
    return layers.LeakyReLU(0.2, name=f"{name}_relu")(norm(convolution(x)))
