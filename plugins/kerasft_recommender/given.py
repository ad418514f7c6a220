"""What a user passes to a verb: choices, and side tables of users and items beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kerasft.errors import DataError
from kerasft_recommender.config import RecommenderConfig
from kerasft_recommender.sides import SideTable

_SIDES = {"users": "user", "items": "item"}
_CHOICES = "interactions"


class GivenTables:
    """Side tables that came with data, until they are taken over."""

    def __init__(self) -> None:
        self._tables: dict[str, Any] = {}

    def split(self, data: Any) -> Any:
        """Returns the choices in data, and remembers the tables that are with them.

        Raises:
            DataError: there is something else with them.
        """
        self._tables = {}
        if not isinstance(data, Mapping) or _CHOICES not in data:
            return data
        wrong = sorted(set(data) - {_CHOICES, *_SIDES})
        if wrong:
            raise DataError(f"Beside {_CHOICES} there can be {' and '.join(_SIDES)}, not {wrong[0]!r}")
        self._tables = {name: data[name] for name in _SIDES if data.get(name) is not None}
        return data[_CHOICES]

    def add(self, name: str, table: Any) -> None:
        """Remembers a table, of "users" or "items"."""
        self._tables = {name: table}

    def take(self, config: RecommenderConfig, *, anew: bool) -> dict[str, SideTable]:
        """Opens and forgets them.

        Args:
            config: Says which features there are, and may name files.
            anew: For a new recommender, which takes those of the config too, and needs one for all features.

        Returns:
            The tables by side, "user" and "item".

        Raises:
            DataError: a table has no features, or features have no table.
        """
        given, self._tables = self._tables, {}
        if anew:
            of_config = {name: getattr(config, name) for name in _SIDES}
            given = {**{name: path for name, path in of_config.items() if path is not None}, **given}
        tables = {}
        for name, side in _SIDES.items():
            features = [feature for feature in config.features if feature.side == side]
            if name in given and not features:
                raise DataError(f"There is a table of {name}, but no feature in the config has side={side}")
            if name in given:
                tables[side] = SideTable(given[name], side=side, features=features)
            elif anew and features:
                raise DataError(
                    f"The feature {features[0].name!r} needs a table of {name}: name its file in the config "
                    f'({name}=...), or give finetune() {{"{_CHOICES}": ..., "{name}": ...}}'
                )
        return tables

    def refuse(self) -> None:
        """Raises a DataError if there are any, for verbs that use what training kept."""
        given, self._tables = self._tables, {}
        if given:
            raise DataError(
                f"The table of {next(iter(given))} is for finetune(), add_users() and add_items(), which "
                "keep it; give interactions alone"
            )


def ids_of(tables: Mapping[str, SideTable]) -> tuple[list[str], list[str]]:
    """Returns the ids of users and of items in side tables."""
    users, items = (tables[side].ids if side in tables else [] for side in ("user", "item"))
    return users, items
