"""How fast watching goes, and how long a picture waits for its score."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np

_ROOM = 2000


class Figures(NamedTuple):
    """What `Pace` has seen.

    Attributes:
        fps: Pictures a second since the last look.
        p50: Median latency in seconds, NaN if nothing was scored.
        p95: The latency that 95 of 100 scores keep.
        pictures: All pictures.
        scores: All scores.
        dropped: Scores left out because the next picture was there already, and pictures that found no room.
    """

    fps: float
    p50: float
    p95: float
    pictures: int
    scores: int
    dropped: int

    def __str__(self) -> str:
        if not self.scores:
            return f"{self.fps:.1f} frames/s, no score yet, {self.dropped} dropped"
        return (
            f"{self.fps:.1f} frames/s, latency p50 {1000 * self.p50:.1f} ms p95 {1000 * self.p95:.1f} ms, "
            f"{self.scores} scores, {self.dropped} dropped"
        )


class Pace:
    """Counts pictures and scores; latencies are of the last 2000 scores.

    Args:
        now: The time of the beginning, in seconds.

    Example:
        >>> pace = Pace(now=0.0)
        >>> pace.pictures = 50
        >>> pace.scored(0.02)
        >>> str(pace.figures(2.0))
        '25.0 frames/s, latency p50 20.0 ms p95 20.0 ms, 1 scores, 0 dropped'
    """

    def __init__(self, now: float) -> None:
        self.pictures = 0
        self.scores = 0
        self.dropped = 0
        self._began = self._looked = now
        self._seen = 0
        self._latencies: deque[float] = deque(maxlen=_ROOM)

    def scored(self, latency: float) -> None:
        """Takes the seconds from the arrival of a picture to its score."""
        self.scores += 1
        self._latencies.append(latency)

    def figures(self, now: float, *, whole: bool = False) -> Figures:
        """Returns the figures; frames a second are since the last call, with `whole` since the beginning."""
        began, seen = (self._began, 0) if whole else (self._looked, self._seen)
        fps = (self.pictures - seen) / max(now - began, 1e-9)
        if not whole:
            self._looked, self._seen = now, self.pictures
        p50, p95 = np.percentile(self._latencies, [50, 95]) if self._latencies else (np.nan, np.nan)
        return Figures(fps, float(p50), float(p95), self.pictures, self.scores, self.dropped)
