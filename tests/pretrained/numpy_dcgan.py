"""DCGAN's generator in numpy, from the tensors of the file: a reference without Keras or PyTorch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .numpy_layers import Array

FILTERS = (512, 256, 128, 64)
LATENT = 100


def shapes(filters: Sequence[int] = FILTERS, latent: int = LATENT) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of the file's tensors by their names."""
    found: dict[str, tuple[int, ...]] = {}
    inputs = latent
    for number, outputs in enumerate((*filters, 3)):
        found[f"netG_state_dict.main.{3 * number}.weight"] = (inputs, outputs, 4, 4)
        if outputs != 3:
            norm = f"netG_state_dict.main.{3 * number + 1}"
            found |= {
                f"{norm}.{kind}": (outputs,) for kind in ("weight", "bias", "running_mean", "running_var")
            }
            found[f"{norm}.num_batches_tracked"] = ()
        inputs = outputs
    return found


def forward(tensors: Mapping[str, Array], z: Array) -> Array:
    """Returns pictures `[batch, height, width, 3]`, -1 to 1."""
    t = {name.removeprefix("netG_state_dict.main."): value for name, value in tensors.items()}
    x, number = z[:, None, None].astype(np.float64), 0
    while f"{number}.weight" in t:
        x = _spread(x, t[f"{number}.weight"].astype(np.float64), stride=2 if number else 1)
        if f"{number + 1}.weight" not in t:
            break
        scale, shift, mean, variance = (
            t[f"{number + 1}.{kind}"].astype(np.float64)
            for kind in ("weight", "bias", "running_mean", "running_var")
        )
        x = np.maximum((x - mean) / np.sqrt(variance + 1e-5) * scale + shift, 0.0)
        number += 3
    return np.tanh(x)


def _spread(x: Array, kernel: Array, *, stride: int) -> Array:
    """Adds a kernel, weighted by each pixel, at its place; one pixel is cut from each edge of a doubling."""
    count, height, width, _ = x.shape
    out = np.zeros((count, stride * (height - 1) + 4, stride * (width - 1) + 4, kernel.shape[1]))
    for i in range(height):
        for j in range(width):
            part = np.einsum("ni,ioyx->nyxo", x[:, i, j], kernel)
            out[:, i * stride : i * stride + 4, j * stride : j * stride + 4] += part
    return out[:, 1:-1, 1:-1] if stride == 2 else out
