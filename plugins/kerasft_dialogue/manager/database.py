"""The SQLite file of a history, for several processes and threads at once."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kerasft_dialogue.manager.records import HistoryError
from kerasft_dialogue.manager.schema import migrate

_PATIENCE = 30.0  # seconds to wait for another process that writes


class Database:
    """An SQLite file, opened anew after a fork; what is committed is on disk.

    Args:
        path: The file, made if there is none; None keeps everything in memory.
        name: What messages call it.

    Raises:
        HistoryError: The file cannot be opened, or is not a history of this release or an older one.
    """

    def __init__(self, path: Path | None, *, name: str) -> None:
        self._path = path
        self._name = name
        self._lock = threading.RLock()
        self._closed = False
        self._process = os.getpid()
        self._connection = self._connect()

    def read(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Returns the rows that a statement gives.

        Raises:
            HistoryError: The file cannot be used.
        """
        with self._using() as connection:
            return connection.execute(statement, values).fetchall()

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Changes several things or, after an exception, nothing.

        Raises:
            HistoryError: The file cannot be used.
        """
        # IMMEDIATE takes the lock at once: a transaction that reads first could find itself outdated.
        with self._transaction("BEGIN IMMEDIATE") as connection:
            yield connection

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """Reads several things as they are at one moment.

        Raises:
            HistoryError: The file cannot be used.
        """
        with self._transaction("BEGIN") as connection:
            yield connection

    def close(self) -> None:
        """Closes the file; later calls raise."""
        with self._lock:
            self._closed = True
            self._connection.close()

    @contextlib.contextmanager
    def _using(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            if self._closed:
                raise HistoryError(f"{self._name} was closed")
            if self._process != os.getpid():
                # SQLite forbids a connection from before a fork; what is in memory cannot be shared at all.
                if self._path is None:
                    raise HistoryError(
                        "a history in memory belongs to the process that made it; give it a file"
                    )
                self._process, self._connection = os.getpid(), self._connect()
            try:
                yield self._connection
            except sqlite3.Error as error:
                raise HistoryError(f"{self._name} cannot be used: {error}") from error

    @contextlib.contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        with self._using() as connection:
            connection.execute(begin)
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def _connect(self) -> sqlite3.Connection:
        try:
            connection = sqlite3.connect(
                ":memory:" if self._path is None else self._path,
                timeout=_PATIENCE,
                isolation_level=None,
                check_same_thread=False,
            )
        except sqlite3.Error as error:
            raise HistoryError(f"{self._name} cannot be opened as a history: {error}") from error
        try:
            self._prepare(connection)
        except sqlite3.Error as error:
            connection.close()
            raise HistoryError(f"{self._name} cannot be used as a history: {error}") from error
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        # Before anything is written: the file of another program must stay as it is.
        migrate(connection, name=self._name)
        end = time.monotonic() + _PATIENCE
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                break
            except sqlite3.OperationalError:
                # To change the mode SQLite does not wait for others that are just opening the file.
                if time.monotonic() > end:
                    raise
                time.sleep(0.01)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA secure_delete = ON")
