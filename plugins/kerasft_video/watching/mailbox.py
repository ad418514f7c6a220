"""Between a reader that must not wait and whoever is slower: the newest win."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """A bounded queue that never blocks its writer: when it is full, the oldest goes.

    Args:
        room: How many items it holds.

    Attributes:
        lost: How many were put and never taken.

    Example:
        >>> box = Mailbox(room=2)
        >>> for item in "abc":
        ...     box.put(item)
        >>> box.take(), box.lost
        (['b', 'c'], 1)
        >>> box.close()
        >>> box.take() is None
        True
    """

    def __init__(self, *, room: int) -> None:
        self.lost = 0
        self._items: deque[T] = deque()
        self._room = room
        self._changed = threading.Condition()
        self._closed = False
        self._error: BaseException | None = None

    def put(self, item: T) -> None:
        """Adds an item."""
        with self._changed:
            if len(self._items) == self._room:
                self._items.popleft()
                self.lost += 1
            self._items.append(item)
            self._changed.notify_all()

    def take(self, timeout: float | None = None) -> list[T] | None:
        """Returns all that waits, oldest first; waits for the first, at most `timeout` seconds.

        Returns:
            The items, none if none came in time; None at the end.

        Raises:
            BaseException: What the writer closed it with.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._closed, timeout)
            if self._items:
                found = list(self._items)
                self._items.clear()
                return found
            if self._error is not None:
                raise self._error
            return None if self._closed else []

    def close(self, error: BaseException | None = None) -> None:
        """Ends it, after what waits still; with an error, that is raised then."""
        with self._changed:
            self._closed = True
            self._error = error
            self._changed.notify_all()
