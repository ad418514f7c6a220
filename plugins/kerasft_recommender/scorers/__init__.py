"""Scorers: how much a user likes an item, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kerasft_recommender.scorers.base import Scorer
from kerasft_recommender.scorers.gmf import GMF
from kerasft_recommender.scorers.mlp import MLP
from kerasft_recommender.scorers.neumf import NeuMF
from kerasft_recommender.scorers.sasrec import SASRec

if TYPE_CHECKING:
    from kerasft_recommender.catalogue import Catalogue
    from kerasft_recommender.config import NetworkConfig

SCORERS: dict[str, Any] = {"gmf": GMF, "mlp": MLP, "neumf": NeuMF, "sasrec": SASRec}

__all__ = ["GMF", "MLP", "SCORERS", "NeuMF", "SASRec", "Scorer", "make_scorer"]


def make_scorer(name: str, network: NetworkConfig, catalogue: Catalogue) -> Any:
    """Returns a scorer by its name in the config."""
    if name == "sasrec":
        return SASRec(
            catalogue,
            width=network.factors,
            blocks=network.blocks,
            heads=network.heads,
            length=network.length,
            dropout=network.dropout,
            deviation=network.deviation,
            name="scorer",
        )
    sizes: dict[str, Any] = {"factors": network.factors, "layers": network.layers}
    wanted = {"gmf": ("factors",), "mlp": ("layers",), "neumf": ("factors", "layers")}[name]
    return SCORERS[name](
        user_rows=catalogue.users.capacity,
        item_rows=catalogue.items.capacity,
        deviation=network.deviation,
        name="scorer",
        **{size: sizes[size] for size in wanted},
    )
