"""Conversations of any data as records of roles and texts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from kerasft.data import Broken, Records, open_records
from kerasft.errors import DataError

ROLES = ("system", "user", "assistant")
"""Who can speak."""

_COLUMNS = ("turns", "messages", "conversation", "conversations", "dialogue", "dialog")
_WHO, _WHAT = ("role", "speaker", "from"), ("text", "content", "value")
_KNOWN = {
    **{role: role for role in ROLES},
    "human": "user",
    "customer": "user",
    "gpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "agent": "assistant",
}
FORM = 'write turns as [{"role": "user", "text": "..."}, ...]'
"""How a conversation is written, for errors."""

Turns = tuple[list[str], list[str]]


class BadTurns(Exception):
    """A conversation cannot be used; whoever catches this knows where it stands."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem)
        self.problem, self.remedy = problem, remedy


def open_conversations(data: Any, *, column: str, roles: Mapping[str, str]) -> Any:
    """Returns data with conversations as records with the columns `roles` and `texts`; other data as it is.

    Args:
        data: What a verb was given. A list of strings is a list of what users ask; a list of lists is one of
            conversations.
        column: The column of the turns; usual names are found too.
        roles: What further speakers stand for: "system", "user", "assistant", or "skip".

    Raises:
        DataError: The data cannot be opened.

    Example:
        >>> records = open_conversations(["Hello!"], column="turns", roles={})
        >>> next(iter(records.scan(["roles", "texts"])))
        [['user'], ['Hello!']]
    """
    if isinstance(data, list) and data and not isinstance(data[0], Mapping):
        data = {column: [_asked(row) for row in data]}
    elif not hasattr(data, "scan") and not isinstance(data, (str, Mapping, list)) and hasattr(data, "take"):
        return data
    records = data if hasattr(data, "scan") else open_records(data)
    found = [name for name in (column, *_COLUMNS) if name in records.columns]
    if not found:
        return records
    return Conversations(records, column=found[0], roles=roles)


def _asked(row: Any) -> Any:
    return [{"role": "user", "text": row}] if isinstance(row, str) else row


class Conversations:
    """Records with the columns `roles` and `texts`, one string a turn, and the other columns of the data.

    Args:
        records: Where the turns come from.
        column: Their column.
        roles: What further speakers stand for.
    """

    def __init__(self, records: Records, *, column: str, roles: Mapping[str, str]) -> None:
        self.name = records.name
        self.columns = ("roles", "texts", *(name for name in records.columns if name != column))
        self._records, self._column = records, column
        self._roles = {**_KNOWN, **roles}

    def head(self) -> list[dict[str, Any]]:
        return []

    def scan(self, columns: Sequence[str]) -> Iterator[Sequence[Any] | Broken]:
        yield from self._parsed(self._records.scan(self._inner(columns)), columns)

    def read(self, numbers: np.ndarray, columns: Sequence[str]) -> Iterator[Sequence[Any] | Broken]:
        yield from self._parsed(self._records.read(numbers, self._inner(columns)), columns)

    def where(self, number: int) -> str:
        return self._records.where(number)

    def digest(self, columns: Sequence[str]) -> bytes:
        return self._records.digest(self._inner(columns)) + repr(sorted(self._roles.items())).encode()

    def _inner(self, columns: Sequence[str]) -> list[str]:
        return [self._column, *(name for name in columns if name not in ("roles", "texts"))]

    def _parsed(self, rows: Any, columns: Sequence[str]) -> Iterator[Sequence[Any] | Broken]:
        inner = self._inner(columns)
        for row in rows:
            if isinstance(row, Broken):
                yield row
                continue
            values = dict(zip(inner, row, strict=True))
            try:
                values["roles"], values["texts"] = read_turns(values[self._column], self._roles)
            except BadTurns as error:
                yield Broken(f"column {self._column!r} {error.problem}", error.remedy)
                continue
            yield [values[name] for name in columns]


def read_turns(value: Any, roles: Mapping[str, str]) -> Turns:
    """Reads a conversation.

    Args:
        value: A list of turns, or its JSON; a turn is a dict with a role (or `speaker`, `from`) and a text
            (or `content`, `value`).
        roles: What speakers stand for.

    Returns:
        Roles and texts.

    Raises:
        BadTurns: It cannot be used.

    Example:
        >>> read_turns([{"speaker": "human", "text": "Hi"}], {"human": "user"})
        (['user'], ['Hi'])
    """
    if isinstance(value, (str, bytes)):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise BadTurns(f"is no JSON ({error})", FORM) from None
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if not isinstance(value, (list, tuple)):
        raise BadTurns(f"holds a {type(value).__name__}, not a list of turns", FORM)
    found: Turns = ([], [])
    for number, turn in enumerate(value, 1):
        role, text = _read_turn(turn, roles, f"turn {number}")
        if role != "skip":
            found[0].append(role)
            found[1].append(text)
    if not found[0]:
        raise BadTurns("has no turn", "give at least one")
    return found


def _read_turn(turn: Any, roles: Mapping[str, str], where: str) -> tuple[str, str]:
    if not isinstance(turn, Mapping):
        raise BadTurns(f"holds {turn!r:.60} as {where}, which is no turn", FORM)
    who = next((turn[key] for key in _WHO if key in turn), None)
    if not isinstance(who, str):
        raise BadTurns(f"has no role in {where}", FORM)
    role = roles.get(who, roles.get(who.strip().lower()))
    if role is None:
        raise BadTurns(
            f"has the role {who!r} in {where}, which is none of {', '.join(ROLES)}",
            f"say what it stands for: roles={{{who!r}: 'user'}} (or 'assistant', 'system', 'skip')",
        )
    if role == "skip":
        return role, ""
    text = next((turn[key] for key in _WHAT if key in turn), None)
    if not isinstance(text, str):
        raise BadTurns(f"has no text in {where}", FORM)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadTurns(f"holds half a character in {where}", "write the file again as UTF-8") from None
    if not text.strip():
        raise BadTurns(f"has an empty text in {where}", "fill it in, or leave the turn out")
    return role, text


def check_replies(name: str, roles: Sequence[Sequence[str]]) -> None:
    """Refuses conversations of which nothing can be learned.

    Args:
        name: How messages call the data.
        roles: Those of each conversation.

    Raises:
        DataError: No turn is the assistant's.
    """
    if not any("assistant" in row for row in roles):
        raise DataError(
            f"{name} has no turn of the assistant, so there is nothing to learn; say who it is with roles, "
            "such as roles={'wizard': 'assistant'}"
        )
