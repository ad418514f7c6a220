"""The history: users, their profiles, sessions and turns, in one SQLite file."""

from __future__ import annotations

import dataclasses
import json
import os
import sqlite3
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from kerasft_dialogue.manager.database import Database
from kerasft_dialogue.manager.records import HistoryError, SessionRecord, Slot, Turn

_TURN = "id, session, number, said, reply, finish, intent, intent_score, slots, rating"


class History:
    """Conversations in an SQLite file that several processes and threads may use at once.

    What a method has returned from is on disk: a killed process or a power failure loses no turn. What is
    deleted is overwritten, not only unlinked.

    Args:
        path: The file, made if there is none; None keeps everything in memory.

    Raises:
        HistoryError: The file cannot be opened, or is not a history of this release or an older one.

    Example:
        >>> with History() as history:
        ...     session = history.open_session(user="ada")
        ...     turn = history.begin(session.id, "Hello!")
        ...     history.finish(turn.id, "Hello, Ada.", finish="end").reply
        'Hello, Ada.'
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self.path = None if path is None else Path(path).absolute()
        self.name = "the history in memory" if path is None else str(path)
        self._database = Database(self.path, name=self.name)

    # -------------------------------------------------------------------------------------------------- Users

    def users(self) -> list[str]:
        """Returns the ids of all users, sorted."""
        return [row[0] for row in self._database.read("SELECT id FROM users ORDER BY id")]

    def profile(self, user: str) -> dict[str, Any]:
        """Returns what is known of a user, name to value; nothing of one that is not known."""
        rows = self._database.read(
            "SELECT name, value FROM profile WHERE user = ? ORDER BY name", _clean(user)
        )
        return {name: json.loads(value) for name, value in rows}

    def update_profile(self, user: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """Adds to what is known of a user, whom it makes if need be.

        Args:
            user: Id of the user.
            values: Name to a value that JSON has; None forgets the name.

        Returns:
            The whole profile.

        Raises:
            HistoryError: A value is none that JSON has.
        """
        user = _checked_user(user)
        try:
            encoded = {_clean(name): json.dumps(value, allow_nan=False) for name, value in values.items()}
        except (TypeError, ValueError) as error:
            raise HistoryError(f"the profile of {user!r} cannot hold a value: {error}") from error
        with self._database.writing() as connection:
            self._add_user(connection, user)
            for name, value in encoded.items():
                if value == "null":
                    connection.execute("DELETE FROM profile WHERE user = ? AND name = ?", (user, name))
                else:
                    connection.execute(
                        "INSERT INTO profile (user, name, value, changed) VALUES (?, ?, ?, ?) "
                        "ON CONFLICT (user, name) DO UPDATE SET value = excluded.value, "
                        "changed = excluded.changed",
                        (user, name, value, time.time()),
                    )
        return self.profile(user)

    def user_data(self, user: str) -> dict[str, Any]:
        """Returns all that is stored of a user, as values that JSON has.

        Raises:
            HistoryError: There is no such user.
        """
        with self._database.snapshot():
            found = self._database.read("SELECT created FROM users WHERE id = ?", _clean(user))
            if not found:
                raise self._unknown_user(user)
            return {
                "user": user,
                "created": found[0][0],
                "profile": self.profile(user),
                "sessions": [
                    {
                        **dataclasses.asdict(session),
                        "turns": [dataclasses.asdict(turn) for turn in self.turns(session.id)],
                    }
                    for session in self.sessions(user=user)
                ],
            }

    def delete_user(self, user: str) -> int:
        """Deletes a user with profile, sessions and turns, so that the file no longer holds their text.

        Returns:
            How many turns were deleted.

        Raises:
            HistoryError: There is no such user.
        """
        user = _clean(user)
        with self._database.writing() as connection:
            (turns,) = connection.execute(
                "SELECT count(*) FROM turns JOIN sessions ON sessions.id = turns.session WHERE user = ?",
                (user,),
            ).fetchone()
            if not connection.execute("DELETE FROM users WHERE id = ?", (user,)).rowcount:
                raise self._unknown_user(user)
        # The log still has the old pages; a reader in another process may hold them until it is done.
        self._database.read("PRAGMA wal_checkpoint(TRUNCATE)")
        return int(turns)

    # ----------------------------------------------------------------------------------------------- Sessions

    def open_session(
        self, session: str | None = None, *, user: str | None = None, system: str = ""
    ) -> SessionRecord:
        """Starts a session, or returns the one of this id.

        Args:
            session: Its id; None starts one with an id of its own.
            user: Whose session it is; the user is made if need be.
            system: What stands before the first turn of a new session.

        Raises:
            HistoryError: The session is another user's.
        """
        user = None if user is None else _checked_user(user)
        name = uuid.uuid4().hex if session is None else _clean(session)
        if not name.strip():
            raise HistoryError("the id of a session is empty; leave it out for a new session")
        with self._database.writing() as connection:
            if user is not None:
                self._add_user(connection, user)
            connection.execute(
                "INSERT INTO sessions (id, user, system, started) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (id) DO NOTHING",
                (name, user, _clean(system), time.time()),
            )
        found = self.session(name)
        if user is not None and found.user != user:
            raise HistoryError(f"the session {name!r} of {self.name} is not of the user {user!r}")
        return found

    def session(self, session: str) -> SessionRecord:
        """Returns a session.

        Raises:
            HistoryError: There is no such session.
        """
        rows = self._database.read(
            "SELECT id, user, system, started FROM sessions WHERE id = ?", _clean(session)
        )
        if not rows:
            raise HistoryError(f"{self.name} has no session {session!r}")
        return _session(rows[0])

    def sessions(self, *, user: str | None = None) -> list[SessionRecord]:
        """Returns the sessions of a user, or all, oldest first."""
        rows = self._database.read(
            "SELECT id, user, system, started FROM sessions WHERE ?1 IS NULL OR user = ?1 "
            "ORDER BY started, id",
            None if user is None else _clean(user),
        )
        return [_session(row) for row in rows]

    # -------------------------------------------------------------------------------------------------- Turns

    def begin(
        self,
        session: str,
        said: str,
        *,
        intent: str | None = None,
        intent_score: float | None = None,
        slots: Sequence[Slot] = (),
    ) -> Turn:
        """Stores what a user said, before there is a reply.

        Raises:
            HistoryError: There is no such session.
        """
        session = _clean(session)
        with self._database.writing() as connection:
            if not connection.execute("SELECT 1 FROM sessions WHERE id = ?", (session,)).fetchone():
                raise HistoryError(f"{self.name} has no session {session!r}; its user may have been deleted")
            (last,) = connection.execute(
                "SELECT coalesce(max(number), 0) FROM turns WHERE session = ?", (session,)
            ).fetchone()
            turn = connection.execute(
                "INSERT INTO turns (session, number, said, said_at, intent, intent_score, slots) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    session,
                    last + 1,
                    _clean(said),
                    time.time(),
                    intent,
                    intent_score,
                    json.dumps([dataclasses.asdict(slot) for slot in slots]),
                ),
            ).lastrowid
        assert turn is not None
        return self.turn(turn)

    def finish(self, turn: int, reply: str, *, finish: str) -> Turn:
        """Stores the reply to a turn that has none yet.

        Raises:
            HistoryError: There is no such turn, or it has a reply.
        """
        with self._database.writing() as connection:
            changed = connection.execute(
                "UPDATE turns SET reply = ?, finish = ?, replied_at = ? WHERE id = ? AND reply IS NULL",
                (_clean(reply), finish, time.time(), turn),
            ).rowcount
        if not changed:
            raise HistoryError(f"{self.name} has no turn {turn} that waits for a reply")
        return self.turn(turn)

    def rate(self, turn: int, rating: int) -> Turn:
        """Stores what a user thinks of a reply; a second rating replaces the first.

        Args:
            turn: Id of the turn.
            rating: 1 (bad) to 5 (good).

        Raises:
            HistoryError: The rating is another number, or there is no such reply.
        """
        if isinstance(rating, bool) or not isinstance(rating, int) or not 1 <= rating <= 5:
            raise HistoryError(f"the rating {rating!r} is no whole number from 1 (bad) to 5 (good)")
        with self._database.writing() as connection:
            changed = connection.execute(
                "UPDATE turns SET rating = ? WHERE id = ? AND reply IS NOT NULL", (rating, turn)
            ).rowcount
        if not changed:
            raise HistoryError(f"{self.name} has no reply of a turn {turn} that could be rated")
        return self.turn(turn)

    def turn(self, turn: int) -> Turn:
        """Returns a turn.

        Raises:
            HistoryError: There is no such turn.
        """
        rows = self._database.read(f"SELECT {_TURN} FROM turns WHERE id = ?", turn)
        if not rows:
            raise HistoryError(f"{self.name} has no turn {turn}")
        return _turn(rows[0])

    def turns(self, session: str, *, last: int | None = None, answered: bool = False) -> list[Turn]:
        """Returns the turns of a session, oldest first.

        Args:
            session: Its id; one that is not known has no turns.
            last: Only so many of the newest.
            answered: Only those with a reply.
        """
        rows = self._database.read(
            f"SELECT {_TURN} FROM turns WHERE session = ?1 AND (NOT ?2 OR reply IS NOT NULL) "
            "ORDER BY number DESC LIMIT ?3",
            _clean(session),
            answered,
            -1 if last is None else last,
        )
        return [_turn(row) for row in reversed(rows)]

    # -------------------------------------------------------------------------------------------------- Files

    def conversations(
        self, *, user: str | None = None, min_rating: int | None = None
    ) -> Iterator[dict[str, Any]]:
        """Yields sessions as the task `dialogue` reads them: `{"turns": [{"role": ..., "text": ...}]}`.

        Replies that were interrupted are left out.

        Args:
            user: Only of this user.
            min_rating: Only what was rated so or better: a conversation ends before its first reply with a
                lower rating, and goes no further than its last rated one, as nobody vouches for the rest.
        """
        for session in self.sessions(user=user):
            turns = [turn for turn in self.turns(session.id, answered=True) if turn.finish != "interrupted"]
            if min_rating is not None:
                turns = _approved(turns, min_rating)
            if turns:
                told = [{"role": "system", "text": session.system}] if session.system else []
                for turn in turns:
                    told.append({"role": "user", "text": turn.said})
                    told.append({"role": "assistant", "text": str(turn.reply)})
                yield {"turns": told}

    def export(self, path: str | Path, *, user: str | None = None, min_rating: int | None = None) -> int:
        """Writes `conversations` into a file, one JSON object a line, for `kerasft finetune dialogue --data`.

        Args:
            path: The file; it is replaced when all is written.
            user: Only of this user.
            min_rating: As for `conversations`.

        Returns:
            How many conversations it has.

        Raises:
            HistoryError: There are none.
        """
        target = Path(path)
        beside = target.with_name(f".{target.name}.{os.getpid()}")
        count = 0
        try:
            with beside.open("w", encoding="utf-8") as file, self._database.snapshot():
                for count, conversation in enumerate(  # noqa: B007
                    self.conversations(user=user, min_rating=min_rating), 1
                ):
                    file.write(json.dumps(conversation, ensure_ascii=False) + "\n")
            if not count:
                rated = "" if min_rating is None else f" with replies rated {min_rating} or better"
                raise HistoryError(f"{self.name} has no conversations{rated} to write to {target}")
            os.replace(beside, target)
        finally:
            beside.unlink(missing_ok=True)
        return count

    def close(self) -> None:
        """Closes the file; later calls raise."""
        self._database.close()

    def __enter__(self) -> History:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _add_user(self, connection: sqlite3.Connection, user: str) -> None:
        connection.execute(
            "INSERT INTO users (id, created) VALUES (?, ?) ON CONFLICT (id) DO NOTHING", (user, time.time())
        )

    def _unknown_user(self, user: str) -> HistoryError:
        return HistoryError(f"{self.name} has no user {user!r}")


def _clean(text: str) -> str:
    """Replaces what UTF-8 cannot hold, such as the halves of broken surrogate pairs."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _checked_user(user: str) -> str:
    if not user.strip():
        raise HistoryError("the id of a user is empty; leave it out where there is none")
    return _clean(user)


def _approved(turns: list[Turn], min_rating: int) -> list[Turn]:
    for place, turn in enumerate(turns):
        if turn.rating is not None and turn.rating < min_rating:
            turns = turns[:place]
            break
    while turns and turns[-1].rating is None:
        turns = turns[:-1]
    return turns


def _turn(row: tuple[Any, ...]) -> Turn:
    *fields, slots, rating = row
    names = [field.strip() for field in _TURN.split(",")]
    found = dict(zip(names, fields, strict=False))
    return Turn(**found, slots=tuple(Slot(**slot) for slot in json.loads(slots)), rating=rating)


def _session(row: tuple[Any, ...]) -> SessionRecord:
    return SessionRecord(id=row[0], user=row[1], system=row[2], started=row[3])
