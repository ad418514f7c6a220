"""Scorers: how much a user likes an item, by name."""

from __future__ import annotations

from typing import Any

from kerasft_recommender.scorers.base import Scorer
from kerasft_recommender.scorers.gmf import GMF
from kerasft_recommender.scorers.mlp import MLP
from kerasft_recommender.scorers.neumf import NeuMF

SCORERS: dict[str, Any] = {"gmf": GMF, "mlp": MLP, "neumf": NeuMF}

__all__ = ["GMF", "MLP", "SCORERS", "NeuMF", "Scorer"]
