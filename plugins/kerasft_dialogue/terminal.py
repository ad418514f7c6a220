"""A conversation in a terminal, or in a pipe."""

from __future__ import annotations

import contextlib
import signal
import sys
import unicodedata
from collections.abc import Callable, Iterator
from typing import Any

from kerasft.errors import Interrupted, KerasftError
from kerasft_dialogue.manager import DialogueManager, Session

_PROMPT = "> "
_HELP = "/reset starts anew, /rate 1..5 rates the last reply, /quit ends; Ctrl-C stops a reply"


class Terminal:
    """Reads what a user says line by line, and shows replies as their words come.

    Lines that begin with a slash are commands; `//` stands for a slash that is said. Replies are all that
    standard output gets.

    Args:
        manager: Holds the conversation.
        user: With whom, by id; None for somebody unknown.
        session: Which session to go on with; None starts one.

    Raises:
        HistoryError: The session is another user's.
    """

    def __init__(
        self, *, manager: DialogueManager, user: str | None = None, session: str | None = None
    ) -> None:
        self._manager = manager
        self._user = user
        self._session = manager.session(session, user=user)
        self._commands: dict[str, Callable[[str], bool]] = {
            "reset": self._reset,
            "rate": self._rate,
            "help": self._help,
            "quit": self._quit,
        }

    @property
    def session(self) -> Session:
        """The conversation under way."""
        return self._session

    def run(self) -> None:
        """Talks until the input ends or /quit.

        Raises:
            Interrupted: Ctrl-C while it waits for a pipe.
            KerasftError: A reply failed while reading from a pipe; a terminal shows why and goes on.
        """
        by_hand = sys.stdin.isatty()
        if by_hand:
            _note(_HELP)
        _prepare(by_hand)
        goes_on = True
        while goes_on:
            try:
                goes_on = self._turn(by_hand)
            except KeyboardInterrupt:
                if not by_hand:
                    raise Interrupted("interrupted") from None
                _note("")
            except KerasftError as error:
                if not by_hand:
                    raise
                _note(f"error: {error}")

    def _turn(self, by_hand: bool) -> bool:
        line = _ask() if by_hand else sys.stdin.readline()
        if line is None or (not line and not by_hand):
            return False
        return not line.strip() or self._obey(line.strip())

    def _obey(self, said: str) -> bool:
        if not said.startswith("/") or said.startswith("//"):
            self._reply(said[1:] if said.startswith("//") else said)
            return True
        name, _, rest = said[1:].partition(" ")
        command = self._commands.get(name)
        if command is None:
            _note(f"there is no command /{name}: {_HELP}")
            return True
        return command(rest.strip())

    def _reply(self, said: str) -> None:
        out, clean = sys.stdout, _harmless if sys.stdout.isatty() else str
        stopped = False
        with _stopping() as stop, contextlib.closing(self._session.stream(said)) as stream:
            for piece in stream:
                out.write(clean(piece))
                out.flush()
                stopped = bool(stop)
                if stopped:
                    break
        out.write("\n")
        out.flush()
        if stopped:
            _note("(stopped)")

    def _reset(self, rest: str) -> bool:
        self._session = self._manager.session(user=self._user)
        _note("(a new conversation)")
        return True

    def _rate(self, rest: str) -> bool:
        try:
            rating = int(rest)
        except ValueError:
            _note("/rate needs a number from 1 (bad) to 5 (good), such as /rate 4")
            return True
        try:
            self._session.rate(rating)
        except KerasftError as error:
            _note(str(error))
        else:
            _note(f"(rated {rating})")
        return True

    def _help(self, rest: str) -> bool:
        _note(_HELP)
        return True

    def _quit(self, rest: str) -> bool:
        return False


def _prepare(by_hand: bool) -> None:
    stream: Any = sys.stdin
    with contextlib.suppress(AttributeError):  # a stand-in, as under a test runner
        stream.reconfigure(encoding="utf-8", errors="replace")
    if by_hand:
        with contextlib.suppress(ImportError):  # where Python was built without it
            import readline  # noqa: F401


def _ask() -> str | None:
    """Returns a line that was typed, or None at the end."""
    try:
        if sys.stdout.isatty():
            return input(_PROMPT)
    except EOFError:
        _note("")
        return None
    sys.stderr.write(_PROMPT)  # replies go to a file
    sys.stderr.flush()
    return sys.stdin.readline() or None


@contextlib.contextmanager
def _stopping() -> Iterator[list[bool]]:
    """Makes the first Ctrl-C a mark in the list, so that nothing is cut in two; the second one raises."""
    marks: list[bool] = []

    def mark(number: int, frame: Any) -> None:
        if marks:
            raise KeyboardInterrupt
        marks.append(True)

    try:
        before = signal.signal(signal.SIGINT, mark)
    except ValueError:  # not in the main thread
        yield marks
        return
    try:
        yield marks
    finally:
        signal.signal(signal.SIGINT, before)


def _harmless(text: str) -> str:
    """Leaves out control characters, with which a text could command the terminal."""
    return "".join(c for c in text if c in "\n\t" or unicodedata.category(c) != "Cc")


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
