"""Whether made pictures lie among the real ones, and the real ones among the made."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from kerasft.errors import ConfigError
from kerasft.metrics.features import Features, check_comparable

_BLOCK = 1024


def precision_recall(real: Features, made: Features, *, neighbours: int = 5) -> dict[str, float]:
    """Returns precision, recall, density and coverage.

    A set covers the balls around its members that reach to their k-th neighbour. Precision is the share of
    made pictures inside real balls, recall the reverse; density counts the real balls that a made picture is
    in, over k; coverage is the share of real balls with a made picture inside.
    Source: Kynkäänniemi et al., 2019, "Improved Precision and Recall Metric for Assessing Generative Models";
    Naeem et al., 2020, "Reliable Fidelity and Diversity Metrics for Generative Models".

    Args:
        real: More pictures than `neighbours`.
        made: More pictures than `neighbours`, of the same extractor.
        neighbours: k.

    Raises:
        ConfigError: The extractors differ, or there are too few pictures.
    """
    check_comparable(real, made)
    one, other = real.values.astype(np.float64), made.values.astype(np.float64)
    if min(len(one), len(other)) <= neighbours:
        raise ConfigError(
            f"precision and recall with {neighbours} neighbours need more pictures than {len(one)} real and "
            f"{len(other)} made ones"
        )
    reach_real, reach_made = _reach(one, neighbours), _reach(other, neighbours)
    inside_real = np.zeros(len(other))
    inside_made = np.zeros(len(one), bool)
    covered = np.zeros(len(one), bool)
    for rows, distances in _blocks(one, other):
        within = distances < reach_real[rows, None]
        inside_real += within.sum(axis=0)
        inside_made[rows] = (distances < reach_made[None]).any(axis=1)
        covered[rows] = within.any(axis=1)
    return {
        "precision": float((inside_real > 0).mean()),
        "recall": float(inside_made.mean()),
        "density": float(inside_real.mean() / neighbours),
        "coverage": float(covered.mean()),
    }


def nearest(real: Features, made: Features, *, other: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Returns, for each made picture, the index of the nearest real one and its distance.

    A distance near 0 is a picture learned by heart.

    Args:
        real: At least one picture; two with `other`.
        made: Of the same extractor.
        other: Both are one and the same set, of which the nearest other member is wanted.

    Raises:
        ConfigError: The extractors differ.
    """
    check_comparable(real, made)
    parts = []
    for rows, distances in _blocks(made.values.astype(np.float64), real.values.astype(np.float64)):
        if other:
            distances[np.arange(len(distances)), np.arange(rows.start, rows.stop)] = np.inf
        parts.append((distances.argmin(axis=1), distances.min(axis=1)))
    return np.concatenate([index for index, _ in parts]), np.concatenate([least for _, least in parts])


def _reach(points: np.ndarray, neighbours: int) -> np.ndarray:
    # The nearest of all is the point itself.
    parts = [
        np.partition(distances, neighbours, axis=1)[:, neighbours] for _, distances in _blocks(points, points)
    ]
    return np.concatenate(parts)


def _blocks(one: np.ndarray, other: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Yields the distances of some rows of `one` to all of `other` at a time, to bound memory."""
    squares = np.square(other).sum(axis=1)
    for start in range(0, len(one), _BLOCK):
        rows = slice(start, min(start + _BLOCK, len(one)))
        part = one[rows]
        squared = np.square(part).sum(axis=1)[:, None] + squares - 2.0 * part @ other.T
        yield rows, np.sqrt(squared.clip(0.0))
