"""The history: what is saved stays saved, whoever is killed and however many write."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from kerasft_dialogue.manager import History, HistoryError, Slot, schema

CITY = Slot(name="city", value="Łódź", start=3, end=7, score=0.5)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chat.sqlite"


@pytest.fixture
def history(path: Path):
    with History(path) as opened:
        yield opened


def exchange(
    history: History, session: str, said: str = "Hello!", reply: str = "Hi.", rating: int = 0
) -> int:
    turn = history.begin(session, said).id
    history.finish(turn, reply, finish="end")
    if rating:
        history.rate(turn, rating)
    return turn


def python(code: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


class TestTurns:
    def test_come_back_as_they_were_saved(self, history: History, path: Path) -> None:
        session = history.open_session(user="ada", system="Be brief.")
        turn = history.begin(session.id, "To Łódź", intent="travel", intent_score=0.75, slots=[CITY])
        assert (turn.number, turn.reply, turn.rating) == (1, None, None)
        history.finish(turn.id, "When?", finish="end")
        history.rate(turn.id, 2)
        history.rate(turn.id, 4)
        history.close()
        with History(path) as again:
            (found,) = again.turns(session.id)
            assert again.session(session.id) == session
        assert (found.said, found.reply, found.finish, found.rating) == ("To Łódź", "When?", "end", 4)
        assert (found.intent, found.intent_score, found.slots) == ("travel", 0.75, (CITY,))

    def test_the_last_ones_and_those_with_a_reply(self, history: History) -> None:
        session = history.open_session().id
        for said in "abc":
            exchange(history, session, said)
        history.begin(session, "d")
        assert [turn.said for turn in history.turns(session, last=2)] == ["c", "d"]
        assert [turn.said for turn in history.turns(session, last=2, answered=True)] == ["b", "c"]
        assert history.turns("another") == []

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "x" * 100_000,
            "\x00\x07 \x1b[2J\r\n",
            "'; DROP TABLE turns; --",
            '"%s" {} \\',
            "\U0001f600 日本語",
        ],
        ids=["empty", "long", "control", "sql", "quotes", "unicode"],
    )
    def test_any_text(self, history: History, text: str) -> None:
        session = history.open_session(system=text).id
        exchange(history, session, text, text)
        (turn,) = history.turns(session)
        assert (turn.said, turn.reply, history.session(session).system) == (text, text, text)

    def test_what_utf8_cannot_hold_is_replaced(self, history: History) -> None:
        session = history.open_session().id
        assert history.begin(session, "a\udcffb").said == "a?b"

    @pytest.mark.parametrize("rating", [0, 6, 2.5, "5", True, None])
    def test_ratings_are_one_to_five(self, history: History, rating) -> None:
        turn = exchange(history, history.open_session().id)
        with pytest.raises(HistoryError, match=r"whole number from 1 \(bad\) to 5 \(good\)"):
            history.rate(turn, rating)
        assert history.turn(turn).rating is None

    def test_what_is_not_there_is_an_error(self, history: History) -> None:
        session = history.open_session().id
        waiting = history.begin(session, "Hello?").id
        with pytest.raises(HistoryError, match="no reply of a turn"):
            history.rate(waiting, 3)
        history.finish(waiting, "Yes.", finish="end")
        with pytest.raises(HistoryError, match=r"no turn .* waits for a reply"):
            history.finish(waiting, "No.", finish="end")
        with pytest.raises(HistoryError, match="no session 'lost'"):
            history.begin("lost", "Hello?")
        with pytest.raises(HistoryError, match="no turn 99"):
            history.turn(99)
        with pytest.raises(HistoryError, match="id of a session is empty"):
            history.open_session(" ")


class TestUsers:
    def test_profiles_grow_and_forget(self, history: History, path: Path) -> None:
        assert history.profile("ada") == {}
        history.update_profile("ada", {"name": "Ada", "likes": ["jazz", 3]})
        with History(path) as other:
            assert other.update_profile("ada", {"name": None, "age": 36}) == {"age": 36, "likes": ["jazz", 3]}
        assert history.profile("ada") == {"age": 36, "likes": ["jazz", 3]}
        with pytest.raises(HistoryError, match="cannot hold a value"):
            history.update_profile("ada", {"age": 37, "weight": float("nan")})
        assert history.profile("ada")["age"] == 36
        with pytest.raises(HistoryError, match="id of a user is empty"):
            history.update_profile("", {})

    def test_sessions_are_of_one_user(self, history: History) -> None:
        history.open_session("a", user="ada")
        history.open_session("b")
        assert history.open_session("a").user == "ada"
        with pytest.raises(HistoryError, match="not of the user 'bob'"):
            history.open_session("a", user="bob")
        with pytest.raises(HistoryError, match="not of the user 'bob'"):
            history.open_session("b", user="bob")
        assert [session.id for session in history.sessions()] == ["a", "b"]
        assert [session.id for session in history.sessions(user="ada")] == ["a"]

    def test_data_of_a_user_is_all_of_it_and_only_that(self, history: History) -> None:
        history.update_profile("ada", {"name": "Ada"})
        exchange(history, history.open_session("a", user="ada", system="Be brief.").id, rating=4)
        exchange(history, history.open_session("b", user="bob").id, "secret")
        data = json.loads(json.dumps(history.user_data("ada")))
        assert data["user"] == "ada"
        assert data["profile"] == {"name": "Ada"}
        (session,) = data["sessions"]
        assert (session["id"], session["system"]) == ("a", "Be brief.")
        assert [(turn["said"], turn["reply"], turn["rating"]) for turn in session["turns"]] == [
            ("Hello!", "Hi.", 4)
        ]
        with pytest.raises(HistoryError, match="no user 'eve'"):
            history.user_data("eve")

    def test_what_is_deleted_is_no_longer_in_the_files(self, history: History, path: Path) -> None:
        exchange(history, history.open_session("b", user="bob").id, "bread-and-butter")
        history.update_profile("ada", {"pin": "pin-4711"})
        session = history.open_session("a", user="ada").id
        for _ in range(100):
            exchange(history, session, "very-secret" * 20)
        assert any(b"very-secret" in file.read_bytes() for file in path.parent.iterdir())
        assert history.delete_user("ada") == 100
        left = b"".join(file.read_bytes() for file in path.parent.iterdir())
        assert b"very-secret" not in left
        assert b"pin-4711" not in left
        assert b"bread-and-butter" in left
        assert history.users() == ["bob"]
        with pytest.raises(HistoryError, match="no user 'ada'"):
            history.delete_user("ada")
        with pytest.raises(HistoryError, match="user may have been deleted"):
            history.begin(session, "still there?")


class TestConversations:
    def test_read_as_turns_with_roles(self, history: History, tmp_path: Path) -> None:
        session = history.open_session(user="ada", system="Be brief.").id
        exchange(history, session, "Hello!", "Hi.")
        history.finish(history.begin(session, "Sing!").id, "La la", finish="interrupted")
        history.begin(session, "Anybody?")
        exchange(history, history.open_session().id, "日本語", "はい")
        assert history.export(tmp_path / "all.jsonl") == 2
        first, second = map(json.loads, (tmp_path / "all.jsonl").read_text(encoding="utf-8").splitlines())
        assert first["turns"] == [
            {"role": "system", "text": "Be brief."},
            {"role": "user", "text": "Hello!"},
            {"role": "assistant", "text": "Hi."},
        ]
        assert second["turns"][1] == {"role": "assistant", "text": "はい"}
        assert history.export(tmp_path / "ada.jsonl", user="ada") == 1

    @pytest.mark.parametrize(
        ("ratings", "kept"),
        [((5, 0, 4, 0), 3), ((0, 0), 0), ((5, 2, 5), 1), ((1, 5), 0), ((0, 3), 0), ((0, 4), 2)],
    )
    def test_only_what_was_rated_well(self, history: History, ratings: tuple[int, ...], kept: int) -> None:
        session = history.open_session().id
        for rating in ratings:
            exchange(history, session, rating=rating)
        found = list(history.conversations(min_rating=4))
        assert [len(conversation["turns"]) for conversation in found] == ([2 * kept] if kept else [])

    def test_nothing_to_write_leaves_the_file_as_it_was(self, history: History, tmp_path: Path) -> None:
        target = tmp_path / "good.jsonl"
        target.write_text("before")
        with pytest.raises(HistoryError, match="no conversations with replies rated 4 or better"):
            history.export(target, min_rating=4)
        assert target.read_text() == "before"
        assert sorted(file.name for file in tmp_path.iterdir() if "good" in file.name) == ["good.jsonl"]


class TestFile:
    def test_settings_that_keep_what_was_saved(self, history: History) -> None:
        with history._database._using() as connection:
            values = [
                connection.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("journal_mode", "synchronous", "foreign_keys", "secure_delete")
            ]
        assert values == ["wal", 2, 1, 1]

    def test_files_of_others_stay_as_they_are(self, tmp_path: Path) -> None:
        other, text = tmp_path / "other.sqlite", tmp_path / "notes.txt"
        with sqlite3.connect(other) as connection:
            connection.execute("CREATE TABLE birds (name TEXT)")
        connection.close()
        text.write_text("not a database, but long enough to be read as the header of one" * 3)
        before = other.read_bytes(), text.read_bytes()
        with pytest.raises(HistoryError, match="a database of another program"):
            History(other)
        with pytest.raises(HistoryError, match="not a database"):
            History(text)
        assert (other.read_bytes(), text.read_bytes()) == before
        with pytest.raises(HistoryError, match="unable to open"):
            History(tmp_path)

    def test_older_files_are_brought_up_to_date_and_newer_ones_refused(
        self, history: History, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        turn = exchange(history, history.open_session("a").id)
        history.close()
        with monkeypatch.context() as later:
            added = "ALTER TABLE turns ADD COLUMN mood TEXT; UPDATE turns SET mood = 'good';"
            later.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, added))
            with History(path) as newer:
                assert newer.turn(turn).said == "Hello!"
                assert newer._database.read("SELECT mood FROM turns") == [("good",)]
        with pytest.raises(HistoryError, match="newer release"):
            History(path)

    def test_a_migration_that_fails_changes_nothing(
        self, history: History, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        turn = exchange(history, history.open_session("a").id)
        history.close()
        with monkeypatch.context() as later:
            bad = "ALTER TABLE turns ADD COLUMN mood TEXT; UPDATE moods SET mood = 'good';"
            later.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, bad))
            with pytest.raises(HistoryError, match="no such table: moods"):
                History(path)
        with History(path) as again:
            assert again.turn(turn).reply == "Hi."
            columns = [row[1] for row in again._database.read("PRAGMA table_info(turns)")]
        assert "mood" not in columns

    def test_a_closed_history_says_so(self, history: History) -> None:
        history.close()
        with pytest.raises(HistoryError, match="was closed"):
            history.users()

    def test_memory_needs_no_file(self) -> None:
        with History() as history:
            exchange(history, history.open_session().id)
            assert len(list(history.conversations())) == 1

    def test_a_forked_process_opens_its_own_connection(self, history: History, path: Path) -> None:
        session = history.open_session().id
        child = os.fork()
        if child == 0:
            status = 1
            try:
                exchange(history, session, "from the child")
                status = 0
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        exchange(history, session, "from the parent")
        assert [turn.said for turn in history.turns(session)] == ["from the child", "from the parent"]


WRITER = """
import sys
from kerasft_dialogue.manager import History

path, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
print("ready", flush=True)
sys.stdin.readline()
with History(path) as history:
    session = history.open_session("shared").id
    for number in range(count):
        turn = history.begin(session, f"{name} {number}")
        history.finish(turn.id, f"yes {name} {number}", finish="end")
        history.update_profile("ada", {f"{name}-{number}": number})
"""


class TestSeveral:
    def test_a_new_file_that_another_fills_meanwhile_is_no_file_of_another_program(self, path: Path) -> None:
        class Interrupted(sqlite3.Connection):
            def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
                if sql == "PRAGMA user_version":
                    other = sqlite3.connect(path, timeout=0, isolation_level=None)
                    with contextlib.closing(other), contextlib.suppress(sqlite3.OperationalError):
                        schema.migrate(other, name="other")
                return super().execute(sql, *values)

        connection = sqlite3.connect(path, isolation_level=None, factory=Interrupted)
        with contextlib.closing(connection):
            schema.migrate(connection, name="chat.sqlite")
            assert connection.execute("PRAGMA application_id").fetchone() == (schema.APPLICATION,)

    def test_processes_write_one_session_of_a_new_file(self, path: Path) -> None:
        writers = [python(WRITER, path, name, 25) for name in "abc"]
        for writer in writers:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n"
        for writer in writers:
            assert writer.stdin is not None
            writer.stdin.write("go\n")
            writer.stdin.flush()
        for writer in writers:
            _, err = writer.communicate()
            assert writer.returncode == 0, err
        with History(path) as history:
            turns = history.turns("shared")
            assert len(history.profile("ada")) == 75
        assert [turn.number for turn in turns] == list(range(1, 76))
        assert all(turn.reply == f"yes {turn.said}" for turn in turns)
        for name in "abc":
            assert [t.said for t in turns if t.said[0] == name] == [f"{name} {i}" for i in range(25)]

    def test_threads_write_with_one_history(self, history: History) -> None:
        session = history.open_session().id
        threads = [
            threading.Thread(target=lambda: [exchange(history, session) for _ in range(20)]) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [turn.number for turn in history.turns(session)] == list(range(1, 81))

    @pytest.mark.parametrize("after", [1, 7, 20])
    def test_a_killed_process_loses_nothing_that_it_had_saved(self, path: Path, after: int) -> None:
        code = """
import itertools, sys
from kerasft_dialogue.manager import History
history = History(sys.argv[1])
session = history.open_session("s").id
for number in itertools.count():
    turn = history.begin(session, f"said {number}")
    print("said", number, flush=True)
    history.finish(turn.id, f"reply {number}", finish="end")
    print("replied", number, flush=True)
"""
        writer = python(code, path)
        assert writer.stdout is not None
        seen = [writer.stdout.readline() for _ in range(after)]
        os.kill(writer.pid, signal.SIGKILL)
        seen += writer.stdout.read().splitlines(keepends=True)
        writer.wait()
        said = sum(line.startswith("said") and line.endswith("\n") for line in seen)
        replied = sum(line.startswith("replied") and line.endswith("\n") for line in seen)
        with History(path) as history:
            turns = history.turns("s")
            exchange(history, "s", "after")
        assert said <= len(turns) <= said + 1
        assert sum(turn.reply is not None for turn in turns) >= replied
        assert [turn.said for turn in turns] == [f"said {number}" for number in range(len(turns))]
