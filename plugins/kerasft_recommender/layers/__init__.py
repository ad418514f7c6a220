"""Layers of recommenders."""

from __future__ import annotations

from kerasft_recommender.layers.cross import Cross, Pairs
from kerasft_recommender.layers.fields import Fields
from kerasft_recommender.layers.table import Table

__all__ = ["Cross", "Fields", "Pairs", "Table"]
