"""Histories in parts: the last choices of each user, and windows that a sequence model can take."""

from __future__ import annotations

import numpy as np

from kerasft.data import Source
from kerasft.errors import DataError


def last_of_each(source: Source, share: float) -> tuple[Source, Source]:
    """Splits off the last choices of each user by timestamp, as a recommender meets them.

    Rows of one time keep the order of the data. A user with one choice keeps it for training.

    Args:
        source: Choices.
        share: Of each user's choices, rounded, but at least one; or a number of choices a user (an `int`).

    Returns:
        The rest, and the rows held out, each in the order of the source.

    Raises:
        DataError: there are no timestamps, or no user has two choices.

    Example:
        >>> from kerasft.data import Field, open_source
        >>> fields = [Field(name="user_id", kind="id"), Field(name="timestamp", kind="integer")]
        >>> rows = {"user_id": ["a", "a", "a", "b"], "timestamp": [5, 9, 7, 1]}
        >>> rest, last = last_of_each(open_source(rows, fields=fields), 0.1)
        >>> rest.take([0, 1, 2])["timestamp"].tolist(), last.take([0])["timestamp"].tolist()
        ([5, 7, 1], [9])
    """
    if "timestamp" not in source.columns:
        raise DataError(
            f'{source.name} has no timestamp for hold_out="last" to go by: name the column, or take "random"'
        )
    if share <= 0 or (isinstance(share, float) and share >= 1):
        raise DataError(
            f"{source.name}: cannot hold out {share!r}; give a share such as 0.1, or a number for each user"
        )
    _, users = np.unique(list(source.iterate("user_id")), return_inverse=True)
    times = np.fromiter(source.iterate("timestamp"), np.int64, len(source))
    order = np.lexsort((np.arange(len(source)), times, users))
    counts = np.bincount(users)
    wanted = np.full(len(counts), share) if isinstance(share, int) else np.round(share * counts).astype(int)
    wanted = np.minimum(np.maximum(wanted, 1), counts - 1)
    from_end = np.repeat(np.cumsum(counts), counts) - np.arange(len(order))
    held = np.zeros(len(source), bool)
    held[order] = from_end <= np.repeat(wanted, counts)
    if not held.any():
        raise DataError(f"{source.name}: no user has two choices, so none can be held out")
    return source.subset(np.flatnonzero(~held)), source.subset(np.flatnonzero(held))


def windows(history: list[str], length: int) -> list[list[str]]:
    """Cuts a history, from its end, into parts in which every choice but the first follows on another.

    Args:
        history: Oldest choice first.
        length: Of a part, at least 2; neighbours share one choice.

    Example:
        >>> windows(list("abcdef"), 3)
        [['d', 'e', 'f'], ['b', 'c', 'd'], ['a', 'b']]
    """
    ends = range(len(history), 1, 1 - length)
    return [history[max(0, end - length) : end] for end in ends] or [history]
