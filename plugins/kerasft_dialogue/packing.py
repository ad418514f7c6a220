"""Several conversations in one row, and long ones in several."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kerasft_dialogue.template import NEXT

Turns = tuple[list[str], list[str]]


def split_turns(conversation: Turns, lengths: Sequence[int], *, context: int) -> list[tuple[Turns, int]]:
    """Cuts a conversation that is longer than the context into parts that begin with a turn of the user.

    A turn of the system at its beginning begins every part.

    Args:
        conversation: Roles and texts.
        lengths: Tokens of each turn.
        context: Most tokens of a part; a single turn may be longer.

    Returns:
        The parts and their lengths.

    Example:
        >>> turns = (["user", "assistant", "user", "assistant"], ["a", "b", "c", "d"])
        >>> [part[0][1] for part in split_turns(turns, [4, 4, 4, 4], context=10)]
        [['a', 'b'], ['c', 'd']]
    """
    roles, texts = conversation
    head = 1 if roles[0] == "system" else 0
    fixed = sum(lengths[:head])
    parts: list[list[int]] = []
    now: list[int] = []
    total = fixed
    for place in range(head, len(roles)):
        # An exchange stays whole where it fits: the question belongs to the answer.
        whole = lengths[place]
        if roles[place] == "user" and place + 1 < len(roles):
            whole += lengths[place + 1]
        if now and total + (whole if roles[place] == "user" else lengths[place]) > context:
            parts.append(now)
            now, total = [], fixed
        now.append(place)
        total += lengths[place]
    if now or not parts:
        parts.append(now)
    first = list(range(head))
    return [
        (
            ([roles[i] for i in first + part], [texts[i] for i in first + part]),
            fixed + sum(lengths[i] for i in part),
        )
        for part in parts
    ]


def pack(lengths: Sequence[int], *, context: int) -> list[list[int]]:
    """Puts conversations into rows: each into the fullest row that has room, the long ones first.

    Args:
        lengths: Tokens of each conversation.
        context: Most tokens of a row.

    Returns:
        The numbers of the conversations of each row, in ascending order.

    Example:
        >>> pack([5, 9, 4, 1], context=10)
        [[1], [0, 2, 3]]
    """
    room_of: dict[int, list[int]] = {}
    rows: list[list[int]] = []
    for number in np.argsort(-np.asarray(lengths), kind="stable").tolist():
        length = min(lengths[number], context)
        room = next((room for room in range(length, context + 1) if room_of.get(room)), None)
        if room is None:
            rows.append([])
            row, room = len(rows) - 1, context
        else:
            row = room_of[room].pop()
        rows[row].append(number)
        room_of.setdefault(room - length, []).append(row)
    return [sorted(row) for row in rows]


def joined(conversations: Sequence[Turns]) -> Turns:
    """Returns one list of turns, a turn `NEXT` between conversations."""
    roles: list[str] = []
    texts: list[str] = []
    for own_roles, own_texts in conversations:
        if roles:
            roles.append(NEXT)
            texts.append("")
        roles += own_roles
        texts += own_texts
    return roles, texts
