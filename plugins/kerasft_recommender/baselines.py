"""Recommenders without training, which a trained one should beat."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kerasft_recommender.histories import Histories

Scores = Callable[[np.ndarray], np.ndarray]

_MOST_EASE_ITEMS = 10_000


def popularity(histories: Histories) -> Scores:
    """Returns what scores each item by how many users chose it.

    Example:
        >>> seen = Histories(np.array([1, 2]), np.array([1, 1]), user_rows=3, item_rows=3)
        >>> popularity(seen)(np.array([2])).tolist()
        [[0.0, 2.0, 0.0]]
    """
    counts = histories.popularity.astype(np.float32)
    return lambda users: np.broadcast_to(counts, (len(users), len(counts))).copy()


def ease(histories: Histories, *, penalty: float = 500.0) -> Scores | None:
    """Returns what scores items by the linear model that predicts each choice from all others.

    Source: Steck, 2019, "Embarrassingly Shallow Autoencoders for Sparse Data", equation 8.

    Args:
        histories: Who chose what.
        penalty: L2 regularisation of the weights.

    Returns:
        Scores of users, `[users, items]`; None where there are so many items that the inverse of a matrix of
        items by items would take minutes.
    """
    chosen = np.flatnonzero(histories.popularity)
    if len(chosen) > _MOST_EASE_ITEMS:
        return None
    column = np.full(histories.item_rows, -1)
    column[chosen] = np.arange(len(chosen))

    def dense(users: np.ndarray) -> np.ndarray:
        positions, items = histories.pairs_of(users)
        matrix = np.zeros((len(users), len(chosen)), np.float32)
        matrix[positions, column[items]] = 1.0
        return matrix

    gram = np.zeros((len(chosen), len(chosen)), np.float32)
    for start in range(0, histories.user_rows, 1024):
        block = dense(np.arange(start, min(start + 1024, histories.user_rows)))
        gram += block.T @ block
    gram[np.diag_indices_from(gram)] += penalty
    inverse = np.linalg.inv(gram)
    weights = inverse / -np.diag(inverse)
    weights[np.diag_indices_from(weights)] = 0.0

    def scores(users: np.ndarray) -> np.ndarray:
        result = np.full((len(users), histories.item_rows), -np.inf, np.float32)
        result[:, chosen] = dense(users) @ weights
        return result

    return scores


BASELINES: dict[str, Callable[[Histories], Scores | None]] = {"popularity": popularity, "ease": ease}
