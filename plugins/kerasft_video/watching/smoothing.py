"""Scores over time, smoothed; times may be irregular."""

from __future__ import annotations

import math
from collections import deque
from typing import Protocol

import numpy as np

from kerasft.errors import ConfigError


class Smoother(Protocol):
    """Turns the scores of now into scores that what came before has a say in."""

    def update(self, time: float, scores: np.ndarray) -> np.ndarray:
        """Takes scores, float `[classes]`, of a time in seconds that is later than the last; smooths them."""
        ...

    def reset(self) -> None:
        """Forgets what came before."""
        ...


class Exponential:
    """An average in which a score of t seconds ago counts exp(-t / seconds) times as much as one of now.

    Each score stands for the time since the one before it, so the result does not depend on how often a score
    that stays the same is given.

    Args:
        seconds: The time constant; 0 leaves scores as they are.

    Example:
        >>> smoother = Exponential(seconds=1.0)
        >>> smoother.update(0.0, np.array([0.0])), smoother.update(1.0, np.array([1.0])).round(3)
        (array([0.]), array([0.632]))
    """

    def __init__(self, *, seconds: float) -> None:
        self.seconds = _checked(seconds)
        self._time = -math.inf
        self._value: np.ndarray | None = None

    def update(self, time: float, scores: np.ndarray) -> np.ndarray:
        _check_later(time, self._time)
        if self._value is None or self.seconds == 0:
            self._value = np.array(scores, float)
        else:
            share = -math.expm1(-(time - self._time) / self.seconds)
            self._value = self._value + share * (scores - self._value)
        self._time = time
        return self._value

    def reset(self) -> None:
        self._value, self._time = None, -math.inf


class Moving:
    """The mean of the scores of the last seconds.

    Args:
        seconds: How far back a score counts, the end excluded; 0 leaves scores as they are.

    Example:
        >>> smoother = Moving(seconds=2.0)
        >>> [float(smoother.update(t, np.array([s]))[0]) for t, s in enumerate([0.0, 1.0, 1.0])]
        [0.0, 0.5, 1.0]
    """

    def __init__(self, *, seconds: float) -> None:
        self.seconds = _checked(seconds)
        self._kept: deque[tuple[float, np.ndarray]] = deque()

    def update(self, time: float, scores: np.ndarray) -> np.ndarray:
        _check_later(time, self._kept[-1][0] if self._kept else -math.inf)
        self._kept.append((time, np.array(scores, float)))
        while len(self._kept) > 1 and self._kept[0][0] <= time - self.seconds:
            self._kept.popleft()
        # Summed anew: a running sum would drift in a stream that never ends.
        return np.mean([value for _, value in self._kept], axis=0)

    def reset(self) -> None:
        self._kept.clear()


KINDS: dict[str, type[Exponential] | type[Moving]] = {"exponential": Exponential, "moving": Moving}


def parse(text: str) -> Smoother:
    """Reads "exponential:2", "moving:1.5" or "none".

    Raises:
        ConfigError: It is none of these.

    Example:
        >>> parse("moving:1.5").seconds
        1.5
    """
    if text == "none":
        return Moving(seconds=0.0)
    kind, _, seconds = text.partition(":")
    try:
        return KINDS[kind](seconds=float(seconds))
    except (KeyError, ValueError):
        raise ConfigError(
            f"smoothing {text!r}: write exponential:SECONDS, moving:SECONDS or none, as in exponential:1"
        ) from None


def _checked(seconds: float) -> float:
    if not (math.isfinite(seconds) and seconds >= 0):
        raise ValueError(f"{seconds} is no time to smooth over: take 0 or more seconds")
    return seconds


def _check_later(time: float, before: float) -> None:
    if not time > before:
        raise ValueError(f"scores of {time} s come after those of {before} s")
