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
    """
    random = np.random.default_rng(seed)
    places = random.uniform(0.0, 1.0 - epsilon, (len(starts), *[1] * (starts.ndim - 1)))
    before, after = (
        extractor(synthesize((starts + at * (ends - starts)).astype(np.float32)))
        for at in (places, places + epsilon)
    )
    lengths = np.square(after.astype(np.float64) - before).sum(axis=1) / epsilon**2
    low, high = np.percentile(lengths, [1, 99], method="nearest")
    return float(lengths[(lengths >= low) & (lengths <= high)].mean())
