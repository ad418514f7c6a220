"""Distances between two sets of features."""

from __future__ import annotations

import numpy as np

from kerasft.errors import ConfigError
from kerasft.metrics.features import Features, check_comparable


def frechet(real: Features, made: Features) -> float:
    """Returns the Fréchet distance of two Gaussians fitted to features, known as FID.

    Source: Heusel et al., 2017, "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash
    Equilibrium": |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)).

    Args:
        real: At least two pictures.
        made: At least two pictures, of the same extractor.

    Raises:
        ConfigError: The extractors differ, or there are too few pictures.

    Example:
        >>> one = Features(np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 0.0]], np.float32), "any")
        >>> round(frechet(one, Features(one.values + 1.0, "any")), 5)
        2.0
    """
    check_comparable(real, made)
    return _frechet(_enough(real), _enough(made))


def frechet_relative(real: Features, made: Features) -> float:
    """Returns `frechet` of features divided by their standard deviation in the real set.

    Features of random or foreign networks have scales that mean nothing; those of no variance are left out.

    Raises:
        ConfigError: The extractors differ, or there are too few pictures.
    """
    check_comparable(real, made)
    one, other = _enough(real), _enough(made)
    scale = one.std(axis=0)
    varies = scale > 1e-6 * np.abs(one).max(axis=0)
    return _frechet(one[:, varies] / scale[varies], other[:, varies] / scale[varies])


def kernel_distance(
    real: Features, made: Features, *, subsets: int = 50, size: int = 500, seed: int = 0
) -> float:
    """Returns the unbiased squared maximum mean discrepancy under a cubic kernel, known as KID.

    Source: Bińkowski et al., 2018, "Demystifying MMD GANs": k(x, y) = (x . y / features + 1)^3, the mean over
    random subsets.

    Args:
        real: At least two pictures.
        made: At least two pictures, of the same extractor.
        subsets: How many subsets.
        size: Pictures in one, of each set; at most those that there are.
        seed: Draws the subsets.

    Raises:
        ConfigError: The extractors differ, or there are too few pictures.
    """
    check_comparable(real, made)
    one, other = _enough(real), _enough(made)
    random, size = np.random.default_rng(seed), min(size, len(one), len(other))
    values = []
    for _ in range(subsets):
        a, b = (x[random.choice(len(x), size, replace=False)] for x in (one, other))
        within = [(x @ x.T / x.shape[1] + 1.0) ** 3 for x in (a, b)]
        across = (a @ b.T / a.shape[1] + 1.0) ** 3
        off_diagonal = sum(k.sum() - np.trace(k) for k in within) / (size * (size - 1))
        values.append(off_diagonal - 2.0 * across.mean())
    return float(np.mean(values))


def _frechet(one: np.ndarray, other: np.ndarray) -> float:
    difference = one.mean(axis=0) - other.mean(axis=0)
    first, second = (np.atleast_2d(np.cov(x, rowvar=False)) for x in (one, other))
    # tr (C1 C2)^(1/2) = tr (C1^(1/2) C2 C1^(1/2))^(1/2), whose matrix is symmetric.
    values, vectors = np.linalg.eigh(first)
    root = (vectors * np.sqrt(values.clip(0.0))) @ vectors.T
    product = np.linalg.eigvalsh(root @ second @ root).clip(0.0)
    spread = np.trace(first) + np.trace(second) - 2.0 * np.sqrt(product).sum()
    return max(0.0, float(difference @ difference + spread))


def _enough(features: Features) -> np.ndarray:
    if len(features.values) < 2:
        raise ConfigError(f"a distance needs at least two pictures, not {len(features.values)}")
    return features.values.astype(np.float64)
