"""EfficientNet-Lite0, as `kerasft fetch efficientnet_lite0` brings it, as a Keras model.

Its layers are named by stage, so that a task can freeze and unfreeze stage by stage: `stages` groups them.
The classes of its logits are the 1000 of ImageNet's challenge, in the order of their WordNet numbers.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kerasft.errors import PretrainedError
from kerasft.pretrained.converters.places import Place, fill
from kerasft.pretrained.converters.report import LoadReport
from kerasft.pretrained.readers import read_torch
from kerasft.pretrained.resolve import resolve

FILE = "efficientnet-lite0-57934424.pth"
CLASSES = 1000

_STEM, _HEAD = 32, 1280
_EPSILON = 1e-3
_DENSE, _DEPTHWISE = (2, 3, 1, 0), (2, 3, 0, 1)  # from the file's [out, in, height, width]


@dataclass(frozen=True, kw_only=True)
class _Stage:
    blocks: int
    kernel: int
    stride: int
    expansion: int
    filters: int


_STAGES = (
    _Stage(blocks=1, kernel=3, stride=1, expansion=1, filters=16),
    _Stage(blocks=2, kernel=3, stride=2, expansion=6, filters=24),
    _Stage(blocks=2, kernel=5, stride=2, expansion=6, filters=40),
    _Stage(blocks=3, kernel=3, stride=2, expansion=6, filters=80),
    _Stage(blocks=3, kernel=5, stride=1, expansion=6, filters=112),
    _Stage(blocks=4, kernel=5, stride=2, expansion=6, filters=192),
    _Stage(blocks=1, kernel=3, stride=1, expansion=6, filters=320),
)


def pretrained(
    source: str | os.PathLike[str] = "efficientnet_lite0",
    *,
    include_top: bool = False,
    input_shape: tuple[int | None, int | None, int] = (None, None, 3),
    name: str = "efficientnet_lite0",
    dtype: Any = None,
    progress: bool = True,
) -> keras.Model:
    """Returns EfficientNet-Lite0 with its ImageNet weights, which are fetched if they are not cached.

    Args:
        source: A name of the catalogue, or a folder that holds the file.
        include_top: Whether to end with the logits instead of the features.
        input_shape: Height, width and 3.
        name: Name of the model.
        dtype: Keras dtype policy; the global one by default.
        progress: Show download progress.

    Returns:
        A model as `build` makes it.

    Raises:
        PretrainedError: The weights cannot be had, or do not fit.

    Example:
        >>> classifier = pretrained(include_top=True)                          # doctest: +SKIP
        >>> classifier(pictures).shape                                         # doctest: +SKIP
        TensorShape([8, 1000])
    """
    folder = resolve(source, progress=progress)
    model = build(include_top=include_top, input_shape=input_shape, name=name, dtype=dtype)
    load_weights(model, folder)
    return model


def build(
    *,
    include_top: bool = False,
    input_shape: tuple[int | None, int | None, int] = (None, None, 3),
    name: str = "efficientnet_lite0",
    dtype: Any = None,
) -> keras.Model:
    """Builds EfficientNet-Lite0 with random weights.

    Source: Tan and Le, 2019, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks",
    B0; "Lite" leaves out squeeze and excitation and has ReLU6 for swish.

    Args:
        include_top: Whether to end with the logits instead of the features.
        input_shape: Height, width and 3. It was trained at 224 by 224; the features of other sizes, from 32
            by 32 on, are useful too.
        name: Name of the model.
        dtype: Keras dtype policy; the global one by default. Logits are float32 at least.

    Returns:
        From pictures `[batch, height, width, 3]`, red, green and blue from 0 to 255, to features `[batch,
        height / 32, width / 32, 1280]` (sides are rounded up) or logits `[batch, 1000]`. The names of its
        layers begin with their stage: ``stem``, ``stage1`` to ``stage7``, ``head`` and ``classifier``.

    Example:
        >>> model = build(input_shape=(64, 64, 3))
        >>> model.get_layer("stage5_block3_add").output.shape, model.output.shape
        ((None, 4, 4, 112), (None, 2, 2, 1280))
    """
    pictures = keras.Input(input_shape, name="pictures")
    x = keras.layers.Rescaling(1 / 128, -127 / 128, dtype=dtype, name="scale")(pictures)
    x = _convolved(x, _STEM, 3, stride=2, dtype=dtype, name="stem")
    for number, stage in enumerate(_STAGES, start=1):
        for block in range(1, stage.blocks + 1):
            stride = stage.stride if block == 1 else 1
            x = _block(x, stage, stride=stride, dtype=dtype, name=f"stage{number}_block{block}")
    x = _convolved(x, _HEAD, 1, dtype=dtype, name="head")
    if include_top:
        x = keras.layers.GlobalAveragePooling2D(dtype=dtype, name="classifier_pool")(x)
        precise = keras.dtype_policies.get(dtype or keras.config.dtype_policy()).variable_dtype
        x = keras.layers.Dense(CLASSES, dtype=precise, name="classifier")(x)
    return keras.Model(pictures, x, name=name)


def stages(model: keras.Model) -> dict[str, list[keras.layers.Layer]]:
    """Groups the layers that have weights by stage, ordered from input to output.

    Args:
        model: What `build` made.

    Returns:
        ``stem``, ``stage1`` to ``stage7``, ``head`` and, of a whole classifier, ``classifier``.

    Example:
        >>> list(stages(build()))[:3]
        ['stem', 'stage1', 'stage2']
    """
    found: dict[str, list[keras.layers.Layer]] = {}
    for layer in model.layers:
        if layer.weights:
            found.setdefault(layer.name.partition("_")[0], []).append(layer)
    return found


def load_weights(model: keras.Model, folder: Path) -> LoadReport:
    """Copies the weights of a folder into a model that `build` made.

    Args:
        model: The model, with logits or without.
        folder: Holds the file.

    Returns:
        What became of each tensor.

    Raises:
        PretrainedError: The file is missing, unreadable, or does not fit. The model is then unchanged.
    """
    path = Path(folder) / FILE
    if not path.is_file():
        raise PretrainedError(
            f"{path} does not exist; run `kerasft fetch efficientnet_lite0`, or give a folder that holds it"
        )
    return fill(list(_places(model)), read_torch(path), source=path)


def _block(x: Any, stage: _Stage, *, stride: int, dtype: Any, name: str) -> Any:
    """An inverted residual block, whose last convolution has no activation."""
    inside, filters = x, x.shape[-1]
    if stage.expansion > 1:
        inside = _convolved(x, filters * stage.expansion, 1, dtype=dtype, name=f"{name}_expand")
    inside = keras.layers.DepthwiseConv2D(
        stage.kernel, stride, padding="same", use_bias=False, dtype=dtype, name=f"{name}_depthwise_conv"
    )(inside)
    inside = _activated(inside, dtype=dtype, name=f"{name}_depthwise")
    inside = _convolved(inside, stage.filters, 1, activate=False, dtype=dtype, name=f"{name}_project")
    if stride == 1 and filters == stage.filters:
        return keras.layers.Add(dtype=dtype, name=f"{name}_add")([x, inside])
    return inside


def _convolved(
    x: Any, filters: int, kernel: int, *, stride: int = 1, activate: bool = True, dtype: Any, name: str
) -> Any:
    x = keras.layers.Conv2D(
        filters,
        kernel,
        stride,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        dtype=dtype,
        name=f"{name}_conv",
    )(x)
    return _activated(x, activate=activate, dtype=dtype, name=name)


def _activated(x: Any, *, activate: bool = True, dtype: Any, name: str) -> Any:
    x = keras.layers.BatchNormalization(epsilon=_EPSILON, dtype=dtype, name=f"{name}_norm")(x)
    return keras.layers.ReLU(6.0, dtype=dtype, name=f"{name}_relu")(x) if activate else x


def _places(model: keras.Model) -> Iterator[Place]:
    yield from _convolution(model, "stem", "_conv_stem", "_bn0")
    index = 0
    for number, stage in enumerate(_STAGES, start=1):
        for block in range(1, stage.blocks + 1):
            ours, theirs = f"stage{number}_block{block}", f"_blocks.{index}"
            if stage.expansion > 1:
                yield from _convolution(model, f"{ours}_expand", f"{theirs}._expand_conv", f"{theirs}._bn0")
            yield from _convolution(
                model, f"{ours}_depthwise", f"{theirs}._depthwise_conv", f"{theirs}._bn1", axes=_DEPTHWISE
            )
            yield from _convolution(model, f"{ours}_project", f"{theirs}._project_conv", f"{theirs}._bn2")
            index += 1
    yield from _convolution(model, "head", "_conv_head", "_bn1")
    if "classifier" in stages(model):
        classifier = model.get_layer("classifier")
        yield Place(tensor="_fc.weight", variable=classifier.kernel, layout=np.transpose)
        yield Place(tensor="_fc.bias", variable=classifier.bias)


def _convolution(
    model: keras.Model, name: str, convolution: str, norm: str, *, axes: tuple[int, ...] = _DENSE
) -> Iterator[Place]:
    """A convolution and the batch normalisation after it."""
    yield Place(
        tensor=f"{convolution}.weight",
        variable=model.get_layer(f"{name}_conv").kernel,
        layout=lambda kernel: kernel.transpose(axes),
    )
    layer = model.get_layer(f"{name}_norm")
    yield Place(tensor=f"{norm}.weight", variable=layer.gamma)
    yield Place(tensor=f"{norm}.bias", variable=layer.beta)
    yield Place(tensor=f"{norm}.running_mean", variable=layer.moving_mean)
    yield Place(tensor=f"{norm}.running_var", variable=layer.moving_variance)
