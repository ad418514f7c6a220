"""Drawn shapes that move: data for whoever has none, and the example of the task."""

from __future__ import annotations

import numpy as np

from kerasft.errors import DataError

WAYS = ("down", "grow", "left", "right", "shrink", "up")
"""How they move, in the order of the alphabet."""

ADDRESS = "shapes:"
"""Address of the data."""

_SIZES = {"train": (720, 1), "test": (240, 2)}
_STEPS = {"down": (0, 1), "up": (0, -1), "right": (1, 0), "left": (-1, 0)}


def moving_shapes(part: str = "train") -> dict[str, object]:
    """Returns clips of shapes that move in one of six ways; no frame alone tells which.

    Args:
        part: "train" or "test".

    Returns:
        `clip`, uint8 `[clips, 8, 32, 32, 3]`, and `label`, one of `WAYS`.

    Raises:
        DataError: There is no such part.

    Example:
        >>> moving_shapes("test")["clip"].shape
        (240, 8, 32, 32, 3)
    """
    if part not in _SIZES:
        raise DataError(f"{ADDRESS}{part}: the shapes have the parts train and test, as in {ADDRESS}train")
    count, seed = _SIZES[part]
    return {"clip": draw(count, seed=seed), "label": [WAYS[number % len(WAYS)] for number in range(count)]}


def draw(count: int, *, frames: int = 8, side: int = 32, seed: int = 0) -> np.ndarray:
    """Draws clips; their ways are those of `WAYS` in turn.

    A shape leaves at one edge and comes back at the other, grows to its largest and begins anew, so places
    and sizes are the same for all ways.

    Args:
        count: How many clips.
        frames: Of a clip.
        side: Of a frame.
        seed: Of the random choices.

    Returns:
        uint8 `[count, frames, side, side, 3]`.
    """
    random = np.random.default_rng(seed)
    clips = np.empty((count, frames, side, side, 3), np.uint8)
    for number, clip in enumerate(clips):
        clip[:] = _clip(WAYS[number % len(WAYS)], frames, side, random)
    return clips


def _clip(way: str, frames: int, side: int, random: np.random.Generator) -> np.ndarray:
    y, x = (np.mgrid[:side, :side] + 0.5) / side
    ground, colour = random.integers(0, 110, 3), random.integers(130, 256, 3)
    (cx, cy), phase, power = random.random(2), random.random(), random.choice([1, 2, 8])
    speed, radius = random.uniform(0.06, 0.12), random.uniform(0.14, 0.24)
    pictures = np.empty((frames, side, side, 3))
    for time, picture in enumerate(pictures):
        across, down = _STEPS.get(way, (0, 0))
        size = radius
        if way in ("grow", "shrink"):
            passed = (phase + speed * time) % 1
            size = 0.1 + 0.25 * (passed if way == "grow" else 1 - passed)
        # The distance over the edges, as on a torus.
        dx, dy = (
            np.abs((at - centre - step * speed * time + 0.5) % 1 - 0.5)
            for at, centre, step in ((x, cx, across), (y, cy, down))
        )
        inside = dx**power + dy**power < size**power
        picture[:] = np.where(inside[..., None], colour, ground)
    noisy = pictures + random.normal(0, 8, pictures.shape)
    return np.clip(np.round(noisy), 0, 255).astype(np.uint8)
