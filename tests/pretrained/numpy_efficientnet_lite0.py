"""EfficientNet-Lite0 in numpy, from the tensors of the file: a reference without Keras or PyTorch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from .numpy_layers import Array, convolve, convolve_channels, same

# A row a block: expansion, kernel, stride, filters.
BLOCKS = (
    (1, 3, 1, 16),
    *((6, 3, 2, 24), (6, 3, 1, 24)),
    *((6, 5, 2, 40), (6, 5, 1, 40)),
    *((6, 3, 2, 80), (6, 3, 1, 80), (6, 3, 1, 80)),
    *((6, 5, 1, 112), (6, 5, 1, 112), (6, 5, 1, 112)),
    *((6, 5, 2, 192), (6, 5, 1, 192), (6, 5, 1, 192), (6, 5, 1, 192)),
    (6, 3, 1, 320),
)
LAST = (0, 2, 4, 7, 10, 14, 15)  # the last block of each stage


def shapes() -> dict[str, tuple[int, ...]]:
    """Returns the shapes of the file's tensors by their names."""
    found: dict[str, tuple[int, ...]] = {}
    for convolution, norm, shape in _convolutions():
        found[f"{convolution}.weight"] = shape
        for kind in ("weight", "bias", "running_mean", "running_var"):
            found[f"{norm}.{kind}"] = (shape[0],)
        found[f"{norm}.num_batches_tracked"] = ()
    return {**found, "_fc.weight": (1000, 1280), "_fc.bias": (1000,)}


def forward(tensors: Mapping[str, Array], pictures: Array) -> tuple[list[Array], Array, Array]:
    """Returns what each stage makes, the features, and the logits, from red, green and blue."""
    made = []
    x = _normal(tensors, "_bn0", _same(tensors, "_conv_stem", (pictures - 127.0) / 128.0, stride=2))
    x = _relu6(x)
    for index, (expansion, _, stride, filters) in enumerate(BLOCKS):
        block, inside = f"_blocks.{index}", x
        if expansion > 1:
            inside = _same(tensors, f"{block}._expand_conv", inside)
            inside = _relu6(_normal(tensors, f"{block}._bn0", inside))
        inside = _same(tensors, f"{block}._depthwise_conv", inside, stride=stride)
        inside = _relu6(_normal(tensors, f"{block}._bn1", inside))
        inside = _normal(tensors, f"{block}._bn2", _same(tensors, f"{block}._project_conv", inside))
        x = x + inside if stride == 1 and x.shape[3] == filters else inside
        if index in LAST:
            made.append(x)
    features = _relu6(_normal(tensors, "_bn1", _same(tensors, "_conv_head", x)))
    logits = features.mean((1, 2)) @ tensors["_fc.weight"].T.astype(np.float64) + tensors["_fc.bias"]
    return made, features, logits


def _convolutions() -> Iterator[tuple[str, str, tuple[int, ...]]]:
    yield "_conv_stem", "_bn0", (32, 3, 3, 3)
    inputs = 32
    for index, (expansion, kernel, _, filters) in enumerate(BLOCKS):
        block, wide = f"_blocks.{index}", inputs * expansion
        if expansion > 1:
            yield f"{block}._expand_conv", f"{block}._bn0", (wide, inputs, 1, 1)
        yield f"{block}._depthwise_conv", f"{block}._bn1", (wide, 1, kernel, kernel)
        yield f"{block}._project_conv", f"{block}._bn2", (filters, wide, 1, 1)
        inputs = filters
    yield "_conv_head", "_bn1", (1280, 320, 1, 1)


def _same(tensors: Mapping[str, Array], name: str, x: Array, *, stride: int = 1) -> Array:
    kernel = tensors[f"{name}.weight"].astype(np.float64)
    size = kernel.shape[2]
    paddings = [same(length, size, stride) for length in x.shape[1:3]]
    x = np.pad(x, [(0, 0), *paddings, (0, 0)])
    if kernel.shape[1] == 1 and x.shape[3] > 1:
        return convolve_channels(x, kernel[:, 0].transpose(1, 2, 0), stride=stride, padding=(0, 0))
    return convolve(x, kernel.transpose(2, 3, 1, 0), stride=stride)


def _normal(tensors: Mapping[str, Array], name: str, x: Array) -> Array:
    scale, shift, mean, variance = (
        tensors[f"{name}.{kind}"].astype(np.float64)
        for kind in ("weight", "bias", "running_mean", "running_var")
    )
    return (x - mean) / np.sqrt(variance + 1e-3) * scale + shift


def _relu6(x: Array) -> Array:
    return np.clip(x, 0.0, 6.0)
