"""Drawn discs and squares: the example of the task, when it has seen no pictures."""

from __future__ import annotations

import numpy as np


def shapes(count: int, side: int, *, seed: int = 0) -> np.ndarray:
    """Draws a disc, a square, a disc and so on, each in a colour, size and place of its own.

    Args:
        count: How many.
        side: Of a picture.
        seed: Of the random choices.

    Returns:
        uint8 `[count, side, side, 3]`.

    Example:
        >>> shapes(3, 16).shape
        (3, 16, 16, 3)
    """
    random = np.random.default_rng(seed)
    y, x = (np.mgrid[:side, :side] + 0.5) / side
    pictures = np.empty((count, side, side, 3), np.uint8)
    for number, picture in enumerate(pictures):
        (cx, cy), radius = random.uniform(0.35, 0.65, 2), random.uniform(0.2, 0.3)
        ground, colour = random.integers(0, 80, 3), random.integers(140, 256, 3)
        dx, dy = np.abs(x - cx), np.abs(y - cy)
        inside = (dx**2 + dy**2 < radius**2) if number % 2 == 0 else (np.maximum(dx, dy) < radius)
        picture[:] = np.where(inside[..., None], colour, ground)
    return pictures
