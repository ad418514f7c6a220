"""Convolutions over space and time, from scratch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from kerasft_video.models.base import Network


def c3d(frames: int, side: int, *, filters: Sequence[int] = (16, 32, 64)) -> Network:
    """Builds a plain network of 3 x 3 x 3 convolutions, as C3D (Tran et al. 2015) has them.

    As there, the first pooling leaves time as it is, and later stages have two convolutions; each is
    normalised over the batch, which C3D did not know yet.

    Args:
        frames: Of a clip.
        side: Of a frame.
        filters: Of each stage.

    Example:
        >>> network = c3d(8, 32)
        >>> network.model.output.shape, list(network.groups)
        ((None, 64), ['stage_0', 'stage_1', 'stage_2'])
    """
    clip, x = _input(frames, side)
    for stage, width in enumerate(filters):
        for i in range(1 if stage == 0 else 2):
            x = _convolution(x, width, (3, 3, 3), f"stage_{stage}_{i}")
            x = layers.ReLU(name=f"stage_{stage}_{i}_relu")(x)
        pool = tuple(min(2, size) for size in x.shape[1:4])
        x = layers.MaxPooling3D((1, *pool[1:]) if stage == 0 else pool, name=f"stage_{stage}_pool")(x)
    return _network(clip, x, "c3d")


def r2plus1d(frames: int, side: int, *, filters: Sequence[int] = (16, 32, 64)) -> Network:
    """Builds a residual network whose convolutions over space and time are apart: R(2+1)D (Tran et al. 2018).

    Each 3 x 3 x 3 convolution from n to m channels becomes one of 1 x 3 x 3 to k channels and one of
    3 x 1 x 1, where k = 27 n m / (9 n + 3 m) keeps the number of weights.

    Args:
        frames: Of a clip.
        side: Of a frame.
        filters: Of each stage, one residual block each; from the second on, space and time are halved.

    Example:
        >>> network = r2plus1d(8, 32)
        >>> network.model.output.shape, list(network.groups)
        ((None, 64), ['stem', 'stage_0', 'stage_1', 'stage_2'])
    """
    clip, x = _input(frames, side)
    x = _convolution(x, filters[0], (1, 3, 3), "stem_space", strides=(1, 2, 2))
    x = layers.ReLU(name="stem_space_relu")(x)
    x = _convolution(x, filters[0], (3, 1, 1), "stem_time")
    x = layers.ReLU(name="stem_time_relu")(x)
    for stage, width in enumerate(filters):
        x = _residual(x, width, 1 if stage == 0 else 2, f"stage_{stage}")
    return _network(clip, x, "r2plus1d")


def _residual(x: Any, width: int, strides: int, name: str) -> Any:
    y = _apart(x, width, f"{name}_0", strides=strides)
    y = layers.ReLU(name=f"{name}_0_relu")(y)
    y = _apart(y, width, f"{name}_1")
    if strides > 1 or x.shape[-1] != width:
        x = _convolution(x, width, (1, 1, 1), f"{name}_shortcut", strides=(strides,) * 3)
    return layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_add")([x, y]))


def _apart(x: Any, width: int, name: str, *, strides: int = 1) -> Any:
    inner = x.shape[-1]
    between = max(27 * inner * width // (9 * inner + 3 * width), 1)
    x = _convolution(x, between, (1, 3, 3), f"{name}_space", strides=(1, strides, strides))
    x = layers.ReLU(name=f"{name}_space_relu")(x)
    return _convolution(x, width, (3, 1, 1), f"{name}_time", strides=(strides, 1, 1))


def _convolution(
    x: Any, width: int, kernel: tuple[int, ...], name: str, *, strides: tuple[int, ...] = (1, 1, 1)
) -> Any:
    x = layers.Conv3D(
        width,
        kernel,
        strides=strides,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_norm")(x)


def _input(frames: int, side: int) -> tuple[Any, Any]:
    clip = keras.Input((frames, side, side, 3), name="clip")
    return clip, layers.Rescaling(1 / 127.5, offset=-1.0, name="rescaling")(clip)


def _network(clip: Any, x: Any, name: str) -> Network:
    model = keras.Model(clip, layers.GlobalAveragePooling3D(dtype="float32", name="features")(x), name=name)
    groups: dict[str, list[keras.Layer]] = {}
    for layer in model.layers:
        if layer.weights:
            stage = layer.name.split("_")
            groups.setdefault("stem" if stage[0] == "stem" else "_".join(stage[:2]), []).append(layer)
    return Network(model=model, groups=groups)
