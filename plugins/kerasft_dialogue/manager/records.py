"""What the manager hands out: slots, turns and sessions."""

from __future__ import annotations

from dataclasses import dataclass

from kerasft.errors import KerasftError


class HistoryError(KerasftError):
    """A history cannot be opened, read or written, or has no such session, turn or user."""


@dataclass(frozen=True, kw_only=True)
class Slot:
    """A value that a user named.

    Attributes:
        name: Which slot it fills, such as "city".
        value: The words of the text.
        start: Where they begin, in characters.
        end: Where they end, exclusive.
        score: Probability, by the model that found it.
    """

    name: str
    value: str
    start: int
    end: int
    score: float


@dataclass(frozen=True, kw_only=True)
class Turn:
    """What a user said and what was replied.

    Attributes:
        id: Number of the turn in the history.
        session: Id of its session.
        number: Its place in the session, from 1.
        said: What the user said.
        reply: The answer; None as long as there is none, as after a crash.
        finish: Why the reply ended: "end", "stop", "length" and "empty" as the model says, "handler" where a
            handler replied, "interrupted" where the reader stopped it.
        intent: What the user wants, if a model tells.
        intent_score: Its probability.
        slots: What was found in the text.
        rating: 1 (bad) to 5 (good), if rated.
    """

    id: int
    session: str
    number: int
    said: str
    reply: str | None = None
    finish: str | None = None
    intent: str | None = None
    intent_score: float | None = None
    slots: tuple[Slot, ...] = ()
    rating: int | None = None


@dataclass(frozen=True, kw_only=True)
class SessionRecord:
    """A conversation in the history.

    Attributes:
        id: Its id.
        user: Whose it is; None for nobody's.
        system: What stands before its first turn; "" for nothing.
        started: When, in seconds since 1970.
    """

    id: str
    user: str | None
    system: str
    started: float
