from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import pytest

import kerasft_face.task  # noqa: F401  registers the task where no entry point does

TINY = {
    "resolution": 8,
    "network": {"base": 64, "max_channels": 8, "z_dim": 8, "w_dim": 8, "mapping_depth": 1},
    "game": {"r1_every": 2, "path_every": 2, "path_weight": 2.0},
    "samples": {"count": 0},
    "metrics": {"samples": 8, "path_samples": 5},
    "training": {"batch_size": 4, "epochs": 2},
}
"""The smallest networks that have all parts."""


@pytest.fixture(autouse=True)
def _same_weights() -> None:
    keras.utils.set_random_seed(0)


@pytest.fixture
def tiny() -> dict[str, Any]:
    return TINY


@pytest.fixture(scope="session")
def discs() -> Callable[..., np.ndarray]:
    """Draws discs of a random colour, size and place on a dark ground, uint8."""

    def draw(count: int, side: int, *, seed: int = 0) -> np.ndarray:
        random = np.random.default_rng(seed)
        y, x = (np.mgrid[: 4 * side, : 4 * side] + 0.5) / (4 * side)
        pictures = np.empty((count, side, side, 3), np.uint8)
        for picture in pictures:
            (cx, cy), radius = random.uniform(0.35, 0.65, 2), random.uniform(0.15, 0.3)
            colour, ground = random.uniform(100, 255, 3), random.uniform(10, 60)
            inside = ((x - cx) ** 2 + (y - cy) ** 2 < radius**2)[..., None]
            fine = np.where(inside, colour, ground)
            picture[:] = fine.reshape(side, 4, side, 4, 3).mean((1, 3)).round()
        return pictures

    return draw


@pytest.fixture
def double() -> Iterator[None]:
    """Makes layers compute in float64, for finite differences."""
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_dtype_policy("float32")
