"""Replies to a conversation, whole or word by word, by any export of a dialogue."""

from __future__ import annotations

import codecs
import dataclasses
from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np

from kerasft.errors import ConfigError
from kerasft_dialogue.manager.models import Model, texts

Message = tuple[str, str]
"""A role ("system", "user" or "assistant") and a text."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How replies are drawn.

    Args:
        temperature: 0 takes the most probable token; larger values draw more freely.
        top_k: Draw from so many tokens only; 0 for all.
        top_p: Draw from the most probable tokens with this probability only, in (0, 1].
        max_tokens: Most tokens of a reply.
        seed: Of the draws. Each turn of a session draws anew.
        stop: Strings at which a reply ends; they are not part of it.

    Raises:
        ConfigError: A value makes no sense.

    Example:
        >>> Sampling(temperature=0.7, top_p=0.9).max_tokens
        128
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    max_tokens: int = 128
    seed: int = 0
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, value, fits, wanted in (
            ("temperature", self.temperature, 0 <= self.temperature < float("inf"), "a number from 0 on"),
            ("top_k", self.top_k, self.top_k >= 0, "a whole number from 0 on"),
            ("top_p", self.top_p, 0 < self.top_p <= 1, "a number above 0 and up to 1"),
            ("max_tokens", self.max_tokens, self.max_tokens >= 1, "a whole number from 1 on"),
            ("seed", self.seed, -(2**63) <= self.seed < 2**63, "a whole number of 64 bits"),
        ):
            if not fits:
                raise ConfigError(f"{name}: {value!r} is not {wanted}.")
        if isinstance(self.stop, str) or "" in self.stop:
            raise ConfigError(f"stop: {self.stop!r} is not a tuple of strings that are not empty.")


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A reply.

    Attributes:
        text: Its words.
        finish: Why it ended: "end", "stop", "length" or "empty".
    """

    text: str
    finish: str


class Responder:
    """Replies by a model with the signatures of an export of the task `dialogue`.

    Words come one by one from `chat_start` and `chat_next`, where a model has them; otherwise whole replies
    come from `sample`.

    Args:
        model: It has `sample`, or both others.
        steps: Most tokens between two looks at what has come. More cost less; fewer show words sooner and
            let a reader stop sooner.

    Raises:
        ConfigError: The model has no such signatures.
    """

    def __init__(self, *, model: Model, steps: int = 4) -> None:
        if steps < 1:
            raise ConfigError(f"steps: {steps} is not a whole number from 1 on.")
        self._streams = {"chat_start", "chat_next"} <= model.inputs.keys()
        if "sample" not in model.inputs and not self._streams:
            raise ConfigError(
                f"{model.name} holds no conversation: it has the signatures {', '.join(model.inputs)}, and "
                "sample, or chat_start and chat_next, are needed, as an export of the task dialogue has them"
            )
        self._model = model
        self._steps = steps

    def reply(self, messages: Sequence[Message], *, sampling: Sampling) -> Reply:
        """Replies to a conversation.

        Args:
            messages: Role and text of each turn, oldest first.
            sampling: How to draw.
        """
        if "sample" not in self._model.inputs:
            return _drain(self.stream(messages, sampling=sampling))
        answer = self._model.ask("sample", _request(messages, sampling))
        return Reply(text=texts(answer["reply"])[0], finish=texts(answer["finish"])[0])

    def stream(self, messages: Sequence[Message], *, sampling: Sampling) -> Generator[str, None, Reply]:
        """Replies to a conversation as the words come.

        Args:
            messages: Role and text of each turn, oldest first.
            sampling: How to draw.

        Yields:
            What came since the last piece; never an empty piece.

        Returns:
            The whole reply.
        """
        if not self._streams:
            whole = self.reply(messages, sampling=sampling)
            if whole.text:
                yield whole.text
            return whole
        state = self._model.ask("chat_start", _request(messages, sampling))
        # A character of several bytes may come in parts.
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        pieces: list[str] = []
        finish = ""
        while not finish:
            answer = self._model.ask("chat_next", {"steps": [self._steps], **state})
            state = {name: answer[name] for name in state}
            finish = texts(answer["finish"])[0]
            came = answer["text"].reshape(-1)[0]
            raw = came if isinstance(came, bytes) else str(came).encode("utf-8")
            if piece := decoder.decode(raw, final=bool(finish)):
                pieces.append(piece)
                yield piece
        return Reply(text="".join(pieces), finish=finish)


def of_turn(sampling: Sampling, number: int) -> Sampling:
    """Returns the sampling of the n-th turn of a session: with a seed of its own."""
    seed = (sampling.seed + number + 2**63) % 2**64 - 2**63
    return dataclasses.replace(sampling, seed=seed)


def _drain(stream: Generator[str, None, Reply]) -> Reply:
    while True:
        try:
            next(stream)
        except StopIteration as stopped:
            reply: Reply = stopped.value
            return reply


def _request(messages: Sequence[Message], sampling: Sampling) -> dict[str, object]:
    return {
        "roles": [[role for role, _ in messages]],
        "texts": [[text for _, text in messages]],
        "stop": [list(sampling.stop) or [""]],
        "seed": np.array([sampling.seed], np.int64),
        "temperature": np.array([sampling.temperature], np.float32),
        "top_k": np.array([sampling.top_k], np.int64),
        "top_p": np.array([sampling.top_p], np.float32),
        "max_tokens": np.array([sampling.max_tokens], np.int64),
    }
