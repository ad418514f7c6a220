"""Who chose what: the pairs that training saw, which recommendations leave out."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import tensorflow as tf

_MOST_BITS = 2**31 - 1


class Histories(tf.Module):
    """The items of each user, once each, in the order in which they came.

    Args:
        users: Row of the user of each choice, int `[choices]`.
        items: Row of the item of each choice.
        user_rows: Rows of the user table.
        item_rows: Rows of the item table.

    Attributes:
        offsets: Where the items of each user begin and end, int64 `[user_rows + 1]`.
        items: The items, user by user, int32 `[pairs]`.
        popularity: How many users chose each item, int64 `[item_rows]`.

    Example:
        >>> seen = Histories(np.array([2, 1, 2, 2]), np.array([5, 3, 4, 5]), user_rows=4, item_rows=8)
        >>> [seen.of(row).tolist() for row in range(4)]
        [[], [3], [5, 4], []]
        >>> seen.contains(tf.constant([2, 1]), tf.constant([[4, 3], [4, 3]])).numpy().tolist()
        [[True, False], [False, True]]
    """

    def __init__(self, users: np.ndarray, items: np.ndarray, *, user_rows: int, item_rows: int) -> None:
        super().__init__()
        keys = users.astype(np.int64) * item_rows + items
        first = np.sort(np.unique(keys, return_index=True)[1])
        users, items = users[first], items[first]
        by_user = np.argsort(users, kind="stable")
        self.user_rows, self.item_rows = user_rows, item_rows
        counts = np.bincount(users, minlength=user_rows)
        self.offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        self.items = items[by_user].astype(np.int32)
        self.popularity = np.bincount(items, minlength=item_rows)
        # In an object that tf.Module does not look into: of no use in an export.
        self._hidden = SimpleNamespace(tables={})

    def __len__(self) -> int:
        """Distinct pairs of user and item."""
        return len(self.items)

    @property
    def users(self) -> np.ndarray:
        """The user of each of `items`."""
        return np.repeat(np.arange(self.user_rows, dtype=np.int32), np.diff(self.offsets))

    def of(self, user: int) -> np.ndarray:
        """Returns the items of a user, int32."""
        return self.items[self.offsets[user] : self.offsets[user + 1]]

    def joined(self, users: np.ndarray, items: np.ndarray) -> Histories:
        """Returns these and further choices."""
        return Histories(
            np.concatenate([self.users, users]),
            np.concatenate([self.items, items]),
            user_rows=self.user_rows,
            item_rows=self.item_rows,
        )

    def pairs_of(self, users: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns all choices of some users: the position of the user in `users`, and the item."""
        counts = np.diff(self.offsets)[users]
        positions = np.repeat(np.arange(len(users)), counts)
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return positions, self.items[np.repeat(self.offsets[users], counts) + within]

    def save(self, path: Path) -> None:
        """Writes them to a .npz file."""
        with path.open("wb") as file:
            np.savez_compressed(
                file,
                offsets=self.offsets,
                items=self.items,
                shape=np.array([self.user_rows, self.item_rows]),
            )

    @classmethod
    def load(cls, path: Path) -> Histories:
        """Reads what `save` wrote."""
        with np.load(path, allow_pickle=False) as file:
            user_rows, item_rows = file["shape"].tolist()
            users = np.repeat(np.arange(user_rows), np.diff(file["offsets"]))
            return cls(users, file["items"], user_rows=user_rows, item_rows=item_rows)

    # ------------------------------------------------------------------------------------------ In the graph

    def prepare(self) -> None:
        """Makes the variables that `seen_by` needs in a graph, and that an export keeps."""
        if not hasattr(self, "_offsets"):
            with tf.init_scope():
                items = np.concatenate([self.items, [0]]).astype(np.int32)
                self._offsets = tf.Variable(self.offsets, trainable=False, name="seen_offsets")
                self._items = tf.Variable(items, trainable=False, name="seen_items")
                chosen = self.popularity > 0
                self._chosen = tf.Variable(chosen, trainable=False, name="items_chosen")

    def seen_by(self, users: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns all choices of some users: position of the user in `users`, and item, int32 `[n]`."""
        self.prepare()
        offsets, items = self._offsets, self._items
        starts = tf.gather(offsets, users)
        within = tf.ragged.range(tf.gather(offsets, users + 1) - starts)
        positions = within.value_rowids()
        places = within.flat_values + tf.gather(starts, positions)
        return tf.cast(positions, tf.int32), tf.gather(items, places)

    def recent(self, users: tf.Tensor, length: int) -> tf.RaggedTensor:
        """Returns the last choices of users, at most `length`, oldest first: int32 `[users, None]`."""
        self.prepare()
        ends = tf.gather(self._offsets, users + 1)
        places = tf.ragged.range(tf.maximum(tf.gather(self._offsets, users), ends - length), ends)
        return places.with_flat_values(tf.gather(self._items, places.flat_values))

    def has_choices(self, users: tf.Tensor) -> tf.Tensor:
        """Whether users chose anything, bool of the shape of `users`."""
        self.prepare()
        return tf.gather(self._offsets, users + 1) > tf.gather(self._offsets, users)

    def was_chosen(self, items: tf.Tensor) -> tf.Tensor:
        """Whether anyone chose items, bool of the shape of `items`."""
        self.prepare()
        return tf.gather(self._chosen, items)

    def contains(self, users: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
        """Whether users chose items; for training, as it keeps a table of all pairs in memory.

        Args:
            users: int32 `[batch]`.
            items: int32 `[batch, n]`.

        Returns:
            bool `[batch, n]`.
        """
        if self.user_rows * self.item_rows <= _MOST_BITS:
            place = users[:, None] * self.item_rows + items
            byte = tf.cast(tf.gather(self._table("bits"), tf.bitwise.right_shift(place, 3)), tf.int32)
            return (
                tf.bitwise.bitwise_and(byte, tf.bitwise.left_shift(1, tf.bitwise.bitwise_and(place, 7))) > 0
            )
        keys = self._table("keys")
        wanted = tf.cast(users, tf.int64)[:, None] * self.item_rows + tf.cast(items, tf.int64)
        flat = tf.reshape(wanted, [-1])
        found = tf.gather(keys, tf.minimum(tf.searchsorted(keys, flat), tf.size(keys) - 1))
        return tf.reshape(found == flat, tf.shape(wanted))

    def _table(self, kind: str) -> tf.Tensor:
        tables = self._hidden.tables
        if kind not in tables:
            keys = self.users.astype(np.int64) * self.item_rows + self.items
            with tf.init_scope():
                if kind == "keys":
                    tables[kind] = tf.constant(np.sort(keys))
                else:
                    bits = np.zeros(-(-self.user_rows * self.item_rows // 8), np.uint8)
                    np.bitwise_or.at(bits, keys // 8, (1 << (keys % 8)).astype(np.uint8))
                    tables[kind] = tf.constant(bits)
        return tables[kind]
