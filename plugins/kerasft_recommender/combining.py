"""A NeuMF that starts from a GMF and an MLP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kerasft.errors import ConfigError
from kerasft_recommender.vocabulary import UNKNOWN, Vocabulary


def combine(task: Any, sources: Sequence[Any]) -> None:
    """Fills the scorer of a recommender from those of two trained ones.

    Args:
        task: With scorer=neumf.
        sources: One with scorer=gmf, one with mlp, in any order.

    Raises:
        ConfigError: they are others, or of other sizes.
    """
    parts = {source.config.scorer: source for source in sources if type(source) is type(task)}
    if len(sources) != 2 or set(parts) != {"gmf", "mlp"}:
        raise ConfigError(
            "init_from: a recommender with scorer=neumf starts from two runs, one of scorer gmf and one "
            "of mlp."
        )
    for name, setting in (("gmf", "factors"), ("mlp", "layers")):
        here, there = (getattr(each.config.network, setting) for each in (task, parts[name]))
        if here != there:
            raise ConfigError(
                f"init_from: the {name} run has network.{setting}={there}, this task {here}: make them equal."
            )
    catalogues = [parts[name].catalogue for name in ("gmf", "mlp")]
    task.scorer.combine(
        parts["gmf"].scorer,
        parts["mlp"].scorer,
        users=_common(task.catalogue.users, [catalogue.users for catalogue in catalogues]),
        items=_common(task.catalogue.items, [catalogue.items for catalogue in catalogues]),
        alpha=task.config.network.alpha,
    )


def _common(mine: Vocabulary, theirs: Sequence[Vocabulary]) -> np.ndarray:
    """Rows of the ids that all know, here and there: int `[ids, 1 + vocabularies]`."""
    names = mine.known
    rows = np.stack([ids.numbers(names) for ids in (mine, *theirs)], 1)
    return rows[(rows != UNKNOWN).all(1)]
