"""A window that slides over a stream of pictures, and the times at which it is looked through."""

from __future__ import annotations

import math
from collections import deque
from typing import Generic, TypeVar

from kerasft.errors import ConfigError

T = TypeVar("T")

_TOLERANCE = 1e-6  # Times are sums of fractions of a second.


class Schedule:
    """Says which moments are due: one every so many seconds, from the first on.

    Moments that are late do not shift those after them; of several that were missed one is made up for.

    Args:
        every: Seconds; 0 makes all due.

    Raises:
        ConfigError: It is below 0.

    Example:
        >>> schedule = Schedule(every=0.5)
        >>> [schedule.due(time / 10) for time in range(11)].count(True)
        3
    """

    def __init__(self, *, every: float) -> None:
        if not (math.isfinite(every) and every >= 0):
            raise ConfigError(f"every {every:g}: give 0 or more seconds")
        self.every = every
        self._next = -math.inf

    def due(self, time: float) -> bool:
        """Tells whether a moment at or before `time`, in seconds, is due, and takes it for done."""
        if time < self._next - _TOLERANCE:
            return False
        behind = self._next == -math.inf or time - self._next >= self.every - _TOLERANCE
        self._next = (time if behind else self._next) + self.every
        return True

    def reset(self) -> None:
        """Makes the next moment due."""
        self._next = -math.inf


class Window(Generic[T]):
    """The last pictures of a stream.

    Args:
        seconds: How long a time they are to cover; or
        count: how many there are to be.

    Raises:
        ConfigError: What is given is not above 0.

    Example:
        >>> window = Window(seconds=0.5)
        >>> for number in range(20):
        ...     window.add(number / 10, number)
        >>> window.items, window.full
        ([15, 16, 17, 18, 19], True)
    """

    def __init__(self, *, seconds: float | None = None, count: int | None = None) -> None:
        if (seconds is None) == (count is None):
            raise ValueError("a window has either seconds or a count")
        if (count is not None and count < 1) or (
            seconds is not None and not (math.isfinite(seconds) and seconds > 0)
        ):
            raise ConfigError(f"window {seconds if count is None else count}: give a value above 0")
        self._seconds, self._count = seconds, count
        self._kept: deque[tuple[float, T]] = deque()
        self._interval = 0.0
        self._passed = False

    def add(self, time: float, item: T) -> None:
        """Takes the picture of a time in seconds, later than the last."""
        if self._kept:
            before = self._kept[-1][0]
            if not time > before:
                raise ValueError(f"a picture of {time} s comes after one of {before} s")
            self._interval = time - before
        self._kept.append((time, item))
        while self._crowded():
            self._kept.popleft()
            self._passed = True

    def _crowded(self) -> bool:
        if self._count is not None:
            return len(self._kept) > self._count
        assert self._seconds is not None
        return self._kept[-1][0] - self._kept[0][0] >= self._seconds - _TOLERANCE

    @property
    def full(self) -> bool:
        """Whether the stream is long enough: each picture lasts until the next."""
        if self._passed or not self._kept or self._count is not None:
            return self._passed or len(self._kept) == self._count
        assert self._seconds is not None
        return self._kept[-1][0] - self._kept[0][0] + self._interval >= self._seconds - _TOLERANCE

    @property
    def items(self) -> list[T]:
        """The pictures, oldest first."""
        return [item for _, item in self._kept]

    @property
    def times(self) -> list[float]:
        """Their times."""
        return [time for time, _ in self._kept]

    def clear(self) -> None:
        """Forgets all pictures."""
        self._kept.clear()
        self._interval, self._passed = 0.0, False
