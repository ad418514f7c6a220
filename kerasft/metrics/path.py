"""How smoothly pictures follow their latents."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kerasft.metrics.extractors import Extractor


def perceptual_path_length(
    synthesize: Callable[[np.ndarray], np.ndarray],
    starts: np.ndarray,
    ends: np.ndarray,
    *,
    extractor: Extractor,
    epsilon: float = 1e-2,
    seed: int = 0,
    batch_size: int = 64,
) -> float:
    """Returns the mean squared change of features for a small step between latents, over the step squared.

    Steps lie at random places on the lines from `starts` to `ends`; the smallest and largest hundredth is
    left out. Pictures of 8 bits hide changes below half a level, so the step is larger than the paper's.
    Source: Karras et al., 2019, "A Style-Based Generator Architecture for Generative Adversarial Networks".

    Args:
        synthesize: From latents `[pictures, ...]` to uint8 `[pictures, height, width, 3]`.
        starts: Latents `[pictures, ...]`.
        ends: As many.
        extractor: Of the features.
        epsilon: Length of the step, as a share of the line.
        seed: Draws the places.
        batch_size: Pictures at once.
    """
    random = np.random.default_rng(seed)
    places = random.uniform(0.0, 1.0 - epsilon, (len(starts), *[1] * (starts.ndim - 1)))
    parts = []
    for first in range(0, len(starts), batch_size):
        rows = slice(first, first + batch_size)
        start, way = starts[rows], ends[rows] - starts[rows]
        before, after = (
            extractor(synthesize((start + at * way).astype(np.float32)))
            for at in (places[rows], places[rows] + epsilon)
        )
        parts.append(np.square(after.astype(np.float64) - before).sum(axis=1) / epsilon**2)
    lengths = np.concatenate(parts)
    low, high = np.percentile(lengths, [1, 99], method="nearest")
    return float(lengths[(lengths >= low) & (lengths <= high)].mean())
