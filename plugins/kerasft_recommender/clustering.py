"""Lists of vectors that lie close together, none of them long."""

from __future__ import annotations

import numpy as np

_CHUNK = 16_384
_PER_CENTRE = 32
_PASSES = 8
_UNEVEN = 2


def clusters(points: np.ndarray, count: int, *, seed: int) -> list[np.ndarray]:
    """Cuts points into lists of neighbours, none more than twice as long as the mean.

    Lloyd's k-means over a sample of 32 points a list, chunk by chunk; a centre that lost all its points
    starts anew at a point far from its own. A list that came out too long is cut across the direction in
    which it is longest. Source: Lloyd, 1982, "Least Squares Quantization in PCM".

    Args:
        points: float32 `[points, width]`.
        count: How many lists; more come of cutting long ones.
        seed: Draws the sample and the first centres.

    Returns:
        The rows of the points of each list, every row in one list.

    Example:
        >>> points = np.array([[0.0], [0.1], [5.0], [5.1]], np.float32)
        >>> sorted(rows.tolist() for rows in clusters(points, 2, seed=0))
        [[0, 1], [2, 3]]
    """
    count = max(1, min(count, len(points)))
    random = np.random.default_rng(seed)
    sample = points
    if len(points) > count * _PER_CENTRE:
        sample = points[random.choice(len(points), count * _PER_CENTRE, replace=False)]
    centres = sample[random.choice(len(sample), count, replace=False)]
    for _ in range(_PASSES):
        labels, distances = nearest(sample, centres)
        sums, sizes = _sums(sample, labels, count)
        lost = np.flatnonzero(sizes == 0)
        centres = sums / np.maximum(sizes, 1)[:, None]
        centres[lost] = sample[np.argsort(-distances)[: len(lost)]]
    labels, _ = nearest(points, centres)
    order = np.argsort(labels, kind="stable")
    ends = np.cumsum(np.bincount(labels, minlength=count))
    most = max(1, -(-_UNEVEN * len(points) // count))
    parts = [part for part in np.split(order, ends[:-1]) if len(part)]
    return [piece for part in parts for piece in _pieces(points, part, most)]


def nearest(points: np.ndarray, centres: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the centre nearest to each point, and the squared distance less the point's squared length."""
    lengths = np.sum(np.square(centres), 1)
    labels = np.empty(len(points), np.int64)
    distances = np.empty(len(points), np.float32)
    for start in range(0, len(points), _CHUNK):
        part = slice(start, start + _CHUNK)
        far = lengths - 2.0 * (points[part] @ centres.T)
        labels[part] = far.argmin(1)
        distances[part] = np.take_along_axis(far, labels[part][:, None], 1)[:, 0]
    return labels, distances


def _sums(points: np.ndarray, labels: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Sum and number of the points of each label."""
    order = np.argsort(labels, kind="stable")
    present, starts = np.unique(labels[order], return_index=True)
    sums = np.zeros((count, points.shape[1]), np.float32)
    sums[present] = np.add.reduceat(points[order], starts, axis=0)
    return sums, np.bincount(labels, minlength=count)


def _pieces(points: np.ndarray, rows: np.ndarray, most: int) -> list[np.ndarray]:
    if len(rows) <= most:
        return [rows]
    centred = points[rows] - points[rows].mean(0)
    direction = np.linalg.eigh(centred.T @ centred)[1][:, -1]
    order = rows[np.argsort(centred @ direction, kind="stable")]
    half = len(order) // 2
    return [*_pieces(points, order[:half], most), *_pieces(points, order[half:], most)]
