"""What training learned beside weights: which users and items there are, and who chose what."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from kerasft.errors import DataError
from kerasft_recommender.histories import Histories
from kerasft_recommender.vocabulary import Vocabulary, capacity_for

_IDS, _HISTORIES = "ids.json", "histories.npz"


class Catalogue:
    """Users, items, and the pairs of them that training saw.

    Args:
        users: The ids of users.
        items: The ids of items.
        histories: Who chose what.
        usual: Choices of a user in the mean, of the data that the tables were made for.
        new_from: Rows of users from here on came with the last extension.
    """

    def __init__(
        self,
        *,
        users: Vocabulary,
        items: Vocabulary,
        histories: Histories,
        usual: float,
        new_from: int = 1,
    ) -> None:
        self.users = users
        self.items = items
        self.histories = histories
        self.usual = usual
        self.new_from = new_from

    @classmethod
    def learn(
        cls,
        users: list[str],
        items: list[str],
        *,
        spare: float,
        others: tuple[list[str], list[str]] = ([], []),
    ) -> Catalogue:
        """Makes one from choices, the user and the item of each.

        Args:
            users: Ids, one a choice.
            items: Ids, one a choice.
            spare: Spare rows as a share of the ids, at least 16.
            others: Further users and items, of which no choice need be known.

        Raises:
            DataError: there is one item only.

        Example:
            >>> catalogue = Catalogue.learn(["ann", "bob", "ann"], ["tea", "tea", "milk"], spare=0.1)
            >>> len(catalogue.users), len(catalogue.items), catalogue.users.capacity
            (3, 3, 19)
        """
        names = [list(dict.fromkeys([*ids, *more])) for ids, more in zip((users, items), others, strict=True)]
        if len(names[1]) < 2:
            raise DataError(
                f"All choices are of one item, {names[1][0]!r}; with two there is something to rank"
            )
        tables = [
            Vocabulary(what, known, capacity=capacity_for(known, spare=spare))
            for what, known in zip(("users", "items"), names, strict=True)
        ]
        histories = Histories(
            tables[0].numbers(users),
            tables[1].numbers(items),
            user_rows=tables[0].capacity,
            item_rows=tables[1].capacity,
        )
        usual = len(histories) / len(tables[0].known)
        return cls(users=tables[0], items=tables[1], histories=histories, usual=usual)

    @property
    def first(self) -> np.ndarray:
        """Rows of users who were there before the last extension, and chose something: int32 `[n]`."""
        return np.flatnonzero(np.diff(self.histories.offsets[: self.new_from + 1])).astype(np.int32)

    @property
    def last(self) -> np.ndarray:
        """Rows of the users who came with the last extension: int32 `[n]`."""
        return np.arange(self.new_from, len(self.users), dtype=np.int32)

    def extend(
        self, users: list[str], items: list[str], *, others: tuple[list[str], list[str]] = ([], [])
    ) -> tuple[int, int]:
        """Adds further choices, of new users and items too; returns how many of each were new.

        Args:
            users: Ids, one a choice.
            items: Ids, one a choice.
            others: Further users and items, of which no choice need be known.

        Raises:
            DataError: there are not enough spare rows.
        """
        before = len(self.users)
        new = self.users.extend([*users, *others[0]]), self.items.extend([*items, *others[1]])
        if new[0]:
            self.new_from = before
        self.histories = self.histories.joined(self.users.numbers(users), self.items.numbers(items))
        return new

    def save(self, folder: Path) -> None:
        """Writes it into a folder."""
        ids = {
            "users": {"known": self.users.known, "capacity": self.users.capacity},
            "items": {"known": self.items.known, "capacity": self.items.capacity},
            "usual": self.usual,
            "new_from": self.new_from,
        }
        (folder / _IDS).write_text(json.dumps(ids, ensure_ascii=False) + "\n", encoding="utf-8")
        self.histories.save(folder / _HISTORIES)

    @classmethod
    def load(cls, folder: Path) -> Catalogue:
        """Reads what `save` wrote."""
        ids = json.loads((folder / _IDS).read_text(encoding="utf-8"))
        tables = {
            what: Vocabulary(what, ids[what]["known"], capacity=ids[what]["capacity"])
            for what in ("users", "items")
        }
        histories = Histories.load(folder / _HISTORIES)
        return cls(**tables, histories=histories, usual=ids["usual"], new_from=ids["new_from"])
