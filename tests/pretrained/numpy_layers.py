"""Layers of convolutional networks in numpy, from their definitions: no code of Keras or PyTorch.

Pictures are `[batch, height, width, channels]` in float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def convolve(x: Array, kernel: Array, *, stride: int = 1, padding: tuple[int, int] = (0, 0)) -> Array:
    """Correlates with a kernel `[height, width, in, out]`; `padding` is before and after, on both axes."""
    x = _padded(x, padding)
    size, height, width = kernel.shape[0], *_outputs(x, kernel.shape[0], stride)
    out = np.zeros((len(x), height, width, kernel.shape[3]))
    for i in range(size):
        for j in range(size):
            out += x[:, i : i + stride * height : stride, j : j + stride * width : stride] @ kernel[i, j]
    return out


def convolve_channels(x: Array, kernel: Array, *, stride: int = 1, padding: tuple[int, int]) -> Array:
    """Correlates each channel with its own kernel, `[height, width, channels]`."""
    x = _padded(x, padding)
    size, height, width = kernel.shape[0], *_outputs(x, kernel.shape[0], stride)
    out = np.zeros((len(x), height, width, x.shape[3]))
    for i in range(size):
        for j in range(size):
            out += x[:, i : i + stride * height : stride, j : j + stride * width : stride] * kernel[i, j]
    return out


def halve_by_maximum(x: Array) -> Array:
    """Takes the largest of each 2x2 square; an odd last row or column is left out."""
    height, width = x.shape[1] // 2, x.shape[2] // 2
    return x[:, : 2 * height, : 2 * width].reshape(len(x), height, 2, width, 2, -1).max((2, 4))


def same(length: int, size: int, stride: int) -> tuple[int, int]:
    """Returns TensorFlow's padding "same": what is odd comes after."""
    total = max((-(-length // stride) - 1) * stride + size - length, 0)
    return total // 2, total - total // 2


def _padded(x: Array, padding: tuple[int, int]) -> Array:
    return np.pad(x.astype(np.float64), [(0, 0), padding, padding, (0, 0)])


def _outputs(x: Array, size: int, stride: int) -> tuple[int, int]:
    return (x.shape[1] - size) // stride + 1, (x.shape[2] - size) // stride + 1
