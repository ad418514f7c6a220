"""Rotary positions: vectors are turned, so that scores depend on distances only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops


def angles(
    positions: Any,
    size: int,
    *,
    base: float,
    stretch: float = 1.0,
    bands: Sequence[float] = (),
    waves: Sequence[float] = (),
    swell: float = 1.0,
) -> tuple[Any, Any]:
    """Returns cosines and sines of the angles by which `rotate` turns.

    Args:
        positions: int32 [batch or 1, length].
        size: Length of a vector.
        base: The largest wavelength, over 2 pi.
        stretch: What positions are divided by.
        bands: Which wavelengths are made longer, see `CausalSizes`.
        waves: What wavelengths are multiplied by, one by one.
        swell: What both are multiplied by.

    Returns:
        Two, float32 [batch or 1, 1, length, size / 2].
    """
    half = size // 2
    rates = np.exp(np.arange(half) * (-math.log(base) / half)) / stretch
    if bands:
        rates = _slowed(rates, *bands)
    if waves:
        rates = rates / np.array(waves)
    turned = ops.cast(positions, "float32")[:, None, :, None] * ops.convert_to_tensor(rates, "float32")
    return ops.cos(turned) * swell, ops.sin(turned) * swell


def _slowed(rates: np.ndarray, factor: float, low: float, high: float, context: float) -> np.ndarray:
    """Source: Grattafiori et al., 2024, "The Llama 3 Herd of Models", and its released configuration."""
    turns = context * rates / (2 * math.pi)  # of a wave over that context
    kept = np.clip((turns - low) / (high - low), 0.0, 1.0)
    return rates * (kept + (1.0 - kept) / factor)


def rotate(vectors: Any, turn: tuple[Any, Any]) -> Any:
    """Turns vectors by angles that grow with their position: scores then depend on distances only.

    Source: Su et al., 2021, "RoFormer", with the first half of a vector turned against the second.

    Args:
        vectors: float [batch, heads, length, size].
        turn: What `angles` returned; of a smaller size it leaves the end of vectors as it is.
    """
    half = turn[0].shape[-1]
    cosine, sine = (ops.cast(part, vectors.dtype) for part in turn)
    first, second, rest = vectors[..., :half], vectors[..., half : 2 * half], vectors[..., 2 * half :]
    turned = [first * cosine - second * sine, second * cosine + first * sine]
    return ops.concatenate([*turned, rest] if rest.shape[-1] else turned, axis=-1)
