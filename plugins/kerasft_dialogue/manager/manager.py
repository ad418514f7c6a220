"""A dialogue manager: understands, remembers and replies."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from kerasft.errors import ConfigError
from kerasft_dialogue.manager.history import History
from kerasft_dialogue.manager.models import Model, connect
from kerasft_dialogue.manager.records import Slot, Turn
from kerasft_dialogue.manager.replies import Message, Reply, Responder, Sampling, of_turn
from kerasft_dialogue.manager.understanding import Intents, Slots

System = str | Callable[[Mapping[str, Any], Mapping[str, str]], str]
Handler = Callable[["Session", Turn], str | None]


class DialogueManager:
    """Holds conversations: knows what was said before, tells intents and slots, replies, and remembers.

    ```
    say(text):
        intent, slots = intents(text), slots(text)
        store the text, the intent and the slots              # on disk before there is a reply
        reply = handlers[intent](session, turn), or the responder's to the whole session
        store the reply
    ```

    Models may be runs, exports and servers alike, see `kerasft_dialogue.manager.connect`.

    Args:
        responder: What writes replies: a model of the task `dialogue`.
        intents: What tells intents: a classification of the task `text`. None for no intents.
        slots: What finds slots: entities of the task `text`. None for no slots.
        history: An SQLite file, a `History`, which stays open, or None to remember nothing when closed.
        system: What stands before the conversation; or a function of the user's profile and the slots filled
            so far (name to value) that says it.
        sampling: How replies are drawn.
        handlers: Intent to a function of the session and the turn that replies by other means, such as a
            look-up; where it returns None the responder does.
        remember: Slot to the name in the user's profile under which its value is kept.
        intent_threshold: Probability below which no intent is told.
        slot_threshold: Probability below which a slot is not filled.
        context_turns: How many turns the responder is shown; None for all. What is more than its context
            holds it leaves out itself.
        steps: Most tokens of a stream between two pieces.

    Raises:
        ConfigError: A model or an argument does not fit.
        HistoryError: The history cannot be used.

    Example:
        >>> with DialogueManager(                                          # doctest: +SKIP
        ...     responder="saved_models/chat", intents="runs/snips", history="chat.sqlite"
        ... ) as manager:
        ...     session = manager.session(user="ada")
        ...     turn = session.say("Play some jazz")
        ...     session.rate(5)
        >>> turn.intent, turn.reply                                        # doctest: +SKIP
        ('PlayMusic', 'Which artist?')
    """

    def __init__(
        self,
        *,
        responder: Any,
        intents: Any = None,
        slots: Any = None,
        history: History | str | Path | None = None,
        system: System = "",
        sampling: Sampling | None = None,
        handlers: Mapping[str, Handler] | None = None,
        remember: Mapping[str, str] | None = None,
        intent_threshold: float = 0.0,
        slot_threshold: float = 0.0,
        context_turns: int | None = None,
        steps: int = 4,
    ) -> None:
        if context_turns is not None and context_turns < 0:
            raise ConfigError(f"context_turns: {context_turns} is not a whole number from 0 on.")
        if handlers and intents is None:
            raise ConfigError("handlers: they answer intents, and no intents= tells any.")
        if remember and slots is None:
            raise ConfigError("remember: it keeps values of slots, and no slots= finds any.")
        self._system = system
        self._sampling = sampling or Sampling()
        self._handlers = dict(handlers or {})
        self._remember = dict(remember or {})
        self._context_turns = context_turns
        self._closing: list[Any] = []
        try:
            self.history = history if isinstance(history, History) else History(history)
            if self.history is not history:
                self._closing.append(self.history)
            self._responder = Responder(model=self._connect(responder), steps=steps)
            self._intents = (
                None if intents is None else Intents(model=self._connect(intents), threshold=intent_threshold)
            )
            self._slots = (
                None if slots is None else Slots(model=self._connect(slots), threshold=slot_threshold)
            )
        except BaseException:
            self.close()
            raise

    def _connect(self, source: Any) -> Model:
        model = connect(source)
        if model is not source:
            self._closing.append(model)
        return model

    def session(self, session: str | None = None, *, user: str | None = None) -> Session:
        """Starts a conversation, or goes on with the one of this id.

        Args:
            session: Its id; None starts a new one.
            user: With whom; None for somebody unknown.

        Raises:
            HistoryError: The session is another user's.
        """
        system = self._system if isinstance(self._system, str) else ""
        record = self.history.open_session(session, user=user, system=system)
        return Session(manager=self, record_id=record.id, user=record.user, system=record.system)

    def understand(self, text: str) -> tuple[str | None, float | None, tuple[Slot, ...]]:
        """Returns intent, its probability, and slots of a text, without storing anything."""
        intent, score = (None, None) if self._intents is None else self._intents(text)
        return intent, score, () if self._slots is None else self._slots(text)

    def close(self) -> None:
        """Closes the models and the history that the manager opened."""
        while self._closing:
            self._closing.pop().close()

    def __enter__(self) -> DialogueManager:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class Session:
    """One conversation, made by `DialogueManager.session`.

    What was said is read from the history each time, so that several processes may hold one conversation.

    Attributes:
        id: Of the session in the history.
        user: With whom; None for somebody unknown.
    """

    def __init__(self, *, manager: DialogueManager, record_id: str, user: str | None, system: str) -> None:
        self.id = record_id
        self.user = user
        self._manager = manager
        self._fixed_system = system

    @property
    def turns(self) -> list[Turn]:
        """All turns, oldest first."""
        return self._manager.history.turns(self.id)

    @property
    def slots(self) -> dict[str, str]:
        """Slots filled so far, name to the value said last."""
        return {slot.name: slot.value for turn in self.turns for slot in turn.slots}

    @property
    def profile(self) -> dict[str, Any]:
        """What is known of the user."""
        return {} if self.user is None else self._manager.history.profile(self.user)

    def say(self, text: str, *, sampling: Sampling | None = None) -> Turn:
        """Says something and waits for the reply.

        Args:
            text: What the user says; at least one character that is no white space.
            sampling: How to draw this reply, in place of the manager's.

        Returns:
            The turn, as it is stored.

        Raises:
            ConfigError: The text is empty.
            HistoryError: The session was deleted.
        """
        turn, handled = self._begin(text)
        reply = handled or self._manager._responder.reply(
            self._messages(turn), sampling=self._drawing(turn, sampling)
        )
        return self._manager.history.finish(turn.id, reply.text, finish=reply.finish)

    def stream(self, text: str, *, sampling: Sampling | None = None) -> Generator[str, None, None]:
        """Says something and yields the reply piece by piece as it comes.

        Leaving the loop, or an exception such as KeyboardInterrupt, stops the reply; what has come is stored,
        with "interrupted" as its finish.

        Args:
            text: What the user says; at least one character that is no white space.
            sampling: How to draw this reply, in place of the manager's.

        Yields:
            What came since the last piece.

        Raises:
            ConfigError: The text is empty.
            HistoryError: The session was deleted.
        """
        turn, handled = self._begin(text)
        return self._stream(turn, handled, sampling)

    def _stream(
        self, turn: Turn, handled: Reply | None, sampling: Sampling | None
    ) -> Generator[str, None, None]:
        history = self._manager.history
        if handled is not None:
            history.finish(turn.id, handled.text, finish=handled.finish)
            yield handled.text
            return
        pieces: list[str] = []
        try:
            stream = self._manager._responder.stream(
                self._messages(turn), sampling=self._drawing(turn, sampling)
            )
            reply = yield from _kept(stream, pieces)
        except BaseException:  # the reader's, KeyboardInterrupt, or of a server that went away
            if pieces:
                history.finish(turn.id, "".join(pieces), finish="interrupted")
            raise
        history.finish(turn.id, reply.text, finish=reply.finish)

    def rate(self, rating: int, *, turn: int | None = None) -> Turn:
        """Stores what the user thinks of a reply.

        Args:
            rating: 1 (bad) to 5 (good).
            turn: Id of the turn; None for the last one with a reply.

        Raises:
            HistoryError: The rating is no such number, or there is no such reply.
        """
        if turn is None:
            last = self._manager.history.turns(self.id, last=1, answered=True)
            # 0 is no turn: the history says what is wrong, with the rating or with the turn.
            turn = last[0].id if last else 0
        return self._manager.history.rate(turn, rating)

    def _begin(self, text: str) -> tuple[Turn, Reply | None]:
        if not text.strip():
            raise ConfigError("nothing was said: the text is empty, or white space only.")
        manager = self._manager
        intent, score, slots = manager.understand(text)
        turn = manager.history.begin(self.id, text, intent=intent, intent_score=score, slots=slots)
        kept = {manager._remember[slot.name]: slot.value for slot in slots if slot.name in manager._remember}
        if kept and self.user is not None:
            manager.history.update_profile(self.user, kept)
        handler = None if intent is None else manager._handlers.get(intent)
        handled = None if handler is None else handler(self, turn)
        return turn, None if handled is None else Reply(text=handled, finish="handler")

    def _messages(self, turn: Turn) -> list[Message]:
        manager = self._manager
        system = (
            self._fixed_system
            if isinstance(manager._system, str)
            else manager._system(self.profile, self.slots)
        )
        messages = [("system", system)] if system else []
        last = manager._context_turns
        known = manager.history.turns(self.id, last=None if last is None else last + 1)
        # What has no reply, as after a crash, is said again together with what was said next.
        pending: list[str] = []
        for earlier in (t for t in known if t.number < turn.number):
            pending.append(earlier.said)
            if earlier.reply:
                messages += [("user", "\n".join(pending)), ("assistant", earlier.reply)]
                pending = []
        return [*messages, ("user", "\n".join([*pending, turn.said]))]

    def _drawing(self, turn: Turn, sampling: Sampling | None) -> Sampling:
        return of_turn(sampling or self._manager._sampling, turn.number)


def _kept(stream: Generator[str, None, Reply], pieces: list[str]) -> Generator[str, None, Reply]:
    """Yields what a stream yields, and keeps it in `pieces`."""
    while True:
        try:
            piece = next(stream)
        except StopIteration as stopped:
            reply: Reply = stopped.value
            return reply
        pieces.append(piece)
        yield piece
