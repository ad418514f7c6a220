"""Side tables: features of all users and all items, row by row of their ids, in the graph and in a run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import tensorflow as tf

from kerasft.data import Field, Source, open_source
from kerasft.errors import DataError
from kerasft_recommender.config import FeatureConfig
from kerasft_recommender.features import Feature, table_fields
from kerasft_recommender.vocabulary import Vocabulary

_FEATURES, _ARRAYS = "features.json", "features.npz"
_IDS: dict[str, tuple[str, ...]] = {
    "user": ("user", "userId", "userid", "uid", "customer_id"),
    "item": ("item", "itemId", "itemid", "iid", "movieId", "positive"),
}


def id_field(side: str) -> Field:
    """Returns the column with the ids of a side, "user" or "item"."""
    return Field(name=f"{side}_id", kind="id", aliases=_IDS[side])


class SideTable:
    """Rows of a side table as its source gives them, each id once.

    Args:
        data: Anything that `kerasft.data.open_source` takes.
        side: "user" or "item".
        features: Those of this side.

    Raises:
        DataError: a column is missing, or an id is there twice.
    """

    def __init__(self, data: Any, *, side: str, features: Sequence[FeatureConfig]) -> None:
        fields = [id_field(side), *(field for feature in features for field in table_fields(feature))]
        self.source: Source = open_source(
            data, fields=fields, columns={feature.name: feature.name for feature in features}
        )
        values = self.source.take(np.arange(len(self.source)))
        self.ids: list[str] = list(values[f"{side}_id"])
        self.values: dict[str, Any] = {feature.name: values[feature.name] for feature in features}
        first: dict[str, int] = {}
        for row, name in enumerate(self.ids):
            if name in first:
                raise DataError(
                    f"{self.source.where(row)}: the {side} {name!r} was there before "
                    f"({self.source.where(first[name])}); give each {side} one row"
                )
            first[name] = row


class Side(tf.Module):
    """The features of one side, a row for each row of its vocabulary.

    Args:
        features: What was learned of each.
        rows: Rows of the vocabulary, spare ones too.
    """

    def __init__(self, features: Sequence[Feature], *, rows: int) -> None:
        super().__init__()
        # In an object that tf.Module does not look into: only the variables are of use in an export.
        self._hidden = SimpleNamespace(
            features=tuple(features), arrays={feature.name: feature.blank(rows) for feature in features}
        )
        self._variables: dict[str, tf.Variable] = {}

    @property
    def features(self) -> tuple[Feature, ...]:
        """What was learned of each feature."""
        return self._hidden.features

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """Feature by name, row by row; see `Feature.encode`."""
        return self._hidden.arrays

    def fill(self, table: SideTable, ids: Vocabulary) -> None:
        """Takes over the rows of a table, in place of what was known of the same ids."""
        rows = ids.numbers(table.ids)
        for feature in self.features:
            new = feature.encode(table.values[feature.name], table.source.where)
            array = self.arrays[feature.name]
            if new.ndim == 2 and new.shape[1] > array.shape[1]:
                array = np.pad(array, ((0, 0), (0, new.shape[1] - array.shape[1])))
            elif new.ndim == 2:
                new = np.pad(new, ((0, 0), (0, array.shape[1] - new.shape[1])))
            array = array.copy()
            array[rows] = new
            self.arrays[feature.name] = array
        self._variables = {}

    def prepare(self) -> None:
        """Makes the variables that `take` reads in a graph, and that an export keeps."""
        if len(self._variables) < len(self.arrays):
            with tf.init_scope():
                self._variables = {
                    name: tf.Variable(_on_any_device(array), trainable=False, name="feature")
                    for name, array in self.arrays.items()
                }

    def take(self, rows: Any) -> dict[str, tf.Tensor]:
        """Returns the features of rows int32 `[...]`: name to tensor `[...]` or `[..., m]`."""
        self.prepare()
        return {
            name: tf.cast(tf.gather(values, rows), self.arrays[name].dtype)
            for name, values in self._variables.items()
        }


def _on_any_device(array: np.ndarray) -> np.ndarray:
    """Returns whole numbers as int64: TensorFlow keeps int32 variables on the CPU, out of XLA's reach."""
    return array.astype(np.int64) if array.dtype == np.int32 else array


