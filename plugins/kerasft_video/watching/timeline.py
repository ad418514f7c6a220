"""One time that only goes forward, for a source that may be lost and begin anew."""

from __future__ import annotations

import math
from typing import NamedTuple

_STEP = 1e-3
_BACK = 1.0
_AHEAD = 5.0


class Moment(NamedTuple):
    """A place on a timeline.

    Attributes:
        time: Seconds since watching began.
        gap: Whether something is missing before it.
    """

    time: float
    gap: bool


class Timeline:
    """Places the times of a source, which begin anew with each connection, on one line.

    Within a connection it follows the source, whose times are more even than those of arrival. After a loss,
    or where the source jumps, it goes on at the time of arrival.

    Args:
        jumps: Whether a jump ahead is a gap; in a file it is part of the film.

    Example:
        >>> line = Timeline(jumps=True)
        >>> line.place(7.0, 0.0), line.place(7.5, 0.9)
        (Moment(time=0.0, gap=False), Moment(time=0.5, gap=False))
        >>> line.lost()
        >>> line.place(0.0, 9.0)
        Moment(time=9.0, gap=True)
    """

    def __init__(self, *, jumps: bool) -> None:
        self._jumps = jumps
        self._offset: float | None = None
        self._time = -math.inf
        self._source = self._arrived = 0.0

    def lost(self) -> None:
        """Says that the connection broke off."""
        self._offset = None

    def place(self, source: float, arrived: float) -> Moment | None:
        """Returns where a picture is.

        Args:
            source: Its time in the source, in seconds.
            arrived: When it arrived, in seconds since watching began.

        Returns:
            None if it is no later than the one before it.
        """
        gap = self._offset is None or self._is_jump(source, arrived)
        if gap:
            self._offset = max(arrived, self._time + _STEP) - source
        assert self._offset is not None
        time = source + self._offset
        self._source, self._arrived = source, arrived
        if time <= self._time:
            return None
        first, self._time = self._time == -math.inf, time
        return Moment(time, gap and not first)

    def _is_jump(self, source: float, arrived: float) -> bool:
        passed = source - self._source
        return passed < -_BACK or (self._jumps and passed > arrived - self._arrived + _AHEAD)
