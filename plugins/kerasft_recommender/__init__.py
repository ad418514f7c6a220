"""Recommendations for kerasft: from choices and ratings to a SavedModel that answers a user with items.

Importing this package loads neither TensorFlow nor Keras; `kerasft.create("recommender")` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kerasft_recommender.config import RecommenderConfig
    from kerasft_recommender.generated import films, ratings
    from kerasft_recommender.task import Recommender

__all__ = ["Recommender", "RecommenderConfig", "films", "ratings"]

_HOMES = {
    "Recommender": "task",
    "RecommenderConfig": "config",
    "films": "generated",
    "ratings": "generated",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
