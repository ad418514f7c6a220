"""The tables of a history, and how files of older releases become files of this one."""

from __future__ import annotations

import sqlite3

from kerasft_dialogue.manager.records import HistoryError

APPLICATION = 0x6B667464
"""Marks the file as a history of conversations (`PRAGMA application_id`); "kftd" in ASCII."""

MIGRATIONS = (
    """
    CREATE TABLE users (
        id TEXT PRIMARY KEY,
        created REAL NOT NULL
    );
    CREATE TABLE profile (
        user TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
        name TEXT NOT NULL,
        value TEXT NOT NULL,
        changed REAL NOT NULL,
        PRIMARY KEY (user, name)
    );
    CREATE TABLE sessions (
        id TEXT PRIMARY KEY,
        user TEXT REFERENCES users (id) ON DELETE CASCADE,
        system TEXT NOT NULL,
        started REAL NOT NULL
    );
    CREATE INDEX sessions_by_user ON sessions (user);
    CREATE TABLE turns (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        session TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
        number INTEGER NOT NULL,
        said TEXT NOT NULL,
        said_at REAL NOT NULL,
        reply TEXT,
        replied_at REAL,
        finish TEXT,
        intent TEXT,
        intent_score REAL,
        slots TEXT NOT NULL,
        rating INTEGER CHECK (rating BETWEEN 1 AND 5),
        UNIQUE (session, number)
    );
    """,
)
"""Each brings a file from one version of the schema to the next; a release only ever adds to the end."""


def migrate(connection: sqlite3.Connection, *, name: str) -> None:
    """Brings an open file to the newest schema, all or nothing; processes that open it together take turns.

    Args:
        connection: In autocommit mode.
        name: What errors call the file.

    Raises:
        HistoryError: The file is of a newer release, or of another program.
    """
    # In one transaction, for what is read one by one may be changed in between.
    connection.execute("BEGIN")
    try:
        if _version(connection, name) == len(MIGRATIONS):
            return
    finally:
        connection.execute("ROLLBACK")
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Another process may have been faster.
        for script in MIGRATIONS[_version(connection, name) :]:
            for statement in filter(str.strip, script.split(";")):
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION}")
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _version(connection: sqlite3.Connection, name: str) -> int:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application != APPLICATION and (application or version or tables):
        raise HistoryError(f"{name} is a database of another program; name a new file")
    if version > len(MIGRATIONS):
        raise HistoryError(
            f"{name} was written by a newer release (version {version} of its tables, and this one knows "
            f"{len(MIGRATIONS)}); upgrade kerasft"
        )
    return int(version)
