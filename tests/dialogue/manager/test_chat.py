"""`kerasft chat` and `kerasft history` as processes, in pipes and in a terminal."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kerasft.serving import Server
from kerasft_dialogue import terminal
from kerasft_dialogue.manager import DialogueManager, History

KERASFT = [sys.executable, "-m", "kerasft"]
Chat = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture
def chat(echo: Path) -> Chat:
    """Runs `kerasft chat ECHO ARGUMENTS` with lines on standard input."""

    def run(*arguments: object, said: str | bytes = "", model: object = echo, code: int = 0) -> Any:
        given = said if isinstance(said, bytes) else said.encode()
        done = subprocess.run(
            [*KERASFT, "chat", str(model), *map(str, arguments)], input=given, capture_output=True
        )
        assert done.returncode == code, done.stderr.decode()
        return done

    return run


def kerasft(*arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([*KERASFT, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    return done


class TestPipe:
    def test_a_line_is_a_turn_and_only_replies_are_on_standard_output(self, chat: Chat) -> None:
        done = chat("--system", "Be brief.", "--seed", 4, said="One.\n\n  \nTwo.\n/reset\nThree.")
        first = "system=Be brief. user=One. [seed 5]"
        assert done.stdout.decode().splitlines() == [
            first,
            f"system=Be brief. user=One. assistant={first} user=Two. [seed 6]",
            "system=Be brief. user=Three. [seed 5]",
        ]
        assert done.stderr.decode() == "(a new conversation)\n"

    def test_quit_slashes_and_unknown_commands(self, chat: Chat) -> None:
        done = chat(said="//etc/motd\n/nonsense\n/quit now\nnever read\n")
        assert done.stdout.decode() == "user=/etc/motd [seed 1]\n"
        assert "there is no command /nonsense: /reset" in done.stderr.decode()

    def test_bytes_that_are_no_text(self, chat: Chat) -> None:
        done = chat(said=b"a\xff\x00\x1bb\n")
        assert done.stdout == "user=a\ufffd\x00\x1bb [seed 1]\n".encode()

    def test_settings_reach_the_model(self, chat: Chat) -> None:
        settings = ("--temperature", 0.5, "--top-k", 3, "--top-p", 0.9, "--max-tokens", 2, "--stop", "x")
        assert chat(*settings, said="a b c\n").stdout == b"user=a b\n"

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("--top-p", 2), "top_p: 2.0 is not a number above 0 and up to 1."),
            (("--session", "s"), "--session names a session of a history"),
            (("--intents", "nowhere"), "'nowhere' is no model"),
            (("--stop", ""), "stop: ('',) is not a tuple of strings that are not empty."),
        ],
    )
    def test_wrong_requests_are_one_sentence(self, chat: Chat, arguments, message: str) -> None:
        done = chat(*arguments, said="One.\n", code=2)
        assert done.stdout == b""
        assert done.stderr.decode().startswith(f"error: {message}")

    def test_a_model_that_is_none(self, chat: Chat, tmp_path: Path) -> None:
        assert b"is no model: give the folder of a run or of an export" in chat(model="nil", code=2).stderr
        assert b"neither the folder of a run nor" in chat(model=tmp_path, code=2).stderr

    def test_a_server(self, chat: Chat, echo: Path) -> None:
        with Server(echo, model_name="echo", grpc_port=0) as server:
            done = chat(said="One.\n", model=f"localhost:{server.port}/echo")
        assert done.stdout == b"user=One. [seed 1]\n"

    def test_ctrl_c_stops_a_reply_and_not_the_program(self, echo: Path, tmp_path: Path) -> None:
        path = tmp_path / "chat.sqlite"
        talk = subprocess.Popen(
            [*KERASFT, "chat", str(echo), "--history", str(path), "--max-tokens", "10000000"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert talk.stdin is not None
        assert talk.stdout is not None
        talk.stdin.write(b"count\n")
        talk.stdin.flush()
        assert talk.stdout.read(8) == b"0 1 2 3 "
        talk.send_signal(signal.SIGINT)
        rest = talk.stdout.readline()
        out, err = talk.communicate(b"/rate 1\nOne.\n/rate 5\n")
        assert talk.returncode == 0, err
        assert len(rest) < 10**6
        assert out.startswith(b"user=count assistant=0 1 2 3 ")
        assert out.endswith(b" user=One. [seed 2]\n")
        assert err == b"(stopped)\n(rated 1)\n(rated 5)\n"
        with History(path) as history:
            (session,) = history.sessions()
            turns = history.turns(session.id)
        assert [(turn.said, turn.finish, turn.rating) for turn in turns] == [
            ("count", "interrupted", 1),
            ("One.", "end", 5),
        ]

    def test_ctrl_c_while_waiting_ends_a_pipe(self, echo: Path) -> None:
        # Of a job in the background programs inherit that they ignore Ctrl-C.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            talk = subprocess.Popen(
                [*KERASFT, "chat", str(echo)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        finally:
            signal.signal(signal.SIGINT, before)
        assert talk.stdin is not None
        assert talk.stderr is not None
        talk.stdin.write(b"/rate\n")
        talk.stdin.flush()
        assert talk.stderr.readline().startswith(b"/rate needs a number")
        talk.send_signal(signal.SIGINT)
        out, err = talk.communicate()
        assert (talk.returncode, out, err) == (130, b"", b"interrupted\n")


class TestHistory:
    def test_ratings_become_training_data(self, chat: Chat, tmp_path: Path) -> None:
        path, out = tmp_path / "chat.sqlite", tmp_path / "good.jsonl"
        said = "/rate 5\nOne.\n/rate five\n/rate 6\n/rate 5\nTwo.\n"
        done = chat("--history", path, "--user", "ada", said=said)
        assert done.stderr.decode().splitlines() == [
            f"{path} has no reply of a turn 0 that could be rated",
            "/rate needs a number from 1 (bad) to 5 (good), such as /rate 4",
            "the rating 6 is no whole number from 1 (bad) to 5 (good)",
            "(rated 5)",
        ]
        answer = kerasft("history", "export", path, "--out", out, "--min-rating", 4).stdout
        assert json.loads(answer) == {"out": str(out), "conversations": 1}
        assert json.loads(out.read_text()) == {
            "turns": [
                {"role": "user", "text": "One."},
                {"role": "assistant", "text": "user=One. [seed 1]"},
            ]
        }

    def test_a_session_goes_on_in_another_process(self, chat: Chat, tmp_path: Path) -> None:
        kept = ("--history", tmp_path / "chat.sqlite", "--session", "s", "--user", "ada")
        chat(*kept, said="One.\n")
        assert b"user=One. assistant=user=One. [seed 1] user=Two. [seed 2]" in chat(*kept, said="Two.").stdout
        assert b"not of the user 'bob'" in chat(*kept[:-1], "bob", said="Three.", code=2).stderr

    def test_data_of_a_user_can_be_seen_and_deleted(self, chat: Chat, tmp_path: Path) -> None:
        path = tmp_path / "chat.sqlite"
        chat("--history", path, "--user", "ada", said="One.\nTwo.\n")
        data = json.loads(kerasft("history", "user", path, "ada").stdout)
        assert [turn["said"] for turn in data["sessions"][0]["turns"]] == ["One.", "Two."]
        assert json.loads(kerasft("history", "forget", path, "ada").stdout) == {"user": "ada", "turns": 2}
        assert "no user 'ada'" in kerasft("history", "user", path, "ada", code=2).stderr
        assert "does not exist" in kerasft("history", "user", tmp_path / "nil", "ada", code=2).stderr


class TestTerminal:
    @pytest.fixture
    def shown(self, echo: Path):
        """A chat in a pseudo-terminal: its process, its keys, and a function that reads until bytes come."""
        ours, theirs = pty.openpty()
        talk = subprocess.Popen(
            [*KERASFT, "chat", str(echo), "--max-tokens", "10000000"],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            env={**os.environ, "TERM": "dumb"},
        )
        os.close(theirs)

        seen = b""

        def until(wanted: bytes) -> bytes:
            nonlocal seen
            while wanted not in seen:
                seen += os.read(ours, 65536)
            found, seen = seen[: (end := seen.index(wanted) + len(wanted))], seen[end:]
            return found

        yield talk, ours, until
        talk.kill()
        talk.wait()
        os.close(ours)

    def test_prompt_words_ctrl_c_and_ctrl_d(self, shown) -> None:
        talk, keys, until = shown
        assert b"/reset starts anew" in until(b"> ")
        os.write(keys, b"count\n")
        until(b"0 1 2 3 4 ")
        talk.send_signal(signal.SIGINT)
        until(b"(stopped)")
        until(b"> ")
        os.write(keys, b"/reset\n")
        until(b"> ")
        os.write(keys, b"One.\n")
        until(b"user=One. [seed 1]")
        until(b"> ")
        os.write(keys, b"\x04")
        assert talk.wait() == 0

    def test_an_error_does_not_end_it(self, shown) -> None:
        talk, keys, until = shown
        until(b"> ")
        os.write(keys, b"/rate 3\n")
        until(b"could be rated")
        until(b"> ")
        os.write(keys, b"/quit\n")
        assert talk.wait() == 0


def test_ctrl_c_at_the_prompt_ends_nothing(echo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = iter([KeyboardInterrupt, "One.", KeyboardInterrupt, "/quit"])

    def ask() -> str:
        line = next(lines)
        if line is KeyboardInterrupt:
            raise KeyboardInterrupt
        return str(line)

    monkeypatch.setattr(terminal, "_ask", ask)
    monkeypatch.setattr("sys.stdin", type("Keys", (), {"isatty": lambda self: True})())
    with DialogueManager(responder=echo) as manager:
        talk = terminal.Terminal(manager=manager)
        talk.run()
        assert [turn.said for turn in talk.session.turns] == ["One."]
    assert not list(lines)


def test_control_characters_cannot_command_a_terminal() -> None:
    assert terminal._harmless("a\x1b[2J\x07\x9b b\n\tŁ\x00日") == "a[2J b\n\tŁ日"
