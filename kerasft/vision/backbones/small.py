"""Small backbones for small pictures, from scratch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers, ops


def cnn(side: int, *, filters: Sequence[int] = (32, 64, 128)) -> keras.Model:
    """Builds a plain network: two convolutions a stage, the side halved after each.

    Args:
        side: Of the pictures.
        filters: Of each stage.

    Example:
        >>> cnn(32).output.shape
        (None, 4, 4, 128)
    """
    image = keras.Input((side, side, 3), name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1.0, name="rescaling")(image)
    for stage, width in enumerate(filters):
        for i in range(2):
            x = _convolution(x, width, 3, f"stage_{stage}_{i}")
            x = layers.ReLU(name=f"stage_{stage}_{i}_relu")(x)
        if x.shape[1] > 1:
            x = layers.MaxPooling2D(2, padding="same", name=f"stage_{stage}_pool")(x)
    return keras.Model(image, x, name="cnn")


def resnet20(side: int) -> keras.Model:
    """Builds the residual network of 20 layers that He et al. (2015, section 4.2) describe for CIFAR-10.

    Three stages of three blocks with 16, 32 and 64 filters; where a stage begins, the shortcut skips every
    other pixel and pads the new channels with zeros (option A), so only convolutions have weights.

    Args:
        side: Of the pictures; 32 in the paper.

    Example:
        >>> resnet20(32).count_params()
        270448
    """
    image = keras.Input((side, side, 3), name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1.0, name="rescaling")(image)
    x = layers.ReLU(name="stem_relu")(_convolution(x, 16, 3, "stem"))
    for stage, width in enumerate((16, 32, 64)):
        for block in range(3):
            strides = 2 if stage > 0 and block == 0 else 1
            x = _residual(x, width, strides, f"stage_{stage}_block_{block}")
    return keras.Model(image, x, name="resnet20")


def _residual(x: Any, width: int, strides: int, name: str) -> Any:
    y = layers.ReLU(name=f"{name}_relu_0")(_convolution(x, width, 3, f"{name}_0", strides=strides))
    y = _convolution(y, width, 3, f"{name}_1")
    if strides > 1:
        x = x[:, ::strides, ::strides, :]
    if x.shape[-1] < width:
        x = ops.pad(x, ((0, 0), (0, 0), (0, 0), (0, width - x.shape[-1])))
    return layers.ReLU(name=f"{name}_relu_1")(layers.Add(name=f"{name}_add")([x, y]))


def _convolution(x: Any, width: int, kernel: int, name: str, *, strides: int = 1) -> Any:
    x = layers.Conv2D(
        width,
        kernel,
        strides=strides,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_norm")(x)
