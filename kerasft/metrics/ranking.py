"""How well a ranking puts first what is relevant, and how varied it is."""

from __future__ import annotations

import numpy as np

Array = np.ndarray


def ranks(scores: Array, rows: Array, columns: Array) -> Array:
    """Returns the places of some entries in their rows, from 0 for the best.

    Entries that equal each other share the mean of their places, so that a constant ranks like chance. What
    is -inf takes no part.

    Args:
        scores: float `[rows, columns]`, higher is better.
        rows: Row of each entry, int `[n]`.
        columns: Column of each entry, int `[n]`.

    Returns:
        float64 `[n]`; the number of columns that take part where the entry itself does not.

    Example:
        >>> ranks(np.array([[0.5, 2.0, 1.0, 1.0]]), np.array([0, 0, 0]), np.array([1, 2, 0])).tolist()
        [0.0, 1.5, 3.0]
    """
    own = scores[rows, columns][:, None]
    taken = scores[rows]
    higher = (taken > own).sum(1)
    places = higher + ((taken == own).sum(1) - 1) / 2
    return np.where(own[:, 0] == -np.inf, higher, places)


def ranking_scores(places: Array, users: Array, *, k: int) -> dict[str, float]:
    """Scores the places that relevant items have in the rankings of their users, as means over users.

    Args:
        places: Place of each relevant item, from 0, float `[n]`; see `ranks`.
        users: To whose ranking it belongs, int `[n]`, in any order.
        k: Length of the list that a user sees.

    Returns:
        "hr" (share of users with a relevant item in the list), "ndcg" (gain 1, discount log2 of the place,
        over that of the best list), "map", "recall", "precision", each "@k", and "mrr" (whole ranking).
        Source: Järvelin and Kekäläinen, 2002, for NDCG; Manning et al., 2008, chapter 8, for the others.

    Raises:
        ValueError: there is no item, or `k` is less than 1.

    Example:
        >>> found = ranking_scores(np.array([0.0, 4.0, 1.0]), np.array([7, 7, 9]), k=2)
        >>> found["hr@2"], found["recall@2"], found["precision@2"], found["mrr"]
        (1.0, 0.75, 0.5, 0.75)
    """
    if not len(places) or k < 1:
        raise ValueError(f"{len(places)} relevant items and k = {k}: both must be at least 1")
    order = np.lexsort((places, users))
    places, users = np.asarray(places, np.float64)[order], np.asarray(users)[order]
    starts = np.flatnonzero(np.r_[True, users[1:] != users[:-1]])
    relevant = np.diff(np.r_[starts, len(users)])
    hit = places < k
    hits = np.add.reduceat(hit, starts)
    number = np.arange(len(places)) - np.repeat(starts, relevant) + 1
    most = np.minimum(relevant, k)
    ideal = np.cumsum(1.0 / np.log2(np.arange(k) + 2))
    gain = np.add.reduceat(np.where(hit, 1.0 / np.log2(places + 2), 0.0), starts)
    average = np.add.reduceat(np.where(hit, number / (places + 1), 0.0), starts)
    values = {
        f"hr@{k}": hits > 0,
        f"ndcg@{k}": gain / ideal[most - 1],
        f"map@{k}": average / most,
        f"recall@{k}": hits / relevant,
        f"precision@{k}": hits / k,
        "mrr": 1.0 / (places[starts] + 1),
    }
    return {name: float(np.mean(value)) for name, value in values.items()}


def variety_scores(lists: Array, popularity: Array, *, k: int) -> dict[str, float]:
    """Says how much of a catalogue is recommended, and how unusual it is.

    Args:
        lists: Recommended items, int `[users, k]`; negative ones stand for none.
        popularity: How often each item was chosen, `[items]`.
        k: Length of a list, for the names.

    Returns:
        "coverage@k", the share of items that are in any list, and "novelty@k", the mean of -log2 of an item's
        share of all choices (bits; an item that was never chosen counts as if once). Source: Vargas and
        Castells, 2011, "Rank and Relevance in Novelty and Diversity Metrics".

    Example:
        >>> variety_scores(np.array([[0, 1], [0, -1]]), np.array([2, 1, 1, 0]), k=2)
        {'coverage@2': 0.5, 'novelty@2': 1.3333333333333333}
    """
    shown = lists[lists >= 0]
    share = np.maximum(popularity, 1) / max(1, popularity.sum())
    novelty = float(np.mean(-np.log2(share[shown]))) if len(shown) else 0.0
    return {f"coverage@{k}": len(np.unique(shown)) / len(popularity), f"novelty@{k}": novelty}


def roc_auc(scores: Array, labels: Array) -> float:
    """Returns the chance that a positive scores higher than a negative, ties counting half.

    Args:
        scores: float `[n]`.
        labels: bool or 0 and 1, `[n]`.

    Returns:
        Between 0 and 1; NaN unless there are both positives and negatives.

    Example:
        >>> roc_auc(np.array([0.1, 0.4, 0.35, 0.8]), np.array([0, 0, 1, 1]))
        0.75
    """
    return grouped_roc_auc(scores, labels, np.zeros(len(scores), np.int64))


def grouped_roc_auc(scores: Array, labels: Array, groups: Array) -> float:
    """Returns the mean over groups of `roc_auc`, of the groups that have both positives and negatives.

    Args:
        scores: float `[n]`.
        labels: bool or 0 and 1, `[n]`.
        groups: Of each entry, such as its user, int `[n]`.

    Example:
        >>> grouped_roc_auc(np.array([1.0, 2.0, 3.0, 1.0]), np.array([0, 1, 0, 1]), np.array([5, 5, 6, 6]))
        0.5
    """
    order = np.lexsort((scores, groups))
    scores, positive = np.asarray(scores)[order], np.asarray(labels, bool)[order]
    _, group, sizes = np.unique(np.asarray(groups)[order], return_inverse=True, return_counts=True)
    starts = np.cumsum(sizes) - sizes
    changes = np.r_[True, (scores[1:] != scores[:-1]) | (group[1:] != group[:-1])]
    tied = np.cumsum(changes) - 1
    count = np.bincount(tied)
    # The mean place, from 1, of those that tie, in their group.
    place = (np.cumsum(count) - (count - 1) / 2)[tied] - starts[group]
    positives = np.bincount(group, weights=positive)
    negatives = sizes - positives
    both = (positives > 0) & (negatives > 0)
    if not both.any():
        return float("nan")
    sums = np.bincount(group, weights=np.where(positive, place, 0.0))[both]
    positives, negatives = positives[both], negatives[both]
    return float(np.mean((sums - positives * (positives + 1) / 2) / (positives * negatives)))
