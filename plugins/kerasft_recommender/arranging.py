"""Rows of choices as they are trained on and measured."""

from __future__ import annotations

import numpy as np

from kerasft.data import Field, Source, open_source
from kerasft.errors import DataError
from kerasft_recommender.catalogue import Catalogue
from kerasft_recommender.splitting import windows
from kerasft_recommender.vocabulary import UNKNOWN

_CHUNK = 65_536
_GROUPED = (Field(name="user_id", kind="id"), Field(name="items", kind="tokens"))


def choices(source: Source) -> tuple[list[str], list[str]]:
    """Returns the user and the item of each row, in the order of time where it is known."""
    order: np.ndarray = np.arange(len(source))
    if "timestamp" in source.columns:
        order = np.argsort(np.fromiter(source.iterate("timestamp"), np.int64, len(source)), kind="stable")
    users: list[str] = []
    items: list[str] = []
    for start in range(0, len(source), _CHUNK):
        rows = source.take(order[start : start + _CHUNK], ["user_id", "item_id"])
        users += rows["user_id"]
        items += rows["item_id"]
    return users, items


def ratings(source: Source) -> np.ndarray:
    """Returns the rating of each row, float64."""
    return np.fromiter(source.iterate("rating"), np.float64, len(source))


def by_user(source: Source, *, window: int | None) -> Source:
    """Makes an example of all choices of a user, each item once, columns user_id and items.

    Args:
        source: Choices.
        window: Cut histories into parts of at most so many, see `windows`.
    """
    users, items = choices(source)
    histories: dict[str, dict[str, None]] = {}
    for user, item in zip(users, items, strict=True):
        histories.setdefault(user, {})[item] = None
    rows = [(user, list(chosen)) for user, chosen in histories.items()]
    if window is not None:
        rows = [(user, part) for user, chosen in rows for part in windows(chosen, window)]
    grouped = {"user_id": [user for user, _ in rows], "items": [chosen for _, chosen in rows]}
    arranged = open_source(grouped, fields=_GROUPED)
    arranged.notes = source.notes
    return arranged


def rankable(source: Source, catalogue: Catalogue) -> Source:
    """Leaves out choices whose user or item is unknown, and notes how many.

    Raises:
        DataError: none are left.
    """
    known = catalogue.users.numbers(source.iterate("user_id")) != UNKNOWN
    known &= catalogue.items.numbers(source.iterate("item_id")) != UNKNOWN
    left_out = int((~known).sum())
    if not left_out:
        return source
    if not known.any():
        raise DataError(
            f"{source.name} has no choice of which training saw both the user and the item: nothing can be "
            "ranked"
        )
    kept = source.subset(np.flatnonzero(known))
    kept.notes = (
        *source.notes,
        f"{source.name}: {left_out} of {len(source)} choices are left out, as training did not see their "
        "user or item",
    )
    return kept


def of_new_users(source: Source, catalogue: Catalogue) -> Source:
    """Leaves the choices of users that came last.

    Raises:
        DataError: there are none.
    """
    rows = catalogue.users.numbers(source.iterate("user_id"))
    new = np.flatnonzero(rows >= catalogue.new_from)
    if catalogue.new_from == 1 or not len(new):
        raise DataError(
            f"{source.name} has no new users, and freeze('items') trains the rows of new users only: choose "
            "freeze('none')."
        )
    return source.subset(new)
