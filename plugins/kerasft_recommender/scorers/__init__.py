"""Scorers: how much a user likes an item, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kerasft_recommender.scorers.base import Scorer
from kerasft_recommender.scorers.dcn import DCN
from kerasft_recommender.scorers.deepfm import DeepFM
from kerasft_recommender.scorers.gmf import GMF
from kerasft_recommender.scorers.mlp import MLP
from kerasft_recommender.scorers.neumf import NeuMF
from kerasft_recommender.scorers.sasrec import SASRec
from kerasft_recommender.scorers.two_tower import TwoTower
from kerasft_recommender.scorers.vectored import Vectored
from kerasft_recommender.scorers.wide_deep import WideDeep

if TYPE_CHECKING:
    from kerasft_recommender.catalogue import Catalogue
    from kerasft_recommender.config import NetworkConfig
    from kerasft_recommender.sides import Sides

SCORERS: dict[str, Any] = {"gmf": GMF, "mlp": MLP, "neumf": NeuMF, "sasrec": SASRec}
SCORERS |= {"wide_deep": WideDeep, "deepfm": DeepFM, "dcn": DCN, "two_tower": TwoTower}

__all__ = [
    "DCN",
    "GMF",
    "MLP",
    "SCORERS",
    "DeepFM",
    "NeuMF",
    "SASRec",
    "Scorer",
    "TwoTower",
    "Vectored",
    "WideDeep",
    "make_scorer",
]


def make_scorer(name: str, network: NetworkConfig, catalogue: Catalogue, sides: Sides) -> Any:
    """Returns a scorer by its name in the config."""
    wanted: tuple[str, ...] = {
        "two_tower": ("factors", "id_dropout"),
        "wide_deep": ("width", "hidden", "pairs"),
        "deepfm": ("width", "hidden"),
        "dcn": ("width", "hidden", "crosses"),
    }.get(name, ())
    if wanted:
        return SCORERS[name](
            catalogue=catalogue,
            sides=sides,
            deviation=network.deviation,
            name="scorer",
            **{setting: getattr(network, setting) for setting in wanted},
        )
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
