"""Layers of recommenders."""

from __future__ import annotations

from kerasft_recommender.layers.table import Table

__all__ = ["Table"]
