"""Ids as people write them, and the rows of tables that stand for them."""

from __future__ import annotations

from collections.abc import Iterable, Sized
from types import SimpleNamespace

import numpy as np
import tensorflow as tf

from kerasft.errors import DataError

UNKNOWN = 0
"""Row of every id that is not known; also what examples of different length are padded with."""


def capacity_for(names: Sized, *, spare: float) -> int:
    """Returns the rows for some names: unknown, the names, and a share of them more, at least 16."""
    return 1 + len(names) + max(16, int(spare * len(names)))


class Vocabulary(tf.Module):
    """Numbers ids from 1, with spare rows for ids to come, so that tables keep their shape.

    Args:
        what: How messages call the ids: "users".
        names: The ids, each once.
        capacity: Rows in all: unknown, the ids, and spare ones.

    Raises:
        DataError: there are more ids than rows.

    Example:
        >>> films = Vocabulary("items", ["Heat", "Big"], capacity=5)
        >>> films.rows(tf.constant(["Big", "Alien"])).numpy().tolist()
        [2, 0]
        >>> films.extend(["Alien", "Heat"])
        1
        >>> films.names(tf.constant([3, 0, 4])).numpy().tolist()
        [b'Alien', b'', b'']
    """

    def __init__(self, what: str, names: Iterable[str], *, capacity: int) -> None:
        super().__init__()
        self.what = what
        self.capacity = capacity
        # In an object that tf.Module does not look into, for it would follow every single id.
        self._hidden = SimpleNamespace(known={})
        self.extend(names)

    def __len__(self) -> int:
        """Rows in use, that of unknown ids included."""
        return len(self._known) + 1

    @property
    def _known(self) -> dict[str, int]:
        return self._hidden.known

    @property
    def known(self) -> list[str]:
        """The ids, in the order of their rows from 1."""
        return list(self._known)

    def extend(self, names: Iterable[str]) -> int:
        """Gives spare rows to new ids; returns how many were new.

        Raises:
            DataError: there are not enough spare rows; nothing was changed then.
        """
        new = [name for name in dict.fromkeys(names) if name not in self._known]
        free = self.capacity - len(self)
        if len(new) > free:
            raise DataError(
                f"There are {len(new)} new {self.what} (such as {new[0]!r}) but {free} spare rows: train "
                "anew with a larger `spare`, which was chosen when the model was made."
            )
        self._known.update({name: row for row, name in enumerate(new, start=len(self))})
        if new or not hasattr(self, "_names"):
            self._make_graph()
        return len(new)

    def _make_graph(self) -> None:
        with tf.init_scope():
            keys = tf.constant(self.known, tf.string, shape=(len(self._known),))
            values = tf.range(1, len(self), dtype=tf.int32)
            self._table = tf.lookup.StaticHashTable(
                tf.lookup.KeyValueTensorInitializer(keys, values), default_value=UNKNOWN
            )
            padding = [""] * (self.capacity - len(self))
            names = tf.constant(["", *self.known, *padding], tf.string, shape=(self.capacity,))
            self._names = tf.Variable(names, trainable=False, name="names")

    def rows(self, names: tf.Tensor) -> tf.Tensor:
        """Returns the row of each id, int32, 0 where it is unknown."""
        return self._table.lookup(names)

    def names(self, rows: tf.Tensor) -> tf.Tensor:
        """Returns the id of each row, "" where there is none."""
        return tf.gather(self._names, rows)

    def numbers(self, names: Iterable[str]) -> np.ndarray:
        """Returns the row of each id outside of a graph, int32."""
        known = self._known
        return np.fromiter((known.get(name, UNKNOWN) for name in names), np.int32)
