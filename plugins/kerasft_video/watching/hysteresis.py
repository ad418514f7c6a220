"""When a score is an alarm: two thresholds, a shortest duration, a pause after each."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

from kerasft.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What an alarm is.

    Attributes:
        on: A score must reach it.
        off: And not fall below this one afterwards, or the alarm ends; at most `on`.
        shortest: For how many seconds, before the alarm is raised.
        pause: Seconds after the end of an alarm in which none begins.

    Raises:
        ConfigError: A value is none.
    """

    on: float = 0.8
    off: float = 0.6
    shortest: float = 0.0
    pause: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.off <= self.on <= 1:
            raise ConfigError(
                f"thresholds: on {self.on:g} and off {self.off:g} must be between 0 and 1, and off at most on"
            )
        for name in ("shortest", "pause"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"{name} {value:g}: give 0 or more seconds")


class Turn(NamedTuple):
    """An alarm is raised, or it ends.

    Attributes:
        kind: "start" or "end".
        time: When.
        since: When the score reached the upper threshold.
        score: At a start that of now, at an end the highest of the alarm.
    """

    kind: Literal["start", "end"]
    time: float
    since: float
    score: float


class Hysteresis:
    """Follows the score of one class.

    Args:
        rule: What an alarm is.

    Attributes:
        alarmed: Whether an alarm is on.

    Example:
        >>> follow = Hysteresis(Rule(on=0.8, off=0.5))
        >>> scores = enumerate([0.7, 0.9, 0.6, 0.4])
        >>> [turn.kind if (turn := follow.update(time, score)) else None for time, score in scores]
        [None, 'start', None, 'end']
    """

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.alarmed = False
        self._since: float | None = None
        self._free_from = -math.inf
        self._highest = -math.inf

    def update(self, time: float, score: float) -> Turn | None:
        """Takes the score of a time in seconds, later than the last; returns what changes by it."""
        if self._since is None:
            if score < self.rule.on or time < self._free_from:
                return None
            self._since, self._highest = time, score
        elif score < self.rule.off:
            return self.interrupt(time)
        self._highest = max(self._highest, score)
        if self.alarmed or time - self._since < self.rule.shortest:
            return None
        self.alarmed = True
        return Turn("start", time, self._since, score)

    def interrupt(self, time: float) -> Turn | None:
        """Ends an alarm whatever the score, as when the source is lost."""
        since, was, self._since, self.alarmed = self._since, self.alarmed, None, False
        if not was or since is None:
            return None
        self._free_from = time + self.rule.pause
        return Turn("end", time, since, self._highest)
