"""VGG16's convolutions in numpy, from the tensors of the file: a reference without Keras."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .numpy_layers import Array, convolve, halve_by_maximum

MEAN = (104.00699, 116.66877, 122.67892)  # blue, green, red
FILTERS = (64, 128, 256, 512, 512)


def shapes() -> dict[str, tuple[int, ...]]:
    """Returns the shapes of the file's tensors by their names."""
    found: dict[str, tuple[int, ...]] = {}
    inputs = 3
    for block, filters in enumerate(FILTERS, start=1):
        for name in ("conv2d", "conv2d_1", "conv2d_2")[: 2 if block < 3 else 3]:
            found[f"block{block}/layers/{name}/vars/0"] = (3, 3, inputs, filters)
            found[f"block{block}/layers/{name}/vars/1"] = (filters,)
            inputs = filters
    return found


def forward(tensors: Mapping[str, Array], pictures: Array) -> list[Array]:
    """Returns what each block makes, before its pooling, from pictures of red, green and blue."""
    x = pictures[..., ::-1].astype(np.float64) - MEAN
    made = []
    for block in range(1, 6):
        for name in ("conv2d", "conv2d_1", "conv2d_2")[: 2 if block < 3 else 3]:
            kernel, bias = (tensors[f"block{block}/layers/{name}/vars/{i}"] for i in range(2))
            x = np.maximum(convolve(x, kernel, padding=(1, 1)) + bias, 0)
        made.append(x)
        x = halve_by_maximum(x)
    return made
