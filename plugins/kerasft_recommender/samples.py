"""A few made-up rows: for warm-up, the model card and the conformance kit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kerasft_recommender.config import FeatureConfig

_ROWS = 6
_VALUES: dict[str, Callable[[int, Any], Any]] = {
    "categorical": lambda i, width: f"value {i % 3}",
    "multi": lambda i, width: f"value {i % 3}",
    "sequence": lambda i, width: f"value {i % 3}",
    "numeric": lambda i, width: 0.5 * i,
    "embedding": lambda i, width: np.full(width, 1.0 + i, np.float32),
}


def rows(context: Sequence[FeatureConfig], *, rated: bool) -> dict[str, list[Any]]:
    """Returns rows that fit every signature and training: column to values.

    Args:
        context: Features that come with each row.
        rated: Whether there are ratings.

    Example:
        >>> rows([], rated=False)["user_id"]
        ['ann', 'ann', 'bob', 'bob', 'cy', 'cy']
    """
    moment = {f.name: [_VALUES[f.kind](i, f.width) for i in range(_ROWS)] for f in context}
    ratings = {"rating": [5.0, 2.0, 4.0, 3.0, 1.0, 5.0]} if rated else {}
    return {
        **moment,
        **ratings,
        "user_id": ["ann", "ann", "bob", "bob", "cy", "cy"],
        "item_id": ["tea", "milk", "tea", "rice", "milk", "rice"],
        "timestamp": [1, 2, 1, 3, 2, 4],
        "k": [2, 2, 2, 2, 2, 2],
        "exclude_seen": [True, False, True, False, True, True],
        "item_ids": [["tea"], ["milk", "rice"], ["rice"], ["tea", "milk"], ["oat"], ["tea"]],
    }