class Sides:
    """All features of a recommender.

    Args:
        configs: What the user said of them.
        features: What was learned of each, by name.
        user: Features of users.
        item: Features of items.

    Attributes:
        context: Features that come with a request, or with a row of training data.
    """

    def __init__(
        self, configs: Sequence[FeatureConfig], features: dict[str, Feature], *, user: Side, item: Side
    ) -> None:
        self.configs = tuple(configs)
        self.features = features
        self.user = user
        self.item = item
        self.context = [features[config.name] for config in configs if config.side == "context"]

    @classmethod
    def learn(
        cls,
        configs: Sequence[FeatureConfig],
        *,
        tables: dict[str, SideTable],
        choices: Source,
        users: Vocabulary,
        items: Vocabulary,
        spare: float,
    ) -> Sides:
        """Learns vocabularies and scales from side tables, and of the context from choices.

        Args:
            configs: What the user said of the features.
            tables: The tables of users and items that have features, by "user" and "item".
            choices: The training data.
            users: Ids of users, those of the table too.
            items: Ids of items, those of the table too.
            spare: Spare rows of vocabularies, as a share.

        Raises:
            DataError: a value is none of its kind, or a feature has no value at all.
        """
        features: dict[str, Feature] = {}
        for config in configs:
            if config.side == "context":
                values, where = list(choices.iterate(config.name)), choices.where
            else:
                table = tables[config.side]
                values, where = table.values[config.name], table.source.where
            features[config.name] = Feature.learn(config, values, where, spare)
        sides = cls.blank(configs, features, users=users.capacity, items=items.capacity)
        sides.fill(tables, users=users, items=items)
        return sides

    @classmethod
    def blank(
        cls, configs: Sequence[FeatureConfig], features: dict[str, Feature], *, users: int, items: int
    ) -> Sides:
        """Makes one of which no row is filled yet.

        Args:
            configs: What the user said of the features.
            features: What was learned of each, by name.
            users: Rows of users.
            items: Rows of items.
        """

        def side(name: str, rows: int) -> Side:
            return Side([features[config.name] for config in configs if config.side == name], rows=rows)

        return cls(configs, features, user=side("user", users), item=side("item", items))

    def of(self, side: str) -> list[FeatureConfig]:
        """Returns what the user said of the features of a side."""
        return [config for config in self.configs if config.side == side]

    def extend(
        self, tables: dict[str, SideTable], choices: Source | None, *, users: Vocabulary, items: Vocabulary
    ) -> None:
        """Takes over further side tables, new values in them, and those in the context of choices."""
        for config in self.configs:
            feature = self.features[config.name]
            if config.side == "context" and choices is not None:
                feature.extend(list(choices.iterate(config.name)))
            elif config.side in tables:
                feature.extend(tables[config.side].values[config.name])
        self.fill(tables, users=users, items=items)

    def fill(self, tables: dict[str, SideTable], *, users: Vocabulary, items: Vocabulary) -> None:
        """Takes over the rows of side tables."""
        for name, table in tables.items():
            side, ids = {"user": (self.user, users), "item": (self.item, items)}[name]
            side.fill(table, ids)

    @property
    def resources(self) -> Iterable[Any]:
        """What an export must keep."""
        for side in (self.user, self.item):
            side.prepare()
            yield side
        for feature in self.context:
            if feature.vocabulary is not None:
                yield feature.vocabulary

    def save(self, folder: Path) -> None:
        """Writes them into a folder."""
        if not self.configs:
            return
        learned = {name: feature.to_json() for name, feature in self.features.items()}
        (folder / _FEATURES).write_text(json.dumps(learned, ensure_ascii=False) + "\n", encoding="utf-8")
        with (folder / _ARRAYS).open("wb") as file:
            arrays: dict[str, Any] = {**self.user.arrays, **self.item.arrays}
            np.savez_compressed(file, **arrays)

    @classmethod
    def load(
        cls, folder: Path, configs: Sequence[FeatureConfig], *, users: Vocabulary, items: Vocabulary
    ) -> Sides:
        """Reads what `save` wrote."""
        if not configs:
            return cls.blank(configs, {}, users=users.capacity, items=items.capacity)
        learned = json.loads((folder / _FEATURES).read_text(encoding="utf-8"))
        features = {config.name: Feature.from_json(config, learned[config.name]) for config in configs}
        sides = cls.blank(configs, features, users=users.capacity, items=items.capacity)
        with np.load(folder / _ARRAYS, allow_pickle=False) as file:
            for side in (sides.user, sides.item):
                side.arrays.update({name: file[name] for name in side.arrays})
        return sides
